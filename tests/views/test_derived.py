"""The states of rows: what changes of them are, when rules are evaluated, and what can be taken back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.views.calculated import TRADES, Model, derivation, price_rules
from tests.views.support import applied, deltas_of, happened
from tycostream.filters import parse_filter
from tycostream.model import Operation, Row
from tycostream.views import Applied, Delta, Derivation, Derived, RowCache, SnapshotReader
from tycostream.views.derived import no_rules
from tycostream.views.states import Rule

LEVELS = (("high", 100, 90), ("low", 50, 40))
PRICE, SYMBOL, RISK, TREND = 4, 2, 8, 16


def row(key: int, price: int | None, symbol: str = "A") -> Row:
    return (str(key), symbol, None if price is None else str(price))


def symbol_rule(state: str, symbol: str) -> Rule:
    return Rule(state, parse_filter(TRADES, {"symbol": {"_eq": symbol}}))


def followed(derived: Derived, *deltas: Delta) -> list[Delta]:
    return deltas_of(derived.extend(happened(1, *deltas)))


def test_changes_of_a_state_are_changes_of_a_column() -> None:
    derived = Derived(derivation(LEVELS))
    assert followed(
        derived,
        ("1", None, row(1, 101), 0),
        ("1", row(1, 101), row(1, 95), PRICE),
        ("1", row(1, 95), row(1, 89), PRICE),
        ("1", row(1, 89), row(1, 89, "B"), SYMBOL),
        ("1", row(1, 89, "B"), None, 0),
        ("1", None, row(1, 45), 0),
    ) == [
        ("1", None, (*row(1, 101), "high", None), 0),
        ("1", (*row(1, 101), "high", None), (*row(1, 95), "high", None), PRICE),
        ("1", (*row(1, 95), "high", None), (*row(1, 89), "low", None), PRICE | RISK),
        ("1", (*row(1, 89), "low", None), (*row(1, 89, "B"), "low", None), SYMBOL),
        ("1", (*row(1, 89, "B"), "low", None), None, 0),
        ("1", None, (*row(1, 45), None, None), 0),  # a row that is new has no past
    ]
    assert derived.rows_in_a_state == 0, "the row that is gone is forgotten"


def test_each_field_has_rules_of_its_own() -> None:
    derived = Derived(derivation(LEVELS, symbol_rule("up", "A"), symbol_rule("down", "B")))
    changes = followed(
        derived,
        ("1", None, row(1, 60), 0),
        ("1", row(1, 60), row(1, 60, "B"), SYMBOL),
        ("1", row(1, 60, "B"), row(1, 20, "C"), SYMBOL | PRICE),
    )
    assert [(new and new[3:], mask) for _key, _old, new, mask in changes] == [
        (("low", "up"), 0), (("low", "down"), SYMBOL | TREND), ((None, None), SYMBOL | PRICE | RISK | TREND),
    ]  # fmt: skip


def test_rules_are_evaluated_only_where_a_column_that_they_read_has_changed() -> None:
    derived = Derived(derivation(LEVELS))
    assert derived.derivation.reads == PRICE
    followed(derived, ("1", None, row(1, 60), 0))
    assert derived.evaluated == 1
    followed(derived, *[("1", row(1, 60), row(1, 60, "B"), SYMBOL), ("1", row(1, 60, "B"), row(1, 60), SYMBOL)] * 50)
    assert derived.evaluated == 1
    followed(derived, ("1", row(1, 60), row(1, 61), PRICE))
    assert derived.evaluated == 2
    followed(derived, ("1", row(1, 61), None, 0))
    assert derived.evaluated == 2


def test_a_machine_is_asked_only_where_its_own_columns_have_changed() -> None:
    wanted = derivation(LEVELS, symbol_rule("up", "A"))
    latches = wanted.start(row(1, 60))
    # Were the price looked at, the row would lose its state
    assert wanted.states[wanted.step(latches, row(1, 10, "B"), SYMBOL)] == ("low", None)
    assert wanted.states[wanted.step(latches, row(1, 10, "B"), SYMBOL | PRICE)] == (None, None)


def test_without_rules_nothing_is_evaluated() -> None:
    derived = Derived(no_rules(TRADES))
    derived.look_at([row(1, 5)])
    (change,) = followed(derived, ("1", row(1, 5), row(1, 6), PRICE))
    assert change == ("1", (*row(1, 5), None, None), (*row(1, 6), None, None), PRICE)
    assert derived.rows_in_a_state == 0


def test_there_are_rules_for_every_field() -> None:
    with pytest.raises(ValueError, match="trades has 2 calculated fields"):
        Derivation(TRADES, (price_rules(LEVELS),))


def test_a_snapshot_shows_the_states_of_its_moment_however_late_it_is_read() -> None:
    cache, derived = RowCache(TRADES), Derived(derivation(LEVELS))
    derived.extend(applied(cache, [(str(key), row(key, 60)) for key in range(4)]))
    frozen = derived.frozen()
    assert derived.frozen() is frozen, "shared until a state changes"
    late = parse_filter(TRADES.extended, {"risk": {"_eq": "low"}})
    reader = SnapshotReader(TRADES, cache.frozen(), 1, late, frozen)
    first = reader.read(2)
    derived.extend(applied(cache, [("3", row(3, 200)), ("2", None), ("0", row(0, 1))]))
    assert derived.frozen() is not frozen
    derived.undo()
    assert first + reader.read(2) == [
        (Operation.INSERT, str(key), (*row(key, 60), "low", None), 0, 1) for key in range(4)
    ]


def test_many_rules_have_more_combinations_than_are_remembered() -> None:
    wanted = derivation(tuple(("low", above, above - 1) for above in range(0, 28, 2)))
    for latches in range(1 << 14):
        assert wanted.states[latches] == ("low" if latches else None, None)
    assert len(wanted.states) <= 4096


writes = st.tuples(st.integers(1, 3), st.none() | st.integers(30, 110) | st.just("gone"), st.sampled_from("AB"))
walks = st.lists(
    st.one_of(writes.map(lambda write: ("write", write)), st.sampled_from(["deliver", "undo"])), max_size=60
)
thresholds = st.integers(35, 105)
levels = st.lists(
    st.tuples(st.sampled_from(["low", "high"]), thresholds, st.none() | thresholds), min_size=1, max_size=4
).map(tuple)


@given(levels, walks)
@example(  # two changes of one row are taken back, the later one first
    LEVELS, [("write", (1, 60, "A")), "deliver", ("write", (1, 110, "A")), ("write", (1, 60, "A")), "undo"]
)
def test_any_walk_is_as_the_model_says_also_where_it_is_taken_back(rules, steps) -> None:
    derived, cache = Derived(derivation(rules)), RowCache(TRADES)
    model, told = Model(rules), Model(rules)
    undelivered: list[Applied] = []
    for step in steps:
        if step == "deliver":
            derived.delivered()
            undelivered = []
            told = copied(model)
        elif step == "undo":
            derived.undo()
            for done in reversed(undelivered):
                cache.undo(done)
            undelivered = []
            model = copied(told)
        else:
            key, price, symbol = step[1]
            new = None if price == "gone" else row(key, price, symbol)
            before = model.extended().get(str(key))
            model.write(str(key), new)
            done = applied(cache, [(str(key), new)])
            undelivered.append(done)
            for _key, old, after, mask in deltas_of(derived.extend(done)):
                assert (old, after) == (before, model.extended().get(str(key)))
                if old and after:
                    assert mask == sum(1 << index for index in range(5) if old[index] != after[index])
        assert derived.rows_in_a_state == sum(model.state(key) is not None for key in model.rows)
        extend = derived.frozen().extend
        assert {key: extend(known) for key, known in cache.rows.items()} == model.extended()


def copied(model: Model) -> Model:
    other = Model(model.levels)
    other.rows, other.holding = dict(model.rows), dict(model.holding)
    return other

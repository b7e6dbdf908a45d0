import gc
import weakref

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graphql.examples import ROW, TRADES, engine
from tycostream.graphql import PreparedQuery, RequestError, SubscriptionPlan
from tycostream.views.batches import Batches
from tycostream.views.pace import Rhythm, SlowPolicy

ENGINE = engine()
INVALID, PARSE, INPUT = "GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED", "BAD_USER_INPUT"
WHERE = "subscription ($w: tradesExpression) { trades(where: $w) { operation } }"


def follow(query: str, variables: dict[str, object] | None = None, name: str | None = None) -> SubscriptionPlan:
    plan = ENGINE.prepare(query, name, variables)
    assert isinstance(plan, SubscriptionPlan)
    return plan


def refusals(
    query: str, variables: dict[str, object] | None = None, name: str | None = None
) -> list[dict[str, object]]:
    with pytest.raises(RequestError) as caught:
        ENGINE.prepare(query, name, variables)
    return caught.value.errors


def test_a_subscription_is_planned() -> None:
    plan = follow('subscription { t: trades(where: {symbol: {_eq: "X"}}) { operation data { id price } } }')
    assert plan.source is TRADES
    assert plan.response_key == "t"
    assert plan.selection.interest == 0b11
    assert not plan.filter.matches(ROW)
    assert plan.filter.matches((*ROW[:4], "X", *ROW[5:]))


def test_no_filter_matches_everything() -> None:
    everything = follow("subscription { trades { operation } }").filter
    assert everything.matches(ROW)
    assert everything == follow("subscription { trades(where: null) { operation } }").filter
    assert everything == follow(WHERE).filter
    assert everything == follow(WHERE, {"w": None}).filter


def test_the_same_request_has_the_same_plan() -> None:
    query = "subscription { trades { operation data { id } } }"
    assert follow(query) is follow(query)
    variable = [follow(WHERE, {"w": {"id": {"_eq": 1}}}) for _ in range(2)]
    assert variable[0].filter == variable[1].filter
    assert variable[0].selection is variable[1].selection
    assert variable[0].selection is follow("subscription { trades { operation } }").selection


def test_selections_that_nobody_uses_are_forgotten() -> None:
    small = engine()
    plan = small.prepare("subscription ($a: Boolean!) { trades { data { price @skip(if: $a) } } }", None, {"a": False})
    assert isinstance(plan, SubscriptionPlan)
    known = weakref.ref(plan.selection)
    del plan
    gc.collect()
    assert known() is None


def test_variables_of_the_old_types_fit() -> None:
    query = (
        "subscription ($s: String!, $l: [String!], $i: Int, $f: Float, $b: Boolean, $e: side) { trades(where: {"
        "volume: {_gt: $s}, account: {_in: $l}, payload: {_eq: $s}, tags: {_eq: $s}, symbol: {_like: $s},"
        "id: {_lt: $i}, price: {_gte: $f}, open: {_eq: $b}, side: {_neq: $e}, fee: {_is_null: $b}}) { operation } }"
    )
    with pytest.raises(RequestError) as caught:  # the names of the types fit, this text does not
        ENGINE.prepare(query, None, {"s": "x", "l": [], "i": 1, "f": 1, "b": True, "e": "buy"})
    assert "volume._gt" in caught.value.errors[0]["message"]


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("", PARSE, "Unexpected <EOF>"),
        ("# nothing", PARSE, "Unexpected <EOF>"),
        ("{", PARSE, "Expected Name, found <EOF>"),
        ("\0", PARSE, "U+0000"),
        ("\ud800", PARSE, "U+D800"),
        ('{ trades(where: {symbol: {_eq: "\ud800"}}) { id } }', PARSE, "U+D800"),
        ("{ trades { nope } }", INVALID, "nope"),
        ("{ nope }", INVALID, "nope"),
        ("subscription { trades }", INVALID, "must have a selection of subfields"),
        ("subscription { __typename }", INVALID, "introspection"),
        ("subscription { trades { operation } holdings { operation } }", INVALID, "only one top level field"),
        ("subscription { trades @skip(if: true) { operation } }", INVALID, "must not use"),
        ("subscription { trades { operation data @defer { id } } }", INVALID, "defer"),
        ("mutation { trades { id } }", INVALID, "Cannot query field 'trades' on type 'Mutation'"),
        ("type A { b: Int }", INVALID, "not executable"),
        ("fragment A on trades { id }", INVALID, "never used"),
        ("{ trades(where: {id: {_eq: 1.5}}) { id } }", INVALID, "Int"),
        ("{ trades(where: {id: {_eq: 3000000000}}) { id } }", INVALID, "32-bit"),
        ("{ trades(where: {side: {_eq: up}}) { id } }", INVALID, "up"),
        ("{ trades(where: {id: {_in: [1, null]}}) { id } }", INVALID, "null"),
        ("{ trades(where: {volume: {_eq: 5}}) { id } }", INVALID, "String"),
        (
            "{ trades(limit: -1) { id } }",
            INPUT,
            'Argument "limit" of "trades": -1 is negative; 0 or more would be valid.',
        ),
        ("{ trades_by_pk { id } }", INVALID, "id"),
    ],
)
def test_a_faulty_document_is_refused(query: str, code: str, message: str) -> None:
    (error, *_) = refusals(query)
    assert message in str(error["message"])
    assert error["extensions"] == {"code": code}


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("{price: {_gt: null}}", "price._gt"),
        ("{price: null}", "price"),
        ("{_and: null}", "_and"),
        ('{_or: [{id: {_eq: 1}}, {_not: {volume: {_eq: "abc"}}}]}', "_or[1]._not.volume._eq"),
        ('{account: {_in: ["abc"]}}', "account._in[0]"),
    ],
)
def test_a_faulty_filter_is_refused_with_its_place(where: str, place: str) -> None:
    for query in (
        f"subscription {{ trades(where: {where}) {{ operation }} }}",
        f"{{ trades(where: {where}) {{ id }} }}",
    ):
        (error,) = refusals(query)
        assert str(error["message"]).startswith(f'Argument "where" of "trades": {place}: ')
        assert error["extensions"] == {"code": INPUT}
        assert error["locations"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "'$w'"),
        ({"nope": {}}, "nope"),
        ({"id": {"_eq": "1"}}, "id._eq"),
        ({"id": {"_eq": True}}, "id._eq"),
        ({"id": {"_eq": 2**40}}, "32-bit"),
        ({"price": {"_eq": float("nan")}}, "price._eq"),
        ({"side": {"_in": ["buy", None]}}, "side._in[1]"),
        ({"symbol": {"_eq": 1}}, "symbol._eq"),
        ({"symbol": {"_eq": "\ud800"}}, "symbol._eq"),
        ({"symbol": {"_eq": "a\0b"}}, "symbol._eq"),
    ],
)
def test_a_faulty_variable_is_refused(value: object, message: str) -> None:
    (error,) = refusals(WHERE, {"w": value})
    assert message in str(error["message"])
    assert error["extensions"] == {"code": INPUT}


def test_a_faulty_key_is_refused_with_its_argument() -> None:
    (error,) = refusals('{ holdings_by_pk(account: "abc", side: buy) { amount } }')
    assert str(error["message"]).startswith('Argument "account" of "holdings_by_pk": ')
    assert error["extensions"] == {"code": INPUT}


@pytest.mark.parametrize("depth", [150, 250, 100_000])
def test_a_variable_nested_deeply_is_refused(depth: int) -> None:
    value: dict[str, object] = {}
    for _ in range(depth):
        value = {"_not": value}
    (error,) = refusals(WHERE, {"w": value})
    assert error["extensions"] == {"code": INPUT}
    while value:  # deep dictionaries are freed recursively otherwise
        value = value.pop("_not")  # type: ignore[assignment]


def test_a_missing_variable_is_named() -> None:
    (error,) = refusals("query ($n: Int!) { trades(limit: $n) { id } }")
    assert "'$n'" in str(error["message"])
    assert error["extensions"] == {"code": INPUT}


def test_long_messages_are_cut() -> None:
    (error, *_) = refusals("{ " + "x" * 100_000 + " }")
    assert len(str(error["message"])) < 1_100


def test_an_operation_is_chosen_by_name() -> None:
    query = "query A { __typename } subscription B { trades { operation } }"
    assert isinstance(ENGINE.prepare(query, "A", None), PreparedQuery)
    assert isinstance(ENGINE.prepare(query, "B", None), SubscriptionPlan)
    for name, message in (
        (None, "must be one of A, B"),
        ("", "must be one of A, B"),
        ("C", 'named "C". It has: A, B.'),
    ):
        (error,) = refusals(query, name=name)
        assert message in str(error["message"])
        assert error["extensions"] == {"code": "OPERATION_RESOLUTION_FAILURE"}
    (error,) = refusals("{ __typename }", name="\ud800")
    orjson.dumps(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
)
expressions = st.recursive(
    st.dictionaries(
        st.sampled_from([*TRADES.positions, "nope"]),
        st.dictionaries(
            st.sampled_from(["_eq", "_in", "_like", "_is_null", "_contains", "nope"]), json_values, max_size=2
        ),
        max_size=2,
    ),
    lambda below: st.fixed_dictionaries({}, optional={"_and": st.lists(below, max_size=2), "_not": below}),
)


@given(st.one_of(json_values, expressions))
def test_any_variable_is_planned_or_refused(value: object) -> None:
    try:
        plan = ENGINE.prepare(WHERE, None, {"w": value})
    except RequestError as error:
        orjson.dumps(error.errors)
    else:
        assert isinstance(plan, SubscriptionPlan)
        assert plan.filter.matches(ROW) in {True, False}


@given(
    st.lists(
        st.sampled_from(
            [
                "...",
                '"""',
                "trades",
                "data",
                "id",
                "where",
                "on",
                "query",
                "subscription",
                "fragment",
                "1",
                "\\u",
                "\ud800",
            ]
        )
        | st.sampled_from('{}()[]!$:@"# ')
    ).map(" ".join)
)
def test_any_text_is_planned_or_refused(query: str) -> None:
    try:
        ENGINE.prepare(query, None, None)
    except RequestError as error:
        orjson.dumps(error.errors)


def test_what_becomes_of_slow_clients_is_no_part_of_the_selection() -> None:
    plain = follow("subscription { trades { operation } }")
    assert plain.slow is None
    for policy in SlowPolicy:
        plan = follow(f"subscription {{ trades(on_slow: {policy.name}) {{ operation }} }}")
        assert plan.slow is policy
        assert plan.selection is plain.selection
        assert plan.filter == plain.filter
    variable = "subscription ($p: SlowConsumerPolicy) { trades(on_slow: $p) { operation } }"
    assert follow(variable, {"p": "DISCONNECT"}).slow is SlowPolicy.DISCONNECT
    assert follow(variable, {"p": None}).slow is None
    assert follow(variable).slow is None
    (refusal,) = refusals("subscription { trades(on_slow: WAIT) { operation } }")
    assert "Value 'WAIT' does not exist in 'SlowConsumerPolicy' enum" in str(refusal["message"])


def test_a_subscription_may_be_told_every_so_often() -> None:
    plain = follow("subscription { trades { operation data { id } } }")
    assert plain.rhythm is None
    assert follow("subscription { trades(coalesce_ms: 0) { operation } }").rhythm is None
    assert follow("subscription { trades(coalesce_ms: null) { operation } }").rhythm is None
    plan = follow("subscription { trades(coalesce_ms: 250) { operation data { id } } }")
    assert plan.rhythm == Rhythm(0.25)
    assert plan.selection is plain.selection


def test_a_batch_is_planned() -> None:
    plan = follow("subscription { t: trades_batch { operation data { id } } }")
    assert isinstance(plan.selection, Batches)
    assert (plan.source, plan.response_key, plan.selection.rows, plan.rhythm) == (TRADES, "t", 500, Rhythm(0.1, 500))
    alone = follow("subscription { t: trades { operation data { id } } }")
    assert plan.selection.single is alone.selection
    assert plan.selection.before == b'{"data":{"t":'
    query = "subscription ($r: Int, $w: Int = 7) { trades_batch(max_rows: $r, max_wait_ms: $w) { operation } }"
    assert follow(query, {"r": 20}).rhythm == Rhythm(0.007, 20)
    assert follow(query, {"r": None, "w": None}).rhythm == Rhythm(0.1, 500)
    assert follow("subscription { trades_batch(max_wait_ms: 0, on_slow: DISCONNECT) { operation } }").rhythm == Rhythm(
        0, 500
    )
    filtered = follow('subscription { trades_batch(where: {symbol: {_eq: "X"}}) { operation } }')
    assert not filtered.filter.matches(ROW)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("trades(coalesce_ms: -1)", 'Argument "coalesce_ms" of "trades": -1 is not allowed; 0 to 60000 would be valid.'),
        ("trades(coalesce_ms: 60001)", 'Argument "coalesce_ms" of "trades": 60001 is not allowed; 0 to 60000 would be valid.'),
        ("trades_batch(max_rows: 0)", 'Argument "max_rows" of "trades_batch": 0 is not allowed; 1 to 5000 would be valid.'),
        ("trades_batch(max_rows: 5001)", 'Argument "max_rows" of "trades_batch": 5001 is not allowed; 1 to 5000 would be valid.'),
        ("trades_batch(max_wait_ms: -5)", 'Argument "max_wait_ms" of "trades_batch": -5 is not allowed; 0 to 60000 would be valid.'),
    ],
)  # fmt: skip
def test_a_rhythm_that_can_not_be_is_refused(field: str, message: str) -> None:
    (refusal,) = refusals(f"subscription {{ {field} {{ operation }} }}")
    assert refusal["message"] == message
    assert refusal["extensions"] == {"code": INPUT}

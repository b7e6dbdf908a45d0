import pytest

from tests.graphql.examples import engine
from tycostream.graphql import Limits, RequestError, SubscriptionPlan

FOLLOW = "subscription { trades { data { %s } } }"


def refusal(query: str, limits: Limits | None = None) -> dict[str, object]:
    with pytest.raises(RequestError) as caught:
        engine(limits=limits).prepare(query, None, None)
    (error,) = caught.value.errors
    return error


def chain(length: int, spreads: str) -> str:
    """Fragments that each spread the next one, as often as `spreads` says."""
    links = " ".join(f"fragment F{i} on trades {{ {spreads.replace('#', str(i + 1))} }}" for i in range(length))
    return FOLLOW % "...F0" + links + f" fragment F{length} on trades {{ id }}"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (FOLLOW % ("id " * 10_001), "too many tokens: found more than 10000, allowed are 10000"),
        ("{a" * 2_000, "too many nested brackets: found more than 100, allowed are 100"),
        ("{trades(where:" + "{_not:" * 2_000, "too many nested brackets"),
        ("query($a:" + "[" * 2_000, "too many nested brackets"),
        (FOLLOW % ("...{" * 60 + "id" + "}" * 60), "too many levels of selections: found 63, allowed are 50"),
        (chain(500, "...F#"), "too many levels of selections: found 504, allowed are 50"),
        (chain(40, "...F# ...F#"), "too many fields: found more than a billion, allowed are 500"),
        (chain(40, "a: id ...F# ...F#"), "too many aliases: found more than a billion, allowed are 100"),
        (FOLLOW % ("a: id " * 101), "too many aliases: found 101, allowed are 100"),
        (FOLLOW % ("id " * 600), "too many fields: found 602, allowed are 500"),
        (
            "{" + " ".join(f"a{i}: trades {{ id }}" for i in range(21)) + "}",
            "of the query itself: found 21, allowed are 20",
        ),
        ("{ trades(limit: " + "9" * 5_000 + ") { id } }", "too many digits in a number: found 5000, allowed are 400"),
    ],
)
def test_a_document_beyond_a_limit_is_refused(query: str, message: str) -> None:
    error = refusal(query)
    assert message in str(error["message"])
    assert error["extensions"] == {"code": "LIMIT_EXCEEDED"}


def test_limits_can_be_set() -> None:
    assert "allowed are 12" in str(refusal(FOLLOW % "id price symbol open", Limits(tokens=12))["message"])
    assert "allowed are 2" in str(refusal(FOLLOW % "id", Limits(depth=2))["message"])
    assert "allowed are 1." in str(refusal(FOLLOW % "a: id b: id", Limits(aliases=1))["message"])
    assert "allowed are 3" in str(refusal(FOLLOW % "id price", Limits(fields=3))["message"])


@pytest.mark.parametrize(
    "query",
    [
        FOLLOW % ("...{" * 47 + "id" + "}" * 47),
        FOLLOW % ("id " * 498),
        chain(46, "...F#"),
        "subscription { trades(where: " + "{_not:" * 97 + "{}" + "}" * 97 + ") { operation } }",
    ],
)
def test_a_document_at_its_limit_is_planned(query: str) -> None:
    assert isinstance(engine().prepare(query, None, None), SubscriptionPlan)


@pytest.mark.parametrize("spreads", ["...F0", "... { ...F0 }", "...F0 ...F0"])
def test_fragments_in_a_circle_are_refused(spreads: str) -> None:
    error = refusal(FOLLOW % "...F0" + f" fragment F0 on trades {{ ...F1 }} fragment F1 on trades {{ id {spreads} }}")
    assert "F0" in str(error["message"])
    assert "F1" in str(error["message"])
    assert error["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}

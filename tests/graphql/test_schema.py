from pathlib import Path

import pytest
from graphql import (
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    is_specified_scalar_type,
    print_type,
)

from tests.graphql.examples import CATALOG, TRADES
from tycostream.graphql.schema import build_schema
from tycostream.model import Catalog, Column, ColumnType, EnumType, Relation, Source
from tycostream.settings.names import BUILT_IN_QUERIES, BUILT_IN_TYPES, enum_names, source_names

EXPECTED = Path(__file__).with_name("expected.graphql")
COMPARED = ("_eq", "_neq", "_gt", "_gte", "_lt", "_lte")


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema(CATALOG)


def types(schema: GraphQLSchema, name: str) -> dict[str, str]:
    """Field names of a type, with their types."""
    type_ = schema.type_map[name]
    assert isinstance(type_, GraphQLObjectType | GraphQLInputObjectType)
    return {name: str(field.type) for name, field in type_.fields.items()}


def test_the_whole_schema_is_as_written_down(schema: GraphQLSchema) -> None:
    """All but the comparison inputs, which follow the operators and are tested below. A deliberate change of the schema
    is a change of expected.graphql."""
    written = [
        print_type(type_)
        for name, type_ in schema.type_map.items()
        if not (name.startswith("__") or name.endswith("Comparison") or is_specified_scalar_type(type_))
    ]
    assert "\n\n".join(written) + "\n" == EXPECTED.read_text(encoding="utf-8")


def test_row_types(schema: GraphQLSchema) -> None:
    assert types(schema, "trades") == {
        "id": "Int!",
        "price": "Float",
        "volume": "String",
        "fee": "String",
        "symbol": "String",
        "account": "ID",
        "executed_at": "String",
        "day": "String",
        "at": "String",
        "open": "Boolean",
        "payload": "String",
        "tags": "String",
        "side": "side",
    }
    assert types(schema, "holdings") == {"amount": "String", "account": "ID!", "side": "side!"}


def test_update_types(schema: GraphQLSchema) -> None:
    assert types(schema, "tradesUpdate") == {
        "operation": "RowOperation!",
        "data": "trades",
        "fields": "[String!]!",
        "timestamp": "String!",
        "event_id": "String!",
        "cursor": "String!",
        "snapshot": "SnapshotMark",
    }
    assert list(schema.type_map["RowOperation"].values) == ["INSERT", "UPDATE", "DELETE"]  # type: ignore[attr-defined]
    assert list(schema.type_map["SnapshotMark"].values) == ["RESET", "ROW", "END"]  # type: ignore[attr-defined]
    assert types(schema, "Subscription")["trades"] == "tradesUpdate!"


def test_triggers(schema: GraphQLSchema) -> None:
    """As the earlier version had them, and more."""
    mutations = types(schema, "Mutation")
    deeds = ("create", "delete", "enable", "disable", "test")
    assert list(mutations) == [f"{deed}_{name}_trigger" for name in ("trades", "holdings") for deed in deeds]
    assert set(mutations.values()) == {"Trigger!"}
    assert schema.mutation_type is not None
    for deed in deeds:
        (argument,) = schema.mutation_type.fields[f"{deed}_trades_trigger"].args.items()
        assert (argument[0], str(argument[1].type)) == (
            ("input", "tradesTriggerInput!") if deed == "create" else ("name", "String!")
        )
    given = {"name": "String!", "webhook": "String!", "fire": "tradesExpression!", "clear": "tradesExpression"}
    assert types(schema, "tradesTriggerInput").items() >= given.items()
    shown = {"name": "String!", "webhook": "String!", "fire": "String!", "clear": "String"}
    assert types(schema, "Trigger").items() >= shown.items()


def test_every_name_that_a_source_takes_is_reserved(schema: GraphQLSchema) -> None:
    roots = {"query": schema.query_type, "mutation": schema.mutation_type, "subscription": schema.subscription_type}
    taken = {("type", name) for name in schema.type_map if not name.startswith("__")}
    for kind, root in roots.items():
        assert root is not None
        taken |= {(kind, name) for name in root.fields}
    reserved = {("type", name) for name in BUILT_IN_TYPES}
    reserved |= {(root, name) for root in ("query", "subscription") for name in BUILT_IN_QUERIES}
    for source in CATALOG.sources:
        reserved |= set(source_names(source))
    for enum in CATALOG.enums:
        reserved |= set(enum_names(enum))
    assert reserved == taken


def test_query_fields(schema: GraphQLSchema) -> None:
    assert types(schema, "Query") == {
        "trades": "[trades!]!",
        "trades_by_pk": "trades",
        "holdings": "[holdings!]!",
        "holdings_by_pk": "holdings",
        **{f"{name}_trigger": "Trigger" for name in ("trades", "holdings")},
        **{f"{name}_triggers": "[Trigger!]!" for name in ("trades", "holdings")},
        "source_status": "[SourceStatus!]!",
    }
    assert schema.query_type is not None
    key = schema.query_type.fields["holdings_by_pk"].args
    assert {name: str(argument.type) for name, argument in key.items()} == {"account": "ID!", "side": "side!"}


def test_expressions(schema: GraphQLSchema) -> None:
    fields = types(schema, "tradesExpression")
    assert list(fields) == [*TRADES.positions, "_and", "_or", "_not"]
    assert fields["_and"] == fields["_or"] == "[tradesExpression!]"
    assert fields["_not"] == "tradesExpression"
    for root in (schema.query_type, schema.subscription_type):
        assert root is not None
        assert str(root.fields["trades"].args["where"].type) == "tradesExpression"


@pytest.mark.parametrize(
    ("column", "operand"),
    [
        *((name, "String") for name in ("volume", "fee", "symbol", "account", "executed_at", "day", "at")),
        *((name, "String") for name in ("payload", "tags")),
        ("id", "Int"),
        ("price", "Float"),
        ("open", "Boolean"),
        ("side", "side"),
    ],
)
def test_operands_of_comparisons_are_as_they_were(schema: GraphQLSchema, column: str, operand: str) -> None:
    comparison = types(schema, types(schema, "tradesExpression")[column])
    for operator in COMPARED:
        assert comparison[operator] == operand
    assert comparison["_in"] == comparison["_nin"] == f"[{operand}!]"
    assert comparison["_is_null"] == "Boolean"


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("id", "Int"),
        ("price", "Float"),
        ("symbol", "String"),
        ("open", "Boolean"),
        ("side", "side"),
        ("volume", "BigInt"),
    ],
)
def test_names_of_comparisons(schema: GraphQLSchema, column: str, name: str) -> None:
    assert types(schema, "tradesExpression")[column] == f"{name}Comparison"


def test_operators_of_text_and_json(schema: GraphQLSchema) -> None:
    text = types(schema, "StringComparison")
    assert {text[name] for name in ("_like", "_nlike", "_ilike", "_nilike", "_regex", "_iregex")} == {"String"}
    assert {text[name] for name in ("_nregex", "_niregex", "_similar", "_nsimilar")} == {"String"}
    json = types(schema, types(schema, "tradesExpression")["payload"])
    assert {json[name] for name in ("_contains", "_contained_in", "_has_key")} == {"String"}
    assert {json[name] for name in ("_has_keys_any", "_has_keys_all")} == {"[String!]"}
    assert "_like" not in types(schema, "IntComparison")


def test_every_operator_is_described(schema: GraphQLSchema) -> None:
    comparisons = [type_ for name, type_ in schema.type_map.items() if name.endswith("Comparison")]
    assert len(comparisons) == len(ColumnType)
    for type_ in comparisons:
        assert isinstance(type_, GraphQLInputObjectType)
        assert all(field.description for field in type_.fields.values())


def test_clashing_names_are_refused() -> None:
    id_ = Column("id", ColumnType.INTEGER)
    enum = EnumType("tradesUpdate", ("a",))
    source = Source("trades", Relation("trades"), (id_, Column("kind", ColumnType.ENUM, enum)), ("id",))
    with pytest.raises(ValueError, match="tradesUpdate"):
        build_schema(Catalog({"trades": source}, {"tradesUpdate": enum}))

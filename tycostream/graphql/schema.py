"""The GraphQL schema of a catalog. Names and shapes are those that existing clients rely on."""

from __future__ import annotations

from collections.abc import Mapping

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    validate_schema,
)

from tycostream.graphql.comparisons import Comparisons
from tycostream.graphql.ordering import DIRECTIONS
from tycostream.graphql.pace import PaceArguments, batch_name
from tycostream.graphql.resuming import resume_arguments, resume_fields, snapshot_mark_type
from tycostream.graphql.status import StatusReader, StatusTypes, unavailable_argument
from tycostream.graphql.triggers import TriggerTypes
from tycostream.model import Catalog, Column, ColumnType, Operation, Source
from tycostream.status import SOURCE_STATUS
from tycostream.views.rules import rules_argument

_SCALARS = {
    ColumnType.INTEGER: GraphQLInt,
    ColumnType.FLOAT: GraphQLFloat,
    ColumnType.BOOLEAN: GraphQLBoolean,
    ColumnType.UUID: GraphQLID,
}

_OPERATION_HELP = {
    Operation.INSERT: "The row entered the view: it is new, or matches the filter now. `data` holds the whole row.",
    Operation.UPDATE: "The row changed and stays in the view. `data` holds the key and the changed columns.",
    Operation.DELETE: "The row left the view: it is gone, or matches the filter no more. `data` holds the key.",
}


def build_schema(catalog: Catalog, statuses: StatusReader | None = None) -> GraphQLSchema:
    """Queries, subscriptions and mutations for every source. Raises ValueError where the catalog's names clash.

    `statuses` answers `source_status`; without it nothing is known of any source.
    """
    enums = {
        enum.name: GraphQLEnumType(
            enum.name,
            {value: GraphQLEnumValue(value) for value in enum.values},
            description=enum.description,
        )
        for enum in catalog.enums.values()
    }
    comparisons = Comparisons(enums)
    row_operation = GraphQLEnumType(
        "RowOperation",
        {
            operation.value: GraphQLEnumValue(operation.value, description=text)
            for operation, text in _OPERATION_HELP.items()
        },
        description="What happened to a row.",
    )
    order_by = GraphQLEnumType(
        "order_by",
        {name: GraphQLEnumValue(name, description=direction.help) for name, direction in DIRECTIONS.items()},
        description="Which way a column sorts.",
    )
    snapshot_mark = snapshot_mark_type()
    triggers = TriggerTypes()
    patience = unavailable_argument()
    pace = PaceArguments()
    queries: dict[str, GraphQLField] = {}
    mutations: dict[str, GraphQLField] = {}
    subscriptions: dict[str, GraphQLField] = {}
    for source in catalog.sources.values():
        row = _row_type(source, enums)
        expression = _expression_type(source, comparisons)
        where = GraphQLArgument(expression, description="Only rows for which this is true.")
        rules = _rule_arguments(source, expression, enums)
        update = GraphQLNonNull(_update_type(source, row, row_operation, snapshot_mark))
        common = {"where": where, "on_unavailable": patience, **resume_arguments()}
        subscriptions[source.name] = GraphQLField(
            update,
            {**common, **pace.subscription, **rules},
            description=_described(source, "Follow {}: its rows first, then every change as it happens."),
        )
        subscriptions[batch_name(source)] = GraphQLField(
            GraphQLNonNull(GraphQLList(update)),
            {**common, **pace.batch, **rules},
            description=_described(source, "Follow {}, many changes to a message."),
        )
        order = GraphQLArgument(
            GraphQLList(GraphQLNonNull(_order_type(source, order_by))),
            description="What sorts the rows, the most important first. Rows that it leaves equal are in the order of "
            "the key.",
        )
        queries.update(_row_queries(source, row, {"where": where, "order_by": order}, rules, enums))
        queries.update(triggers.queries(source))
        mutations.update(triggers.mutations(source, expression, rules))
    status = StatusTypes(catalog.sources, statuses)
    queries[SOURCE_STATUS] = status.query()
    subscriptions[SOURCE_STATUS] = status.subscription()
    try:
        schema = GraphQLSchema(
            query=GraphQLObjectType("Query", queries),
            mutation=GraphQLObjectType("Mutation", mutations),
            subscription=GraphQLObjectType("Subscription", subscriptions),
        )
    except TypeError as error:
        raise ValueError(f"no GraphQL schema can be made of these sources: {error}") from error
    if problems := validate_schema(schema):
        raise ValueError("no GraphQL schema can be made of these sources: " + "; ".join(map(str, problems)))
    return schema


def by_key_name(source: Source) -> str:
    """The query field that reads one row."""
    return f"{source.name}_by_pk"


def rule_name(source: str, field: str) -> str:
    """The input type of a calculated field's rules."""
    return f"{source}_{field}_rule"


def _described(source: Source, sentence: str) -> str:
    text = sentence.format(f"`{source.name}`")
    return f"{source.description}\n\n{text}" if source.description else text


def _output_type(column: Column, enums: Mapping[str, GraphQLEnumType]) -> GraphQLScalarType | GraphQLEnumType:
    if column.enum is not None:
        return enums[column.enum.name]
    return _SCALARS.get(column.type, GraphQLString)


def _row_type(source: Source, enums: Mapping[str, GraphQLEnumType]) -> GraphQLObjectType:
    fields = {}
    for column in source.extended.columns:
        output = _output_type(column, enums)
        fields[column.name] = GraphQLField(
            GraphQLNonNull(output) if column.name in source.primary_key else output, description=column.description
        )
    return GraphQLObjectType(source.name, fields, description=source.description)


def _update_type(
    source: Source, row: GraphQLObjectType, row_operation: GraphQLEnumType, snapshot_mark: GraphQLEnumType
) -> GraphQLObjectType:
    text = GraphQLNonNull(GraphQLString)
    return GraphQLObjectType(
        f"{source.name}Update",
        {
            "operation": GraphQLField(GraphQLNonNull(row_operation), description="What happened to the row."),
            "data": GraphQLField(row, description="The row, as far as `operation` says; other columns are null."),
            "fields": GraphQLField(
                GraphQLNonNull(GraphQLList(text)),
                description="Names of all columns that changed, selected or not; all columns for INSERT and DELETE.",
            ),
            "timestamp": GraphQLField(text, description="The database's logical time of the change, a decimal number."),
            "event_id": GraphQLField(
                text, description="Names the change: the same for every client, and again after a reconnection."
            ),
            **resume_fields(snapshot_mark),
        },
        description=f"A change of a row of `{source.name}`.",
    )


def _expression_type(source: Source, comparisons: Comparisons) -> GraphQLInputObjectType:
    def fields() -> dict[str, GraphQLInputField]:
        several = GraphQLList(GraphQLNonNull(expression))
        return {
            **{
                column.name: GraphQLInputField(comparisons.of(column), description=column.description)
                for column in source.extended.columns
            },
            "_and": GraphQLInputField(several, description="True where all of these are; an empty list is true."),
            "_or": GraphQLInputField(several, description="True where one of these is; an empty list is false."),
            "_not": GraphQLInputField(expression, description="True where this is false; unknown stays unknown."),
        }

    expression = GraphQLInputObjectType(
        f"{source.name}Expression",
        fields,
        description=f"Conditions on a row of `{source.name}`; several must all be true. A comparison with a column "
        "that is null is unknown, and a row of which the whole is unknown does not match.",
    )
    return expression


def _rule_arguments(
    source: Source, expression: GraphQLInputObjectType, enums: Mapping[str, GraphQLEnumType]
) -> dict[str, GraphQLArgument]:
    """For each calculated field, the argument that takes its rules."""
    arguments = {}
    for column in source.calculated:
        assert column.enum is not None
        rule = GraphQLInputObjectType(
            rule_name(source.name, column.name),
            {
                "state": GraphQLInputField(
                    GraphQLNonNull(enums[column.enum.name]), description="What the field is while the rule holds."
                ),
                "when": GraphQLInputField(
                    GraphQLNonNull(expression), description="The rule holds where this is true of the row's columns."
                ),
                "until": GraphQLInputField(
                    expression,
                    description="Once the rule holds it goes on until this is true, and `when` is not. Left out: until "
                    "`when` is not.",
                ),
            },
            description=f"A rule for `{column.name}` of `{source.name}`.",
        )
        arguments[rules_argument(column.name)] = GraphQLArgument(
            GraphQLList(GraphQLNonNull(rule)),
            description=f"Rules for `{column.name}`: it is the state of the first that holds, null where none does.",
        )
    return arguments


def _order_type(source: Source, order_by: GraphQLEnumType) -> GraphQLInputObjectType:
    return GraphQLInputObjectType(
        f"{source.name}_order_by",
        {
            column.name: GraphQLInputField(order_by, description=column.description)
            for column in source.extended.columns
        },
        description=f"Columns that sort rows of `{source.name}`. Several count in the order in which they are written; "
        "a list of objects with one column each says the same wherever such an order is lost.",
    )


def _row_queries(
    source: Source,
    row: GraphQLObjectType,
    choice: Mapping[str, GraphQLArgument],
    rules: Mapping[str, GraphQLArgument],
    enums: Mapping[str, GraphQLEnumType],
) -> dict[str, GraphQLField]:
    key = {
        name: GraphQLArgument(GraphQLNonNull(_output_type(source.column(name), enums))) for name in source.primary_key
    }
    # The rows themselves never pass through graphql-core's execution: it only sees these stand-ins (see queries.py).
    return {
        source.name: GraphQLField(
            GraphQLNonNull(GraphQLList(GraphQLNonNull(row))),
            {
                **choice,
                "limit": GraphQLArgument(GraphQLInt, description="At most so many rows."),
                "offset": GraphQLArgument(GraphQLInt, description="Leave out so many rows first."),
                **rules,
            },
            resolve=lambda *_, **__: [],
            description=_described(
                source, "The rows of {} as they are now, in the order of the key unless `order_by` says otherwise."
            ),
        ),
        by_key_name(source): GraphQLField(
            row,
            {**key, **rules},
            resolve=lambda *_, **__: None,
            description=f"The row of `{source.name}` with this key, or null.",
        ),
    }

"""The engine: a request becomes a plan. Subscriptions are planned once and never executed field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    OperationType,
    get_argument_values,
    get_variable_values,
)
from graphql.execution import VariableValues

from tycostream.filters import Filter, FilterError, KeyLookup, key_lookup
from tycostream.graphql.documents import Document, Documents
from tycostream.graphql.errors import BAD_USER_INPUT, RequestError, refused
from tycostream.graphql.fields import collect_fields, field_tree
from tycostream.graphql.limits import Limits, check_roots
from tycostream.graphql.ordering import parse_order, sort_key
from tycostream.graphql.pace import batch_name, batches, rhythm, slow_policy
from tycostream.graphql.queries import Elsewhere, PreparedQuery, RowReader, RowsPlan, Slice, delegate, execute_query
from tycostream.graphql.rendering import Selection, make_selection
from tycostream.graphql.resuming import resumption
from tycostream.graphql.rules import derivation_of, selected, where_filter
from tycostream.graphql.schema import build_schema, by_key_name
from tycostream.graphql.status import TYPE as STATUS_TYPE
from tycostream.graphql.status import StatusReader, StatusSelection, status_filter
from tycostream.graphql.triggers import TriggerService
from tycostream.model import Catalog, Source
from tycostream.status import SOURCE_STATUS, STATUS
from tycostream.views.cursor import Cursor
from tycostream.views.delivery import OnUnavailable
from tycostream.views.delivery import Selection as AnySelection
from tycostream.views.derived import Derivation
from tycostream.views.pace import Rhythm, SlowPolicy

_MOST_ERRORS = 20


@dataclass(frozen=True, slots=True)
class SubscriptionPlan:
    """What a subscription follows and how its results are written."""

    source: Source
    filter: Filter
    selection: AnySelection
    response_key: str
    derivation: Derivation | None = None
    """Whose calculated fields the rows have that filter and selection see; None: the database's columns alone."""
    on_unavailable: OnUnavailable | None = None
    marked: bool = False
    """Whether the selection shows cursors or a snapshot's marks."""
    resume: Cursor | None = None
    """From where it goes on; None: it begins with all rows."""
    mark_end: bool = False
    """Whether its client wants to be told when it has them all."""
    slow: SlowPolicy | None = None
    """None: what the service is set to."""
    rhythm: Rhythm | None = None
    """None: every change is told at once."""


class Engine:
    """Prepares and executes requests against the catalog's schema. Triggers are a service here, or `elsewhere`."""

    def __init__(
        self,
        catalog: Catalog,
        limits: Limits,
        rows: RowReader,
        triggers: TriggerService | None = None,
        statuses: StatusReader | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._limits = limits
        self._rows = rows
        self._triggers = triggers
        self._elsewhere = elsewhere
        self.adopt(catalog, build_schema(catalog, statuses))

    def adopt(self, catalog: Catalog, schema: GraphQLSchema) -> None:
        """From now on requests are prepared against this catalog, whose schema it is. What has been prepared stays what
        it is."""
        self.schema = schema
        self._sources = catalog.sources
        self._batched = {batch_name(source): source for source in catalog.sources.values()}
        self._by_key = {by_key_name(source): source for source in catalog.sources.values()}
        self._documents = Documents(schema, self._limits)
        self._constant: WeakKeyDictionary[Document, SubscriptionPlan | PreparedQuery] = WeakKeyDictionary()
        self._selections: WeakValueDictionary[tuple[object, ...], Selection] = WeakValueDictionary()

    def serves(self, source: Source) -> bool:
        """Whether this very source is still served."""
        return self._sources.get(source.name) is source

    def prepare(
        self, query: str, operation_name: str | None, variables: Mapping[str, object] | None
    ) -> SubscriptionPlan | PreparedQuery:
        """The plan of the request. Raises RequestError for whatever is wrong with it."""
        document = self._documents.load(query, operation_name)
        plan = self._constant.get(document)
        if plan is None:
            try:
                plan = self._plan(document, dict(variables or {}))
            except GraphQLError as error:
                raise refused(BAD_USER_INPUT, error) from None
            if not document.operation.variable_definitions:
                self._constant[document] = plan
        return plan

    async def execute(self, prepared: PreparedQuery) -> dict[str, object]:
        """The response: `data`, and `errors` where there are any."""
        return await execute_query(self._rows, self._triggers, prepared, self._elsewhere)

    async def execute_on_triggers(
        self, query: str, operation_name: str | None, variables: Mapping[str, object] | None
    ) -> dict[str, object]:
        """The response to a request of another process: see `Elsewhere`."""
        try:
            prepared = self.prepare(query, operation_name, variables)
        except RequestError as error:
            return {"data": None, "errors": error.errors}
        assert isinstance(prepared, PreparedQuery)
        data, errors = await delegate(self._triggers, prepared)
        return {"data": data, "errors": errors} if errors else {"data": data}

    def _plan(self, document: Document, variables: dict[str, Any]) -> SubscriptionPlan | PreparedQuery:
        operation = document.operation
        values = get_variable_values(self.schema, operation.variable_definitions or (), variables, _MOST_ERRORS)
        if isinstance(values, list):
            raise refused(BAD_USER_INPUT, *values)
        root = self.schema.get_root_type(operation.operation)
        assert root is not None  # validation has seen to it
        fields = collect_fields(document, [operation.selection_set], root.name, values)
        if operation.operation is OperationType.SUBSCRIPTION:
            ((key, nodes),) = fields.items()
            return self._plan_subscription(document, key, nodes, values)
        check_roots(len(fields), self._limits)
        rows = []
        if operation.operation is OperationType.QUERY:
            rows = [self._plan_rows(document, key, nodes, values, variables) for key, nodes in fields.items()]
        name = operation.name.value if operation.name else None
        rest = {nodes[0].name.value for nodes in fields.values()} - {plan.node.name.value for plan in rows if plan}
        return PreparedQuery(
            self.schema,
            document.tree,
            name,
            operation.operation.value,
            variables,
            tuple(fields),
            tuple(plan for plan in rows if plan),
            on_triggers=any(not one.startswith("__") and one != SOURCE_STATUS for one in rest),
        )

    def _plan_subscription(
        self, document: Document, key: str, nodes: list[FieldNode], values: VariableValues
    ) -> SubscriptionPlan:
        name = nodes[0].name.value
        arguments = self._arguments("Subscription", nodes[0], values)
        if name == SOURCE_STATUS:
            wanted = status_filter(self._sources, nodes[0], arguments)
            told = StatusSelection(key, field_tree(document, nodes, (STATUS_TYPE,), values))
            return SubscriptionPlan(STATUS, wanted, told, key)
        batched = self._batched.get(name)
        source = batched or self._sources[name]
        tree = field_tree(document, nodes, (f"{source.name}Update", source.name), values)
        condition = where_filter(source, nodes[0], arguments.get("where"))
        used = {*condition.columns(), *(name for field in tree for name in selected(field.fields))}
        derivation = derivation_of(source, nodes[0], arguments, self._limits, used)
        resume, mark_end = resumption(source, nodes[0], arguments, tree)
        # Subscribers who select the same share one object, and with it the code generated for it. One that names no
        # calculated field writes rows without them as well.
        selection = self._selections.get((source, key, tree))
        if selection is None:
            selection = self._selections[source, key, tree] = make_selection(source.extended, key, tree)
        written: AnySelection = selection
        if batched is None:
            when = rhythm(nodes[0], arguments)
        else:
            written, when = batches(nodes[0], arguments, selection)
        return SubscriptionPlan(
            source,
            condition,
            written,
            key,
            derivation,
            on_unavailable=arguments.get("on_unavailable"),
            marked=selection.marked,
            resume=resume,
            mark_end=mark_end,
            slow=slow_policy(arguments),
            rhythm=when,
        )

    def _plan_rows(
        self,
        document: Document,
        key: str,
        nodes: list[FieldNode],
        values: VariableValues,
        variables: Mapping[str, Any],
    ) -> RowsPlan | None:
        """How to read the rows that a field of a query asks for; None for a field that asks for something else.

        `variables` are the client's, `values` what was read from them.
        """
        node = nodes[0]
        name = node.name.value
        source = self._sources.get(name) or self._by_key.get(name)
        if source is None:
            return None
        arguments = self._arguments("Query", node, values)
        tree = field_tree(document, nodes, (source.name,), values)
        if name in self._by_key:
            derivation = derivation_of(source, node, arguments, self._limits, selected(tree))
            return RowsPlan(key, node, source, tree, _lookup(source, node, arguments), derivation)
        order = parse_order(node, document.operation, variables)
        limit, offset = _count(node, arguments, "limit"), _count(node, arguments, "offset") or 0
        condition = where_filter(source, node, arguments.get("where"))
        used = {*condition.columns(), *order, *selected(tree)}
        derivation = derivation_of(source, node, arguments, self._limits, used)
        end = None if limit is None else offset + limit
        wanted = Slice(condition, sort_key(source.extended, order), offset, end)
        return RowsPlan(key, node, source, tree, wanted, derivation)

    def _arguments(self, type_name: str, node: FieldNode, values: VariableValues) -> dict[str, Any]:
        type_ = self.schema.get_type(type_name)
        return get_argument_values(type_.fields[node.name.value], node, values)  # type: ignore[union-attr]


def _lookup(source: Source, node: FieldNode, key: Mapping[str, object]) -> KeyLookup:
    try:
        return key_lookup(source, key)
    except FilterError as error:
        message = f'Argument "{error.path[0]}" of "{node.name.value}": {error.message}'
        raise GraphQLError(message, node) from None


def _count(node: FieldNode, arguments: Mapping[str, Any], name: str) -> int | None:
    count: int | None = arguments.get(name)
    if count is not None and count < 0:
        raise GraphQLError(
            f'Argument "{name}" of "{node.name.value}": {count} is negative; 0 or more would be valid.', node
        )
    return count

"""Which fields a selection set asks for, once its variables are known: directives, fragments and aliases resolved."""

from __future__ import annotations

from collections.abc import Iterable

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLIncludeDirective,
    GraphQLSkipDirective,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
    get_directive_values,
)
from graphql.execution import VariableValues

from tycostream.graphql.documents import Document
from tycostream.graphql.rendering import Field


def collect_fields(
    document: Document, selection_sets: Iterable[SelectionSetNode], type_name: str, variables: VariableValues
) -> dict[str, list[FieldNode]]:
    """The field nodes for each response key, in the order in which results show them.

    The document is valid and within its limits, and every type is an object: a fragment applies where its type's
    name is `type_name`. Raises GraphQLError where a directive's variable is null.
    """
    fields: dict[str, list[FieldNode]] = {}
    seen: set[str] = set()

    def visit(selection_set: SelectionSetNode) -> None:
        for node in selection_set.selections:
            if not _included(node, variables):
                continue
            if isinstance(node, FieldNode):
                fields.setdefault((node.alias or node.name).value, []).append(node)
                continue
            fragment: FragmentDefinitionNode | InlineFragmentNode
            if isinstance(node, FragmentSpreadNode):
                name = node.name.value
                if name in seen:
                    continue
                seen.add(name)
                fragment = document.fragments[name]
            elif isinstance(node, InlineFragmentNode):
                fragment = node
            condition = fragment.type_condition
            if condition is None or condition.name.value == type_name:
                visit(fragment.selection_set)

    for selection_set in selection_sets:
        visit(selection_set)
    return fields


def field_tree(
    document: Document, nodes: Iterable[FieldNode], type_names: tuple[str, ...], variables: VariableValues
) -> tuple[Field, ...]:
    """What these nodes, which share a response key, select together. `type_names`: the type of their value, and then
    the type of the values below that."""
    selection_sets = [node.selection_set for node in nodes if node.selection_set]
    if not selection_sets:
        return ()
    below = collect_fields(document, selection_sets, type_names[0], variables)
    return tuple(
        Field(key, group[0].name.value, field_tree(document, group, type_names[1:], variables))
        for key, group in below.items()
    )


def _included(node: SelectionNode, variables: VariableValues) -> bool:
    if not node.directives:
        return True
    skip = get_directive_values(GraphQLSkipDirective, node, variables)
    include = get_directive_values(GraphQLIncludeDirective, node, variables)
    return not (skip and skip["if"]) and not (include and not include["if"])

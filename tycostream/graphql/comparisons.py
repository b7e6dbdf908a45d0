"""Comparison inputs: for each column type, or each enum, the operators that its columns can be filtered by."""

from __future__ import annotations

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLString,
)

from tycostream.filters import OPERATORS, Operand
from tycostream.model import Column, ColumnType, EnumType

_OPERANDS = {
    ColumnType.INTEGER: GraphQLInt,
    ColumnType.FLOAT: GraphQLFloat,
    ColumnType.BOOLEAN: GraphQLBoolean,
}
"""Every other type is compared with a String, as it is written: a variable `$v: String` fits them all."""

_NAMES = {ColumnType.INTEGER: "Int"}


class Comparisons:
    """The comparison inputs of a schema, made when a column first needs them."""

    def __init__(self, enums: dict[str, GraphQLEnumType]) -> None:
        self._enums = enums
        self._made: dict[ColumnType | EnumType, GraphQLInputObjectType] = {}

    def of(self, column: Column) -> GraphQLInputObjectType:
        """The input type that filters this column."""
        kind = column.enum or column.type
        if kind not in self._made:
            self._made[kind] = self._make(column)
        return self._made[kind]

    def _make(self, column: Column) -> GraphQLInputObjectType:
        value: GraphQLInputType
        if column.enum is not None:
            name, value = column.enum.name, self._enums[column.enum.name]
        else:
            name, value = _NAMES.get(column.type, column.type.value), _OPERANDS.get(column.type, GraphQLString)
        inputs: dict[Operand, GraphQLInputType] = {
            Operand.VALUE: value,
            Operand.VALUES: GraphQLList(GraphQLNonNull(value)),
            Operand.BOOLEAN: GraphQLBoolean,
            Operand.TEXT: GraphQLString,
            Operand.TEXTS: GraphQLList(GraphQLNonNull(GraphQLString)),
        }
        return GraphQLInputObjectType(
            f"{name}Comparison",
            {
                operator.name: GraphQLInputField(inputs[operator.operand], description=operator.help)
                for operator in OPERATORS
                if column.type in operator.types
            },
            description=f"Conditions on a column of type {name}. Several conditions must all be true.",
        )

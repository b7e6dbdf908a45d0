"""The structure of the schema file: which keys there are, and what kind of value each takes.

Data that has passed is in one form: a column is a mapping with `type`, an enum a mapping with `values`, and
`primary_key` a list, however the file wrote them. What the texts mean is not looked at here.
"""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validates_schema

from tycostream.settings.problems import did_you_mean, quoted


def _messages(expected: str) -> dict[str, Any]:
    return {"required": f"is missing, expected {expected}", "null": f"is empty, expected {expected}"}


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str):
        raise _mismatch(value, expected)
    if not value.strip():
        raise ValidationError(f"is empty, expected {expected}")
    return value


def _mismatch(value: object, expected: str) -> ValidationError:
    if value is None:
        return ValidationError(f"is empty, expected {expected}")
    found = quoted(value) if isinstance(value, str) else "a list" if isinstance(value, list) else "a mapping"
    return ValidationError(f"found {found}, expected {expected}")


class Text(fields.Field[str]):
    """One text that is not empty."""

    def __init__(self, expected: str, **options: Any) -> None:
        super().__init__(error_messages=_messages(expected), **options)
        self.expected = expected

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:  # noqa: ARG002
        return _text(value, self.expected)


class Texts(fields.Field[list[str]]):
    """A list of different texts, at least one; with `single`, one text stands for a list of one."""

    def __init__(self, expected: str, *, single: bool = False, **options: Any) -> None:
        super().__init__(error_messages=_messages(expected), **options)
        self.expected = expected
        self.single = single

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[str]:  # noqa: ARG002
        if self.single and isinstance(value, str):
            return [_text(value, self.expected)]
        if not isinstance(value, list):
            raise _mismatch(value, self.expected)
        if not value:
            raise ValidationError(f"is an empty list, expected {self.expected}")
        texts: dict[str, int] = {}
        problems: dict[str | int, Any] = {}
        for index, item in enumerate(value):
            try:
                text = _text(item, "text")
            except ValidationError as error:
                problems[index] = error.messages
                continue
            if text in texts:
                problems[index] = [f"{quoted(text)} is there twice"]
            texts[text] = index
        if problems:
            raise ValidationError(problems, valid_data=list(texts))
        return list(texts)


class Names(fields.Field[dict[str, Any]]):
    """A mapping from names of the user's own to values of one kind."""

    def __init__(self, inner: Block, expected: str, *, empty: str | None = None, **options: Any) -> None:
        super().__init__(error_messages=_messages(expected), **options)
        self.inner = inner
        self.expected = expected
        self.empty = empty

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        if not isinstance(value, dict):
            raise _mismatch(value, self.expected)
        if not value and self.empty:
            raise ValidationError(self.empty)
        valid: dict[str, Any] = {}
        problems: dict[str | int, Any] = {}
        for name, item in value.items():
            try:
                valid[name] = self.inner.deserialize(item)
            except ValidationError as error:
                problems[name] = error.messages
                valid[name] = error.valid_data or {}
        if problems:
            raise ValidationError(problems, valid_data=valid)
        return valid


class Block(fields.Nested):
    """A mapping of this shape, or the value of its `short` key alone."""

    def __init__(self, shape: type[Shape], expected: str, *, short: tuple[str, type] | None = None) -> None:
        super().__init__(shape, error_messages=_messages(expected))
        self.expected = expected
        self.short = short

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if self.short and isinstance(value, self.short[1]):
            key = self.short[0]
            try:
                return super()._deserialize({key: value}, *args, **kwargs)
            except ValidationError as error:
                messages = error.messages[key] if isinstance(error.messages, dict) else error.messages
                raise ValidationError(messages, valid_data=error.valid_data) from None
        if not isinstance(value, dict):
            raise _mismatch(value, self.expected)
        return super()._deserialize(value, *args, **kwargs)


class Shape(Schema):
    """A mapping with known keys; any other is a mistake, with a suggestion where one is near."""

    class Meta:
        unknown = EXCLUDE

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def refuse_unknown(self, data: Any, original: Any, **kwargs: Any) -> None:  # noqa: ARG002
        known = list(self.fields)
        unknown = [key for key in original if key not in known]
        if unknown:
            valid = f"expected {', '.join(known)}"
            raise ValidationError({key: [f"is not a key, {valid}{did_you_mean(key, known)}"] for key in unknown})


class EnumShape(Shape):
    values = Texts("a list of values in rising order", required=True)
    description = Text("text")


class ColumnShape(Shape):
    type = Text("a column type", required=True)
    description = Text("text")


class CalculatedShape(Shape):
    type = Text("an enum's name", required=True)
    description = Text("text")


class SourceShape(Shape):
    primary_key = Texts("a column's name or a list of them", single=True, required=True)
    columns = Names(
        Block(ColumnShape, "a column type, or a mapping with type and description", short=("type", str)),
        "a mapping from column names to types",
        empty="names no column, expected at least the primary key's",
        required=True,
    )
    calculated_fields = Names(
        Block(CalculatedShape, "an enum's name, or a mapping with type and description", short=("type", str)),
        "a mapping from field names to enums",
    )
    relation = Text("the name of a table or view, such as trades or public.trades")
    description = Text("text")


class SchemaShape(Shape):
    enums = Names(
        Block(EnumShape, "a list of values, or a mapping with values and description", short=("values", list)),
        "a mapping from enum names to lists of values",
        allow_none=True,
    )
    sources = Names(
        Block(SourceShape, "a mapping with primary_key and columns"),
        "a mapping from source names to primary_key and columns",
        empty="names no source, expected at least one",
        required=True,
    )

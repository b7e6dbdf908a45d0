"""The schema file: read, checked as a whole, and made into the catalog of sources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from marshmallow import ValidationError

from tycostream.model import Catalog, Column, ColumnType, EnumType, Relation, Source
from tycostream.settings.document import Document, Trail, parse_document
from tycostream.settings.names import (
    BOOLEAN_WORDS,
    COLUMN_TYPES,
    clashes,
    invalid_enum_value,
    invalid_name,
    rules_argument,
)
from tycostream.settings.problems import Problem, SettingsError, did_you_mean, quoted
from tycostream.settings.shape import SchemaShape

MAX_FILE_BYTES = 1024 * 1024

SYNONYMS = {
    word: kind.value
    for kind, words in {
        ColumnType.INTEGER: "int int2 int4 smallint mediumint serial",
        ColumnType.FLOAT: "double real float4 float8 double_precision",
        ColumnType.BIGINT: "int8 long serial8 bigserial",
        ColumnType.NUMERIC: "decimal number money",
        ColumnType.STRING: "text varchar char bpchar character str citext",
        ColumnType.UUID: "id guid",
        ColumnType.TIMESTAMP: "timestamptz datetime timestamp_tz",
        ColumnType.TIME: "timetz",
        ColumnType.BOOLEAN: "bool",
        ColumnType.JSON: "jsonb object map",
        ColumnType.ARRAY: "list",
    }.items()
    for word in words.split()
}
"""Names of types elsewhere, and ours for them."""


def load_schema(path: Path) -> Catalog:
    """The catalog that the file describes. Raises SettingsError with every mistake in the file."""
    name = _shown(path)
    return parse_schema(name, _read(path, name))


def parse_schema(name: str, text: str) -> Catalog:
    """As `load_schema`, for a text that is already read; `name` is its file's."""
    document, problems = parse_document(name, text)
    if not isinstance(document.data, dict):
        found = "the file is empty" if document.data is None else "the top level is no mapping"
        raise SettingsError([*problems, document.problem((), f"{found}, expected a mapping with sources and enums")])
    try:
        shaped: Mapping[str, Any] = SchemaShape().load(document.data)
    except ValidationError as error:
        problems += (document.problem(trail, message) for trail, message in _flat(error.messages, ()))
        valid = error.valid_data
        shaped = valid if isinstance(valid, dict) else {}
    problems += _name_problems(document)
    problems += _enum_problems(document, shaped)
    for source, shape in shaped.get("sources", {}).items():
        problems += _source_problems(document, ("sources", source), shape)
    if problems:
        raise SettingsError(sorted(problems, key=_position))
    return _catalog(shaped)


def parse_relation(text: str) -> Relation:
    """A relation's name, with or without its schema; parts may be quoted as in SQL. Case is kept, quoted or not.

    Raises ValueError, whose text says what would be valid.
    """
    parts = re.findall(r'(?:^|\.)(?:"((?:[^"]|"")+)"|([^\W\d][\w$]*))(?=\.|$)', text)
    names = [quoted_name.replace('""', '"') or plain for quoted_name, plain in parts]
    matched = sum(len(quoted_name) + 2 if quoted_name else len(plain) for quoted_name, plain in parts) + len(parts) - 1
    if matched != len(text) or "\0" in text:
        raise ValueError(
            f"""found {quoted(text)}, expected a name such as trades, public.trades or "My.Schema"."Trades\""""
        )
    if len(names) > 2:
        raise ValueError(
            f"found {quoted(text)}, expected a name and at most its schema; DATABASE_NAME chooses the database"
        )
    return Relation(names[-1], names[0] if len(names) == 2 else None)


def _read(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise SettingsError([Problem(name, f"is larger than {MAX_FILE_BYTES} bytes")])
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        message = "there is no such file, expected the schema file; SCHEMA_PATH tells where it is"
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 text: line {line} has the byte 0x{content[error.start]:02x}"
    except (OSError, ValueError) as error:
        message = f"can't be read: {getattr(error, 'strerror', None) or 'not a file name'}"
    raise SettingsError([Problem(name, message)])


def _shown(path: Path) -> str:
    """The path as problems show it: below the working folder without that folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _flat(messages: object, trail: Trail) -> Iterator[tuple[Trail, str]]:
    """Marshmallow's nested messages, each with its trail."""
    if isinstance(messages, dict):
        for step, inner in messages.items():
            yield from _flat(inner, (*trail, step))
    elif isinstance(messages, list):
        for message in messages:
            yield from _flat(message, trail)
    else:
        yield trail, str(messages)


def _position(problem: Problem) -> tuple[int, int]:
    found = re.search(r":(\d+):(\d+)( |$)", problem.place)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _name_problems(document: Document) -> Iterable[Problem]:
    enums, sources = document.names("enums"), document.names("sources")
    trails: list[tuple[str, ...]] = [("enums", name) for name in enums]
    trails += [("sources", name) for name in sources]
    trails += [
        ("sources", source, group, name)
        for source in sources
        for group in ("columns", "calculated_fields")
        for name in document.names("sources", source, group)
    ]
    for trail in trails:
        name = trail[-1]
        if reason := invalid_name(name):
            yield document.problem(trail, f"{quoted(name)} can't be a name: {reason}")
        elif len(trail) == 4 and name in BOOLEAN_WORDS:
            what = "column" if trail[2] == "columns" else "calculated field"
            yield document.problem(trail, f"a {what} can't be named {name}: filters combine conditions with that word")
        elif trail[0] == "enums" and name in COLUMN_TYPES:
            yield document.problem(trail, f"an enum can't be named {name}: a column type has that name")
    calculated = {source: document.names("sources", source, "calculated_fields") for source in sources}
    for named, message in clashes([name for name in enums if name not in COLUMN_TYPES], calculated):
        yield document.problem(named, message)


def _enum_problems(document: Document, shaped: Mapping[str, Any]) -> Iterable[Problem]:
    for enum in shaped.get("enums") or {}:
        trail: Trail = ("enums", enum)
        if document.names("enums", enum):
            trail = (*trail, "values")
        for index, value in enumerate(_part(document, trail)):
            if isinstance(value, str) and value.strip() and (reason := invalid_enum_value(value)):
                yield document.problem((*trail, index), f"{quoted(value)} can't be an enum value: {reason}")


def _source_problems(document: Document, trail: tuple[str, str], shape: Mapping[str, Any]) -> Iterator[Problem]:
    enums = document.names("enums")
    for name, column in shape.get("columns", {}).items():
        kind = column.get("type")
        if kind is not None and kind not in COLUMN_TYPES and kind not in enums:
            yield document.problem(_at(document, (*trail, "columns", name), "type"), _unknown_type(kind, enums))
    columns = document.names(*trail, "columns")
    calculated = document.names(*trail, "calculated_fields")
    yield from _calculated_problems(document, trail, shape)
    for index, name in enumerate(shape.get("primary_key", [])):
        place = _at(document, (*trail, "primary_key"), index)
        if name in calculated and name not in columns:
            yield document.problem(place, f"{quoted(name)} is a calculated field, expected columns of the database")
        elif columns and name not in columns:
            hint = f"; for several columns write a list: [{name}]" if "," in name else did_you_mean(name, columns)
            yield document.problem(place, f"{quoted(name)} is no column of this source{hint}")
        elif columns and shape["columns"].get(name, {}).get("type") in {"JSON", "Array"}:
            kind = shape["columns"][name]["type"]
            message = (
                f"{quoted(name)} is of type {kind}, whose equal values can be written differently: it can't be in a key"
            )
            yield document.problem(place, message)
    if "relation" in shape:
        try:
            parse_relation(shape["relation"])
        except ValueError as error:
            yield document.problem((*trail, "relation"), str(error))


def _calculated_problems(document: Document, trail: tuple[str, str], shape: Mapping[str, Any]) -> Iterator[Problem]:
    enums = document.names("enums")
    columns = document.names(*trail, "columns")
    for name, field in shape.get("calculated_fields", {}).items():
        place = (*trail, "calculated_fields", name)
        kind = field.get("type")
        if kind is not None and kind not in enums:
            yield document.problem(_at(document, place, "type"), _unknown_enum(kind, enums))
        if name in columns:
            message = f"{quoted(name)} is the name of a column of this source; choose another for the calculated field"
            yield document.problem(place, message)
        argument = rules_argument(name)
        if argument in shape.get("primary_key", []) and argument in columns:
            message = f"needs the GraphQL argument {argument}, which is a column of the key; choose another name"
            yield document.problem(place, message)


def _unknown_enum(kind: str, enums: Iterable[str]) -> str:
    named = [name for name in enums if not invalid_name(name) and name not in COLUMN_TYPES]
    shown = ", ".join(named[:10]) + (", ..." if len(named) > 10 else "")
    expected = f"expected one of the file's enums ({shown})" if shown else "and the file names none under enums"
    return f"{quoted(kind)} is no enum, {expected}{did_you_mean(kind, named)}"


def _unknown_type(kind: str, enums: Iterable[str]) -> str:
    known = [each.value for each in ColumnType if each is not ColumnType.ENUM]
    named = [name for name in enums if not invalid_name(name) and name not in COLUMN_TYPES]
    shown = ", ".join(named[:10]) + (", ..." if len(named) > 10 else "")
    word = "Array" if kind.endswith("[]") else re.split(r"[\s(]", kind.strip(), maxsplit=1)[0]
    hint = did_you_mean(word, [*known, *named], SYNONYMS)
    return (
        f"{quoted(kind)} is no column type, expected {', '.join(known)}, or an enum"
        + (f" ({shown})" if shown else "")
        + hint
    )


def _at(document: Document, trail: Trail, step: str | int) -> Trail:
    """The trail one step further, where the file writes that step out, and not its short form."""
    return (*trail, step) if (*trail, step) in document.marks else trail


def _part(document: Document, trail: Trail) -> list[object]:
    """The list at this trail; an empty one where there is none."""
    part: Any = document.data
    for step in trail:
        part = part.get(step) if isinstance(part, dict) else None
    return part if isinstance(part, list) else []


def _catalog(shaped: Mapping[str, Any]) -> Catalog:
    """The catalog of a file that has passed every check."""
    enums = {
        name: EnumType(name, tuple(shape["values"]), shape.get("description"))
        for name, shape in (shaped.get("enums") or {}).items()
    }
    sources = {
        name: Source(
            name=name,
            relation=parse_relation(shape["relation"]) if "relation" in shape else Relation(name),
            columns=tuple(_column(column, of, enums) for column, of in shape["columns"].items()),
            primary_key=tuple(shape["primary_key"]),
            description=shape.get("description"),
            calculated=tuple(_column(field, of, enums) for field, of in shape.get("calculated_fields", {}).items()),
        )
        for name, shape in shaped["sources"].items()
    }
    return Catalog(sources, enums)


def _column(name: str, shape: Mapping[str, str], enums: Mapping[str, EnumType]) -> Column:
    enum = enums.get(shape["type"])
    kind = ColumnType.ENUM if enum else ColumnType(shape["type"])
    return Column(name, kind, enum, shape.get("description"))

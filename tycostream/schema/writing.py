"""The text of a schema file, with comments where somebody has to know or do something."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import yaml

from tycostream.model import ColumnType, EnumType, Relation

NO_KEY_TYPES = frozenset({ColumnType.JSON, ColumnType.ARRAY})
"""Types whose equal values can be written differently: the schema file allows them in no key."""

_LOOKS_LIKE_MORE = frozenset({"y", "n"})
"""Words that some readers of YAML take for yes and no, and PyYAML does not."""


@dataclass(frozen=True, slots=True)
class DraftColumn:
    """A column to write. One with an `obstacle` is written as a comment that says why it is left out."""

    name: str
    type: ColumnType
    enum: str = ""
    note: str = ""
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class DraftSource:
    """A source to write. Without a `key`, a comment says what to fill in: `no_key` is why, `likely` what may do."""

    name: str
    relation: Relation
    kind: str
    key: tuple[str, ...]
    no_key: str
    likely: tuple[str, ...]
    columns: Sequence[DraftColumn]

    @property
    def kept(self) -> list[DraftColumn]:
        """The columns that are written as such. Without any, the source is left out."""
        return [column for column in self.columns if not column.obstacle]


def write(enums: Iterable[EnumType], sources: Sequence[DraftSource]) -> str:
    """The file."""
    lines = []
    declared = [f"  {scalar(enum.name)}: [{', '.join(map(scalar, enum.values))}]  # in rising order" for enum in enums]
    if declared:
        lines += ["enums:", *declared, ""]
    lines.append("sources:")
    for number, source in enumerate(sources):
        lines += [""] * bool(number)
        lines += _source(source)
    return "\n".join(lines) + "\n"


def scalar(text: str) -> str:
    """The text as YAML, in quotes where it could be taken for anything else (yes, null, 1, ...)."""
    if text.lower() in _LOOKS_LIKE_MORE:
        return f"'{text}'"
    style = None if text.isprintable() else '"'
    listed = yaml.safe_dump(
        [text], default_style=style, default_flow_style=True, allow_unicode=True, width=float("inf")
    )
    return listed.strip().removeprefix("[").removesuffix("]")


def relation_text(relation: Relation) -> str:
    """The relation's name as the schema file has it: parts in quotes where they are no plain words."""
    parts = [relation.schema, relation.name] if relation.schema else [relation.name]
    return ".".join(
        part if re.fullmatch(r"[^\W\d][\w$]*", part) else '"' + part.replace('"', '""') + '"' for part in parts
    )


def _source(source: DraftSource) -> list[str]:
    if not source.kept:
        return [_comment(2, f"{source.kind} {source.relation} is left out: it has no column that GraphQL can hold")]
    lines = [f"  {scalar(source.name)}:"]
    if source.relation != Relation(source.name):
        lines.append(f"    relation: {scalar(relation_text(source.relation))}")
    if source.key:
        lines.append(f"    primary_key: {_key(source.key)}")
    else:
        lines.append(_comment(4, f"Fill in what tells the rows apart: one column, or several; {source.no_key}."))
        lines.append(_comment(4, f"primary_key: {_key(_example(source))}"))
    return [*lines, "    columns:", *map(_column, source.columns)]


def _key(names: Sequence[str]) -> str:
    key = ", ".join(map(scalar, names))
    return key if len(names) == 1 else f"[{key}]"


def _example(source: DraftSource) -> Sequence[str]:
    """What may be the key: columns that can be in one."""
    able = [column.name for column in source.kept if column.type not in NO_KEY_TYPES]
    if source.likely and set(source.likely) <= set(able):
        return source.likely
    return [*able, source.kept[0].name][:1]


def _column(column: DraftColumn) -> str:
    kind = scalar(column.enum) if column.enum else column.type.value
    if column.obstacle:
        return _comment(6, f"{scalar(column.name)}: {kind} is left out: {column.obstacle}")
    line = f"      {scalar(column.name)}: {kind}"
    return f"{line}  # {_plain(column.note)}" if column.note else line


def _comment(indent: int, text: str) -> str:
    return f"{' ' * indent}# {_plain(text)}"


def _plain(text: str) -> str:
    """The text on one line that a comment can hold."""
    return "".join(character if character.isprintable() else "?" for character in text)

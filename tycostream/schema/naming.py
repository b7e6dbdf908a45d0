"""Names that GraphQL can hold for what the database calls otherwise, each taken once."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tycostream.model import Relation
from tycostream.settings.names import COLUMN_TYPES, MAX_NAME_BYTES, clashes


class Names:
    """The enums and sources named so far, in the order of the file. Names are chosen so that none clashes with them."""

    def __init__(self) -> None:
        self.enums: list[str] = []
        self.sources: list[str] = []

    def enum(self, wanted: str) -> str:
        """A name for an enum, near to the wanted one."""
        name = next(
            name
            for name in _near(wanted)
            if name not in COLUMN_TYPES and not any(clashes([*self.enums, name], dict.fromkeys(self.sources, ())))
        )
        self.enums.append(name)
        return name

    def source(self, relation: Relation) -> str:
        """A name for a source: the relation's own, with its schema's before it unless that is the usual one."""
        usual = relation.schema in (None, "public")
        wanted = relation.name if usual else f"{relation.schema}_{relation.name}"
        name = next(
            name
            for name in _near(wanted)
            if name not in self.sources and not any(clashes(self.enums, dict.fromkeys([*self.sources, name], ())))
        )
        self.sources.append(name)
        return name


def _near(wanted: str) -> Iterator[str]:
    """The wanted name as far as GraphQL holds it, then with numbers."""
    base = re.sub(r"[^_0-9A-Za-z]+", "_", wanted)
    base = re.sub(r"^__+", "_", base)
    base = f"_{base}" if re.match(r"[0-9]", base) else base
    if not base.strip("_"):
        base = "unnamed"
    yield base[:MAX_NAME_BYTES]
    number = 2
    while True:
        suffix = f"_{number}"
        yield base[: MAX_NAME_BYTES - len(suffix)] + suffix
        number += 1

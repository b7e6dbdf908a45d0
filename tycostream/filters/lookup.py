"""A row by its key: which texts the key can have in the database, so that most rows are found without asking all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, product

from tycostream.filters.filter import Filter, parse_filter
from tycostream.filters.values import domain_of
from tycostream.model import Column, Key, Row, Source

_MOST_KEYS = 64


@dataclass(frozen=True, slots=True)
class KeyLookup:
    """`filter` admits the row with the key and no other. `keys` are texts that it may have: if `exact`, no others."""

    filter: Filter
    keys: tuple[Key, ...]
    exact: bool

    def candidates(self, rows: Mapping[Key, Row]) -> tuple[Row, ...] | None:
        """The rows among which the wanted one is, if it is there; None: it may be any."""
        for key in self.keys:
            row = rows.get(key)
            if row is not None and self.filter.matches(row):
                return (row,)
        return () if self.exact else None


def key_lookup(source: Source, values: Mapping[str, object]) -> KeyLookup:
    """Looks up the row with these values of its key columns. Raises FilterError for a value that is none of its type.

    Integers, texts, uuids, booleans and enums have one text for each value: a row is found, or not there. Others
    (1.5 and 1.50, a time with a zone) are tried as the client wrote them and as databases mostly print them; where
    there is no such row, every row has to be asked.
    """
    condition = parse_filter(source, {name: {"_eq": values[name]} for name in source.primary_key})
    exact = True
    texts: list[tuple[str, ...]] = []
    for name in source.primary_key:
        column = source.column(name)
        exact = exact and domain_of(column).canonical is not None
        texts.append(_texts(column, values[name]))
    keys = islice(product(*texts), _MOST_KEYS)
    single = len(source.primary_key) == 1
    return KeyLookup(condition, tuple(key[0] if single else key for key in keys), exact)


def _texts(column: Column, given: object) -> tuple[str, ...]:
    domain = domain_of(column)
    value = domain.operand(given)
    if domain.canonical is not None:
        return (domain.canonical(value),)
    return tuple(dict.fromkeys((str(given), *(domain.likely(value) if domain.likely is not None else ()))))

"""What two processes must agree on before one relays a source's rows to the other."""

from __future__ import annotations

import hashlib

from tycostream.model import Source


def shape_of(source: Source) -> str:
    """A text that is the same for two sources if and only if one serves as the other (see `Source.serves_as`)."""
    columns = [
        (column.name, column.type.value, None if column.enum is None else (column.enum.name, column.enum.values))
        for column in (*source.columns, *source.calculated)
    ]
    what = (
        source.name,
        source.relation.schema,
        source.relation.name,
        source.primary_key,
        columns,
        len(source.calculated),
    )
    return hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest()

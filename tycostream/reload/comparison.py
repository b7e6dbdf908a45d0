"""What a new catalog changes of the one that is served.

A source is compared by what it is: its name, relation, key, columns and calculated fields, in their order and with the
values of their enums. One in which none of that differs stays the very object that it is, and with it stay its rows,
clients and triggers. Descriptions are of the GraphQL schema alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from tycostream.model import Catalog, Source


@dataclass(frozen=True, slots=True)
class Changeover:
    """From one catalog to the next. `catalog` is the new one, with the old objects for the sources that stay.

    `changed` and `described` map the old object to the new one: of a source that is another now, and of one that is
    described differently. `empty`: nothing at all is different.
    """

    catalog: Catalog
    added: tuple[Source, ...]
    changed: dict[Source, Source]
    removed: tuple[Source, ...]
    described: dict[Source, Source]
    empty: bool

    @property
    def ended(self) -> tuple[Source, ...]:
        """The sources that are no more, those that others take the place of included."""
        return (*self.removed, *self.changed)

    @property
    def started(self) -> tuple[Source, ...]:
        """The sources that were not there before, those that take the place of others included."""
        return (*self.changed.values(), *self.added)

    def describe(self) -> None:
        """Describe the sources that stay as the new catalog does."""
        for old, new in self.described.items():
            old.describe_as(new)

    def __str__(self) -> str:
        parts = {
            "added": self.added,
            "changed": self.changed,
            "removed": self.removed,
            "described differently": self.described,
        }
        told = [f"{word} {', '.join(one.name for one in sources)}" for word, sources in parts.items() if sources]
        return "; ".join(told) or ("nothing is different" if self.empty else "no source is different")


def compare(old: Catalog, new: Catalog) -> Changeover:
    """What serving the new catalog in the place of the old one means."""
    sources: dict[str, Source] = {}
    changed: dict[Source, Source] = {}
    described: dict[Source, Source] = {}
    for name, after in new.sources.items():
        before = old.sources.get(name)
        stays = before is not None and before.serves_as(after)
        sources[name] = before if stays and before is not None else after
        if before is not None and not stays:
            changed[before] = after
        elif before is not None and not before.is_described_as(after):
            described[before] = after
    added = tuple(source for name, source in new.sources.items() if name not in old.sources)
    removed = tuple(source for name, source in old.sources.items() if name not in new.sources)
    same_order = list(old.sources) == list(new.sources) and list(old.enums.items()) == list(new.enums.items())
    return Changeover(
        catalog=Catalog(sources, new.enums),
        added=added,
        changed=changed,
        removed=removed,
        described=described,
        empty=same_order and not (added or changed or removed or described),
    )

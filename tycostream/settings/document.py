"""A YAML document as plain data, every scalar as text, that knows at which line and column each part stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tycostream.settings.problems import Problem, SettingsError, quoted

Trail = tuple[str | int, ...]
"""Where a part stands within the document: keys of mappings and positions in lists, from the top."""

Mark = tuple[int, int]
"""Line and column, counted from 1."""

MAX_DEPTH = 10
MAX_PARTS = 250_000


@dataclass(frozen=True, slots=True)
class Document:
    """`data` is made of dict, list, str, and None where nothing is written; `marks` tells where keys and items are."""

    name: str
    data: object
    marks: dict[Trail, Mark]

    def problem(self, trail: Trail, message: str) -> Problem:
        """A problem with the part at this trail; where it is missing, at the place of the nearest part around it."""
        marked = trail
        while marked and marked not in self.marks:
            marked = marked[:-1]
        line, column = self.marks.get(marked, (1, 1))
        return Problem(f"{self.name}:{line}:{column}" + (f" {dotted(trail)}" if trail else ""), message)

    def line(self, trail: Trail) -> int:
        """The line of the part at this trail."""
        return self.marks[trail][0]

    def names(self, *trail: str) -> tuple[str, ...]:
        """The keys of the mapping at this trail; none where there is no mapping."""
        part = self.data
        for step in trail:
            part = part.get(step) if isinstance(part, dict) else None
        return tuple(part) if isinstance(part, dict) else ()


def dotted(trail: Trail) -> str:
    """A trail as people write it: `sources.trades.primary_key[1]`."""
    text = ""
    for step in trail:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if re.fullmatch(r"[\w-]{1,63}", step) else quoted(step))
    return text


def parse_document(name: str, text: str) -> tuple[Document, list[Problem]]:
    """The document in this text, and what it says twice or in a way that can't be read.

    Raises SettingsError where nothing can be made of the text. `name` is the file's, for the problems.
    """
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        raise _broken(
            name, line, column, f"the character U+{ord(text[error.position]):04X} can't be in a text file"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if re.search("could not find expected ':'|unexpected end of stream", error.problem or ""):
            mark = error.context_mark or mark  # the beginning of what is not complete, not the end of the search
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _broken(name, line, column, _sentence(error)) from None
    except (yaml.YAMLError, ValueError) as error:
        raise _broken(name, 1, 1, f"is no valid YAML: {quoted(str(error))}") from None
    except RecursionError:
        raise _broken(name, 1, 1, f"is nested more than {MAX_DEPTH} levels deep") from None
    builder = _Builder(name)
    data = None if root is None else builder.build(root, ())
    return Document(name, data, builder.marks), builder.problems


def _broken(name: str, line: int, column: int, message: str) -> SettingsError:
    return SettingsError([Problem(f"{name}:{line}:{column}", message)])


def _sentence(error: yaml.MarkedYAMLError) -> str:
    problem, context = error.problem or "", error.context or ""
    if "mapping values are not allowed" in problem:
        return "a ':' can't stand here; check the indentation, or put quotes around text that contains ': '"
    if "'\\t'" in problem:
        return "a tab can't indent YAML, expected spaces"
    if "cannot start any token" in problem:
        return (
            f"{problem.removesuffix(' that cannot start any token')}, which can't begin a value; put quotes around it"
        )
    if "end of stream" in problem and "quoted scalar" in context:
        return "this quote is never closed"
    if "expected <block end>" in problem:
        return "this doesn't fit the lines above; check the indentation"
    if "could not find expected ':'" in problem:
        return "expected 'name: value', but there is no ':'"
    if "expected a single document" in context:
        return "a second document begins here; a schema file holds one"
    return f"is no valid YAML: {problem}" + (f" ({context})" if context else "")


class _Builder:
    """Makes plain data of YAML's nodes and notes the marks and the problems on the way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.marks: dict[Trail, Mark] = {}
        self.problems: list[Problem] = []
        self._parts = 0

    def build(self, node: Any, trail: Trail) -> object:
        self._check_size(node, trail)
        if node.tag not in {"tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map", "!"}:
            self._note(node, trail, f"tags are not supported, found {quoted(node.tag)}")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, trail)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.marks[*trail, index] = _mark(item)
                items.append(self.build(item, (*trail, index)))
            return items
        return node.value if node.value or node.style else None

    def _mapping(self, node: yaml.MappingNode, trail: Trail) -> dict[str, object]:
        built: dict[str, object] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._note(key, trail, "a name must be text, found a list or a mapping")
            elif _is_merge(key):
                continue
            elif key.value in built:
                line, _ = self.marks[*trail, key.value]
                self._note(key, (*trail, key.value), f"{quoted(key.value)} is there twice, first on line {line}")
            else:
                self.marks[*trail, key.value] = _mark(key)
                built[key.value] = self.build(value, (*trail, key.value))
        for key, value in self._merged(node, trail):
            if key.value not in built:
                self.marks[*trail, key.value] = _mark(key)
                built[key.value] = self.build(value, (*trail, key.value))
        return built

    def _merged(self, node: yaml.MappingNode, trail: Trail) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """The entries that `<<` brings in from other mappings."""
        for merge, merged in node.value:
            if not _is_merge(merge):
                continue
            for source in merged.value if isinstance(merged, yaml.SequenceNode) else [merged]:
                if not isinstance(source, yaml.MappingNode):
                    self._note(merge, trail, "<< merges mappings only, expected a mapping or its alias")
                    continue
                for key, value in source.value:
                    self._check_size(key, trail)
                    if isinstance(key, yaml.ScalarNode) and not _is_merge(key):
                        yield key, value
                    else:
                        self._note(
                            merge, trail, "<< can't merge a mapping that itself has << or a name that is no text"
                        )

    def _check_size(self, node: yaml.Node, trail: Trail) -> None:
        self._parts += 1
        if len(trail) > MAX_DEPTH:
            raise _broken(self.name, *_mark(node), f"is nested more than {MAX_DEPTH} levels deep")
        if self._parts > MAX_PARTS:
            raise _broken(self.name, *_mark(node), f"has more than {MAX_PARTS} parts, with all aliases written out")

    def _note(self, node: yaml.Node, trail: Trail, message: str) -> None:
        line, column = _mark(node)
        self.problems.append(Problem(f"{self.name}:{line}:{column}" + (f" {dotted(trail)}" if trail else ""), message))


def _is_merge(key: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.style is None


def _mark(node: yaml.Node) -> Mark:
    return node.start_mark.line + 1, node.start_mark.column + 1

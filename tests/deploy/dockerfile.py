"""Reads Dockerfiles and .dockerignore, as far as this project's go.

The format: Docker's "Dockerfile reference" (instructions, shell and exec form, ARG before FROM, `.dockerignore`). What is
not understood raises ValueError, so that no test passes over it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

INSTRUCTIONS = {
    "ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "LABEL", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT",
}  # fmt: skip


@dataclass(frozen=True)
class Instruction:
    """One instruction: its flags (`--mount=...`) apart from what follows them."""

    name: str
    flags: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """The exec form. Raises ValueError for the shell form, which would put a shell between the engine and the process."""
        try:
            words = json.loads(self.text)
        except json.JSONDecodeError:
            raise ValueError(f"{self.name} is in the shell form: {self.text}") from None
        assert all(isinstance(word, str) for word in words)
        return list(words)


@dataclass
class Stage:
    """What begins with a FROM."""

    base: str
    name: str | None
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        """The instructions of a name."""
        return [one for one in self.instructions if one.name == name]

    def one(self, name: str) -> Instruction:
        """The only instruction of a name."""
        (found,) = self.all(name)
        return found

    @property
    def arguments(self) -> dict[str, str]:
        """The build arguments, with their defaults."""
        return dict(pair for one in self.all("ARG") for pair in _pairs(one.text))

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        return dict(pair for one in self.all("ENV") for pair in _pairs(one.text))


def _pairs(text: str) -> list[tuple[str, str]]:
    found = re.findall(r"""([\w.]+)=("[^"]*"|\S*)""", text)
    assert found, text
    return [(name, value.strip('"')) for name, value in found]


def instructions(text: str) -> list[Instruction]:
    """All instructions, in their order."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, rest = line.partition(" ")
        if name not in INSTRUCTIONS:
            raise ValueError(f"unknown instruction: {line}")
        if name == "HEALTHCHECK":
            rest, _, command = rest.partition("CMD ")
            rest += command
        flags = {}
        while match := re.match(r"\s*--([a-z-]+)=(\S+)\s+", rest):
            if name in ("COPY", "RUN", "HEALTHCHECK"):
                flags[match[1]] = match[2]
            rest = rest[match.end() :]
        found.append(Instruction(name, flags, rest.strip()))
    return found


def stages(text: str) -> list[Stage]:
    """The stages; build arguments that stand before the first FROM are put into the names of the bases."""
    before: dict[str, str] = {}
    found: list[Stage] = []
    for one in instructions(text):
        if one.name == "FROM":
            match = re.fullmatch(r"(\S+)(?: AS (\w+))?", one.text)
            assert match, one.text
            found.append(Stage(match[1].replace("${PYTHON_IMAGE}", before["PYTHON_IMAGE"]), match[2]))
        elif found:
            found[-1].instructions.append(one)
        else:
            assert one.name == "ARG", one
            before |= dict(_pairs(one.text))
    return found


def context(folder: Path, ignore: str) -> list[str]:
    """The files of a folder that reach the build: the last line that matches a file, or a folder around it, decides."""
    rules = [line for line in map(str.strip, ignore.splitlines()) if line and not line.startswith("#")]
    assert rules[0] == "*", "what is not let in by name stays out"
    let_in = {rule.removeprefix("!").split("/")[0] for rule in rules if rule.startswith("!")}
    roots = [folder / name for name in let_in]
    paths = {path for root in roots for path in (root, *root.rglob("*")) if path.is_file()}
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    return [name for name in names if not _ignored(name, rules)]


def _ignored(name: str, rules: list[str]) -> bool:
    parents = [name, *(str(parent) for parent in PurePosixPath(name).parents if str(parent) != ".")]
    ignored = False
    for rule in rules:
        pattern = rule.removeprefix("!").strip("/")
        if any(_matches(parent, pattern) for parent in parents):
            ignored = not rule.startswith("!")
    return ignored


def _matches(name: str, pattern: str) -> bool:
    """One path against one pattern: `*` stays within a part of the path, `**/` is any number of folders."""
    parts, wanted = name.split("/"), pattern.split("/")
    if wanted[0] == "**":
        return any(_matches("/".join(parts[at:]), "/".join(wanted[1:])) for at in range(len(parts)))
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))

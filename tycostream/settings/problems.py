"""What is wrong with a configuration: where, what was found, what would be valid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `place` is a variable's name, or a file with line, column and path inside the document."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class SettingsError(Exception):
    """The configuration can't be used. `problems` holds every mistake that was found; the text has a line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def quoted(text: str) -> str:
    """The text in quotes, on one line, without unprintable characters, and cut where it is long."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def did_you_mean(word: str, choices: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """`; did you mean X?` where one of the choices (in any case) or synonyms (in lower case) is near, else nothing."""
    by_folded = {choice.lower(): choice for choice in choices}
    folded = word.lower()[:64]
    if folded in by_folded:
        return f"; did you mean {by_folded[folded]}?"
    if synonyms and folded in synonyms:
        return f"; did you mean {synonyms[folded]}?"
    near = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.65)
    return f"; did you mean {by_folded[near[0]]}?" if near else ""

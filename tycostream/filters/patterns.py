"""Text patterns as functions of texts: LIKE by searching, SIMILAR TO and POSIX regular expressions by RE2.

All take time proportional to the text. LIKE and SIMILAR TO: PostgreSQL documentation, "Pattern Matching".
"""

from __future__ import annotations

import string
from collections.abc import Callable

import re2

from tycostream.filters.posix import literal, translated

Matcher = Callable[[str], bool]

MOST_INSTRUCTIONS = 2_000
"""Size of a compiled pattern; in the worst case RE2 looks at each of them for each byte of a text."""

_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def like(pattern: str, *, fold: bool) -> Matcher:
    """LIKE, or ILIKE where case is folded (A to Z alone, as under COLLATE "C"). Raises ValueError."""
    letters = _like_letters(pattern)
    if any(letter == "_" and special for letter, special in letters):
        signs = {"%": ".*", "_": "."}
        body = "".join(signs[letter] if special else literal(letter, fold) for letter, special in letters)
        return _compile(rf"\A(?:{body})\z")
    pieces = [""]
    for letter, special in letters:
        if special:
            pieces.append("")
        else:
            pieces[-1] += letter
    if not fold:
        return _pieces_in_order(pieces)
    in_order = _pieces_in_order([piece.translate(_FOLDED) for piece in pieces])
    return lambda text: in_order(text.lower() if text.isascii() else text.translate(_FOLDED))


def _like_letters(pattern: str) -> list[tuple[str, bool]]:
    """The pattern's characters; True for % and _ where they are not escaped."""
    found = []
    letters = iter(pattern)
    for letter in letters:
        if letter != "\\":
            found.append((letter, letter in "%_"))
        elif (escaped := next(letters, None)) is not None:
            found.append((escaped, False))
        else:
            raise ValueError("a LIKE pattern must not end with a backslash: write \\\\ for one")
    return found


def _pieces_in_order(pieces: list[str]) -> Matcher:
    """Whether a text is these pieces, with anything between each two."""
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return first.__eq__
    middle = [piece for piece in pieces[1:-1] if piece]
    fixed = len(first) + len(last)

    def matches(text: str) -> bool:
        if len(text) < fixed or not text.startswith(first) or not text.endswith(last):
            return False
        position, end = len(first), len(text) - len(last)
        for piece in middle:
            position = text.find(piece, position, end)
            if position < 0:
                return False
            position += len(piece)
        return True

    return matches


def similar(pattern: str) -> Matcher:
    """SIMILAR TO, made a regular expression as PostgreSQL does (regexp.c, similar_escape). Raises ValueError."""
    parts = []
    escaped = False
    depth = 0  # brackets that are open
    start = 0  # within brackets: 1 at the start, 2 after a caret there, then more
    for letter in pattern:
        if escaped:
            if letter == '"' and not depth:
                raise ValueError('the separators \\" of SIMILAR TO are not supported')
            parts.append("\\" + letter)
            escaped = False
            start = 3
        elif letter == "\\":
            escaped = True
        elif depth:
            parts.append(letter)
            depth += (letter == "[") - (letter == "]" and start > 2)
            start = start + 1 if letter == "^" else 3
        else:
            parts.append({"%": ".*", "_": ".", "(": "(?:", ".": "\\.", "^": "\\^", "$": "\\$"}.get(letter, letter))
            depth = start = int(letter == "[")
    return regex(f"^(?:{''.join(parts)})$", fold=False)


def regex(pattern: str, *, fold: bool) -> Matcher:
    """A POSIX regular expression that matches some part of the text. Raises ValueError."""
    return _compile(translated(pattern, fold=fold))


def _compile(expression: str) -> Matcher:
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    options.never_capture = True
    try:
        compiled = re2.compile(expression, options)
    except re2.error as error:
        told = error.args[0] if error.args else error
        text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
        raise ValueError(f"not a valid regular expression: {text}") from None
    if compiled.programsize > MOST_INSTRUCTIONS:
        raise ValueError("the pattern is too large: it has too many characters or repetitions")
    search = compiled.search

    def matches(text: str) -> bool:
        # As bytes: three times faster, for no place in the text is asked for
        return search(text.encode("utf-8", "surrogatepass")) is not None

    return matches

"""Translates PostgreSQL's regular expressions (documentation, "Regular Expression Details") into RE2's.

Where RE2 means the same; what it lacks is refused: lookaround, back-references, \\m and \\M, equivalence classes. So is
\\Y, which RE2 also finds amid the bytes of one character. As under COLLATE "C", classes such as \\w are ASCII's, and
ignoring case concerns A to Z alone.
"""

from __future__ import annotations

MOST_CHARACTERS = 10_000

_CLASSES = frozenset({
    "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit", "word",
})  # fmt: skip
_SHORTHANDS = {
    "d": "[:digit:]", "w": "[:word:]", "s": "[:space:]", "D": "[:^digit:]", "W": "[:^word:]", "S": "[:^space:]",
}  # fmt: skip
_CONTROLS = {"a": 7, "b": 8, "e": 27, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "B": 92}
_CONSTRAINTS = {"A": r"\A", "Z": r"\z", "y": r"\b"}

_NEVER = r"\x{0}"
"""A character that no text holds. RE2 takes a class of one letter's two cases for that letter with its case folded as
Unicode folds it, so that [kK] may match the Kelvin sign; not so a class of three."""


def translated(pattern: str, *, fold: bool) -> str:
    """RE2's expression that matches what PostgreSQL's ~ matches, or ~* where case is folded. Raises ValueError."""
    return _Translator(pattern, fold).translate()


def literal(letter: str, fold: bool) -> str:
    """RE2's expression for one character."""
    if fold and letter.isascii() and letter.isalpha():
        return f"[{letter.lower()}{letter.upper()}{_NEVER}]"
    if letter.isascii() and not letter.isalnum():
        return f"\\x{{{ord(letter):x}}}"
    return letter


class _Translator:
    """Reads an advanced regular expression of PostgreSQL and writes RE2's."""

    def __init__(self, pattern: str, fold: bool) -> None:
        if len(pattern) > MOST_CHARACTERS:
            raise ValueError(f"a pattern may have {MOST_CHARACTERS} characters")
        self._text = pattern
        self._at = 0
        self._fold = fold
        self._parts: list[str] = []
        self._repeatable = False

    def translate(self) -> str:
        self._options()
        while self._at < len(self._text):
            self._next()
        return "".join(self._parts)

    def _options(self) -> None:
        if self._text.startswith("***"):
            raise ValueError("the prefix *** is not supported")
        if self._text.startswith("(?") and self._text[2:3].isalpha():
            end = self._text.find(")")
            for option in self._text[2:end]:
                if option not in "ics":
                    raise ValueError(f"the option (?{option}) is not supported")
                self._fold = {"i": True, "c": False}.get(option, self._fold)
            self._at = end + 1

    def _emit(self, part: str, *, repeatable: bool = True) -> None:
        self._parts.append(part)
        self._repeatable = repeatable

    def _next(self) -> None:
        letter = self._text[self._at]
        self._at += 1
        if letter == "\\":
            self._escape()
        elif letter == "[":
            self._emit(self._bracket())
        elif letter == "(":
            self._open_group()
        elif letter in "*+?" or (letter == "{" and self._text[self._at : self._at + 1].isdigit()):
            self._quantifier(letter)
        elif letter in ").":
            self._emit(letter)
        elif letter in "|^$":
            self._emit(letter, repeatable=False)
        else:
            self._emit(literal(letter, self._fold))

    def _open_group(self) -> None:
        if self._text.startswith("?", self._at):
            if not self._text.startswith("?:", self._at):
                raise ValueError("lookahead and lookbehind, as in (?=...), are not supported")
            self._at += 2
        self._emit("(?:", repeatable=False)

    def _quantifier(self, letter: str) -> None:
        if not self._repeatable:
            raise ValueError(f"nothing to repeat before {letter}")
        part = letter
        if letter == "{":
            end = self._text.find("}", self._at)
            bounds = self._text[self._at : end].split(",") if end > 0 else []
            if not 1 <= len(bounds) <= 2 or not all(
                bound.isdecimal() and int(bound) <= 255 for bound in bounds if bound
            ):
                raise ValueError("a repetition is {m}, {m,} or {m,n}, up to 255")
            part = "{" + ",".join(bounds) + "}"
            self._at = end + 1
        if self._text.startswith("?", self._at):  # not greedy: makes no difference to whether it matches
            self._at += 1
        # A group, so that RE2 does not take a second quantifier for part of this one
        self._emit(part, repeatable=False)

    def _escape(self) -> None:
        letter = self._text[self._at : self._at + 1]
        if letter in _CONSTRAINTS and letter:
            self._at += 1
            self._emit(_CONSTRAINTS[letter], repeatable=False)
        elif letter in _SHORTHANDS and letter:
            self._at += 1
            self._emit(f"[{_SHORTHANDS[letter]}]")
        elif letter and letter in "mMY":
            raise ValueError(f"the constraint \\{letter} is not supported; \\y matches at either end of a word")
        elif letter and letter in "123456789":
            raise ValueError("back-references, as in \\1, are not supported")
        else:
            self._emit(literal(chr(self._character()), self._fold))

    def _character(self) -> int:
        """The character that an escape stands for; the backslash has been read."""
        if self._at >= len(self._text):
            raise ValueError("a regular expression must not end with a backslash")
        letter = self._text[self._at]
        self._at += 1
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter in "uU":
            return self._hexadecimal(4 if letter == "u" else 8)
        if letter == "x":
            return self._hexadecimal(None)
        if letter == "0":
            raise ValueError("a text can't hold the character NUL")
        if letter == "c" and self._at < len(self._text):
            self._at += 1
            return ord(self._text[self._at - 1]) & 31
        if letter.isalnum():
            raise ValueError(f"the escape \\{letter} is not known")
        return ord(letter)

    def _hexadecimal(self, digits: int | None) -> int:
        start = self._at
        while self._at < len(self._text) and self._text[self._at] in "0123456789abcdefABCDEF":
            self._at += 1
            if self._at - start == digits:
                break
        found = self._text[start : self._at]
        if not found or (digits is not None and len(found) != digits):
            raise ValueError("an escape such as \\u00e9 needs its digits")
        code = int(found, 16)
        if not 0 < code < 0x110000 or 0xD800 <= code < 0xE000:
            raise ValueError(f"there is no character \\u{found}")
        return code

    def _bracket(self) -> str:
        """A bracket expression; its opening bracket has been read."""
        parts = []
        if self._text.startswith("^", self._at):
            self._at += 1
            parts.append("^")
        first = True
        while True:
            letter = self._text[self._at : self._at + 1]
            if not letter:
                raise ValueError("a bracket expression has no end")
            if letter == "]" and not first:
                self._at += 1
                return f"[{''.join(parts)}]" if parts[0] == "^" else f"[{''.join(parts)}{_NEVER}]"
            if letter == "-" and not first and not self._text.startswith("-]", self._at):
                raise ValueError("a - within brackets stands between two characters, or comes first or last")
            first = False
            named = self._named_class()
            parts.append(named if named is not None else self._range())

    def _named_class(self) -> str | None:
        rest = self._text[self._at :]
        if rest.startswith("[:"):
            name, found, _ = rest[2:].partition(":]")
            if not found or name not in _CLASSES:
                raise ValueError(f"the class [:{name[:20]}:] is not supported")
            self._at += len(name) + 4
            # Without regard to case, one case's class is every letter's
            return "[:alpha:]" if self._fold and name in ("lower", "upper") else f"[:{name}:]"
        if rest.startswith(("[.", "[=")):
            raise ValueError("collating elements and equivalence classes, as in [[=a=]], are not supported")
        if rest.startswith("\\") and rest[1:2] and rest[1] in _SHORTHANDS:
            self._at += 2
            return _SHORTHANDS[rest[1]]
        return None

    def _range(self) -> str:
        low = self._member()
        high = low
        if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
            self._at += 1
            if self._text.startswith(("[:", "[.", "[="), self._at):
                raise ValueError("a class is no end of a range")
            high = self._member()
            if high < low:
                raise ValueError(f"the range {chr(low)}-{chr(high)} is the wrong way round")
        ranges = [(low, high)]
        if self._fold:
            for start, end, shift in ((65, 90, 32), (97, 122, -32)):
                if max(low, start) <= min(high, end):
                    ranges.append((max(low, start) + shift, min(high, end) + shift))
        return "".join(f"\\x{{{start:x}}}-\\x{{{end:x}}}" for start, end in ranges)

    def _member(self) -> int:
        letter = self._text[self._at : self._at + 1]
        if not letter:
            raise ValueError("a bracket expression has no end")
        self._at += 1
        return self._character() if letter == "\\" else ord(letter)

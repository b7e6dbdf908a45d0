"""Reading SQL: words, and the statements that a subscriber sends.

Grammar: MaterializeInc/materialize doc/user/content/sql/subscribe.md, fetch.md, declare.md, copy-to.md, show-columns.md. Everything
else is a syntax error (42601) that names what was found.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.materialize import statements as sql
from tests.support.materialize.wire import SqlError

_WORDS = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)|(?P<quoted>"(?:[^"]|"")*")|(?P<string>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?)
    |(?P<word>[^\W\d]\w*)|(?P<sign>::|[^\w\s'"])""",
    re.VERBOSE | re.DOTALL,
)
_RELATIONS = (
    "NAME, R.NAME, R.TYPE FROM MZ_CATALOG.MZ_RELATIONS R JOIN MZ_CATALOG.MZ_SCHEMAS S ON R.SCHEMA_ID = S.ID"
    " JOIN MZ_CATALOG.MZ_DATABASES D ON S.DATABASE_ID = D.ID WHERE R.ID LIKE"
)
"""The one query of the system catalog that is understood, without its first and last words (mz_relations, mz_schemas and
mz_databases in doc/user/content/sql/system-catalog/mz_catalog.md)."""
_DAY_SECONDS = 86_400
_UNITS = {"us": 1e-6, "microsecond": 1e-6, "ms": 1e-3, "millisecond": 1e-3, "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60,
          "minute": 60, "h": 3600, "hour": 3600, "d": _DAY_SECONDS, "day": _DAY_SECONDS}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Word:
    kind: str
    value: str

    @property
    def keyword(self) -> str:
        """Upper-case, where it can be a keyword."""
        return self.value.upper() if self.kind in ("word", "sign") else ""


def interval_seconds(words: str) -> float:
    """`1s`, `100ms`, `1.5 seconds`, `00:00:01`, `2` (seconds), in seconds."""
    if found := re.fullmatch(r"\s*(\d+):(\d+):(\d+(?:\.\d+)?)\s*", words):
        return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
    if found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", words.lower()):
        unit = found[2] or "s"
        for name in (unit, unit.removesuffix("s")):
            if name in _UNITS:
                return float(found[1]) * _UNITS[name]
    raise SqlError("22007", f"invalid input syntax for type interval: {words!r}")


def parse(text: str) -> list[sql.Statement]:
    """The statements of one Query message. Raises SqlError 42601."""
    statements: list[sql.Statement] = []
    words: list[_Word] = []
    for word in [*_split(text), _Word("sign", ";")]:
        if word == _Word("sign", ";"):
            if words:
                statements.append(_Parser(words).statement())
            words = []
        else:
            words.append(word)
    return statements


def _split(text: str) -> list[_Word]:
    words, position = [], 0
    while position < len(text):
        found = _WORDS.match(text, position)
        if found is None:
            raise SqlError("42601", f"unterminated quoted string or comment at {text[position : position + 20]!r}")
        position, kind = found.end(), str(found.lastgroup)
        if kind in ("quoted", "string"):
            quote = found[0][0]
            words.append(_Word(kind, found[0][1:-1].replace(quote * 2, quote)))
        elif kind != "space":
            words.append(_Word(kind, found[0]))
    return words


class _Parser:
    """One statement's words, read from the left."""

    def __init__(self, words: list[_Word]) -> None:
        self._words = words
        self._at = 0

    def _peek(self) -> _Word:
        return self._words[self._at] if self._at < len(self._words) else _Word("end", "end of statement")

    def _next(self) -> _Word:
        word = self._peek()
        self._at += 1
        return word

    def _accept(self, *keywords: str) -> bool:
        ahead = self._words[self._at : self._at + len(keywords)]
        if [word.keyword for word in ahead] != list(keywords):
            return False
        self._at += len(keywords)
        return True

    def _expect(self, *keywords: str) -> None:
        if not self._accept(*keywords):
            self._unexpected(" ".join(keywords))

    def _unexpected(self, wanted: str) -> None:
        raise SqlError("42601", f"Expected {wanted}, found {self._peek().value}")

    def _identifier(self) -> str:
        word = self._peek()
        if word.kind not in ("word", "quoted"):
            self._unexpected("identifier")
        self._at += 1
        return word.value if word.kind == "quoted" else word.value.lower()

    def _identifiers(self) -> tuple[str, ...]:
        names = [self._identifier()]
        while self._accept(","):
            names.append(self._identifier())
        return tuple(names)

    def _name(self) -> sql.Name:
        parts = [self._identifier()]
        while len(parts) < 3 and self._accept("."):
            parts.append(self._identifier())
        return tuple(parts)

    def statement(self) -> sql.Statement:
        """The whole of it."""
        kinds: dict[str, Callable[[], sql.Statement]] = {
            "BEGIN": self._begin, "START": self._begin, "COMMIT": lambda: self._end(commit=True), "END": lambda: self._end(commit=True),
            "ROLLBACK": lambda: self._end(commit=False), "ABORT": lambda: self._end(commit=False), "SET": self._set,
            "RESET": lambda: sql.Set(self._identifier(), None), "SHOW": self._show, "SELECT": self._select, "SUBSCRIBE": self._subscribe,
            "DECLARE": self._declare, "FETCH": self._fetch, "CLOSE": self._close, "COPY": self._copy,
        }  # fmt: skip
        kind = self._peek().keyword
        if kind not in kinds:
            self._unexpected("a statement of a subscriber")
        self._at += 1
        statement = kinds[kind]()
        if self._peek().kind != "end":
            self._unexpected("end of statement")
        return statement

    def _begin(self) -> sql.Begin:
        self._at = len(self._words)  # the isolation level and access mode do not matter here
        return sql.Begin()

    def _end(self, *, commit: bool) -> sql.End:
        if not self._accept("TRANSACTION"):
            self._accept("WORK")
        return sql.End(commit)

    def _set(self) -> sql.Set:
        if not self._accept("SESSION"):
            self._accept("LOCAL")
        if self._accept("TIME", "ZONE"):
            return sql.Set("timezone", self._next().value)
        name = self._identifier()
        if name == "transaction":
            self._at = len(self._words)
            return sql.Set("transaction", "")
        if not self._accept("="):
            self._expect("TO")
        value = self._next().value
        while self._accept(","):
            value += f", {self._next().value}"
        return sql.Set(name, None if value.upper() == "DEFAULT" else value)

    def _show(self) -> sql.Show | sql.ShowColumns:
        if self._accept("COLUMNS"):
            self._expect("FROM")
            return sql.ShowColumns(self._name())
        return sql.Show("timezone" if self._accept("TIME", "ZONE") else self._identifier())

    def _select(self) -> sql.Select | sql.SelectOid | sql.SelectRelations:
        if self._accept("S", "."):
            self._expect(*(word.keyword for word in _split(_RELATIONS)))
            if self._next() != _Word("string", "u%"):
                self._unexpected("the prefix of the users' ids")
            self._expect("AND", "D", ".", "NAME", "=", "CURRENT_DATABASE", "(", ")")
            self._expect("ORDER", "BY", "S", ".", "NAME", ",", "R", ".", "NAME")
            return sql.SelectRelations()
        word = self._next()
        if word.kind == "string":
            self._expect("::", "REGCLASS", "::", "OID")
            return sql.SelectOid(_Parser(_split(word.value))._name())
        if word == _Word("number", "1"):
            return sql.Select("1")
        argument = 0
        self._expect("(")
        if self._peek().kind == "number":
            argument = int(self._next().value)
        self._expect(")")
        if word.value.lower() not in ("mz_version", "mz_version_num", "mz_now", "pg_cancel_backend"):
            raise SqlError("42883", f'function "{word.value}" does not exist')
        return sql.Select(word.value.lower(), argument)

    def _declare(self) -> sql.Declare:
        cursor = self._identifier()
        self._expect("CURSOR")
        if self._accept("WITH", "HOLD"):
            raise SqlError("0A000", "WITH HOLD is not supported")
        self._accept("WITHOUT", "HOLD")
        self._expect("FOR", "SUBSCRIBE")
        return sql.Declare(cursor, self._subscribe())

    def _fetch(self) -> sql.Fetch:
        self._accept("FORWARD")
        count: int | None = 1
        if self._peek().kind == "number":
            count = int(self._next().value)
        elif self._accept("ALL"):
            count = None
        self._accept("FROM")
        cursor, timeout = self._identifier(), None
        if self._accept("WITH"):
            self._expect("(", "TIMEOUT")
            self._accept("=")
            timeout = interval_seconds(self._next().value)
            self._expect(")")
            if timeout > _DAY_SECONDS:
                raise SqlError("XX000", f"timeout out of range: {timeout}s")
        return sql.Fetch(cursor, count, timeout)

    def _close(self) -> sql.Close:
        return sql.Close(None if self._accept("ALL") else self._identifier())

    def _copy(self) -> sql.Copy:
        self._expect("(", "SUBSCRIBE")
        subscribe = self._subscribe()
        self._expect(")", "TO", "STDOUT")
        if self._accept("WITH"):
            self._expect("(", "FORMAT", "TEXT", ")")
        return sql.Copy(subscribe)

    def _subscribe(self) -> sql.Subscribe:
        self._accept("TO")
        columns, is_query = None, self._accept("(")
        if is_query:
            self._expect("SELECT")
            columns = None if self._accept("*") else self._identifiers()
            self._expect("FROM")
        name = self._name()
        if is_query:
            self._expect(")")
        key = self._envelope()
        options = self._options()
        as_of, at_least, up_to = None, False, None
        if self._accept("AS", "OF"):
            at_least = self._accept("AT", "LEAST")
            as_of = self._timestamp()
        if self._accept("UP", "TO"):
            up_to = self._timestamp()
        return sql.Subscribe(
            name, columns, is_query, key, options["SNAPSHOT"], options["PROGRESS"], as_of, at_least, up_to
        )

    def _envelope(self) -> tuple[str, ...] | None:
        if self._accept("WITHIN") or self._accept("ENVELOPE", "DEBEZIUM"):
            # Behind feature flags (src/sql/src/plan/statement/dml.rs); a server without them refuses
            raise SqlError("0A000", "ENVELOPE DEBEZIUM and WITHIN TIMESTAMP ORDER BY are not available")
        if not self._accept("ENVELOPE"):
            return None
        self._expect("UPSERT", "(", "KEY", "(")
        key = self._identifiers()
        self._expect(")", ")")
        return key

    def _options(self) -> dict[str, bool]:
        options = {"SNAPSHOT": True, "PROGRESS": False}
        if self._accept("WITH"):
            self._expect("(")
            while True:
                option = self._next().keyword
                if option not in options:
                    self._at -= 1
                    self._unexpected("SNAPSHOT or PROGRESS")
                self._accept("=")
                options[option] = self._accept("TRUE") or not self._accept("FALSE")
                if not self._accept(","):
                    break
            self._expect(")")
        return options

    def _timestamp(self) -> int:
        """A bare or a quoted number of milliseconds (issues #18910, #19092 of MaterializeInc/materialize use both)."""
        word = self._peek()
        if word.kind not in ("number", "string") or not re.fullmatch(r"\d+", word.value):
            self._unexpected("a timestamp in milliseconds")
        self._at += 1
        return int(word.value)

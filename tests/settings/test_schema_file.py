"""The schema file: what a good one means, and the exact words about bad ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tycostream.model import ColumnType, Relation
from tycostream.settings import SettingsError, load_schema
from tycostream.settings.schema_file import parse_relation, parse_schema

EXAMPLES = Path(__file__).parents[2] / "config"
TYPES = "Integer, Float, BigInt, Numeric, String, UUID, Timestamp, Date, Time, Boolean, JSON, Array, or an enum"
COLUMN = "a column type, or a mapping with type and description"


def problems(text: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        parse_schema("schema.yaml", text)
    return str(raised.value).splitlines()


def test_the_example_is_valid():
    catalog = load_schema(EXAMPLES / "schema.yaml")
    assert list(catalog.sources) == ["instruments", "trades", "positions"]
    positions = catalog.sources["positions"]
    assert positions.relation == Relation("current_positions", "risk")
    assert positions.primary_key == ("account", "instrument_id")
    assert positions.column("risk").enum is catalog.enums["risk_level"]
    assert catalog.enums["risk_level"].values == ("low", "medium", "high", "critical")
    assert catalog.enums["risk_level"].description == "How far a position is from its limit."
    assert catalog.sources["trades"].column("price").description == "In the currency of the instrument."


def test_every_type_by_its_name():
    types = [kind for kind in ColumnType if kind is not ColumnType.ENUM]
    columns = "".join(f"      c{number}: {kind.value}\n" for number, kind in enumerate(types))
    source = parse_schema("s", f"sources:\n  all:\n    primary_key: c0\n    columns:\n{columns}").sources["all"]
    assert [column.type for column in source.columns] == types
    assert (source.relation, source.primary_key) == (Relation("all"), ("c0",))


def test_calculated_fields_are_enums_that_stand_behind_the_columns():
    text = """
enums: {risk_level: [low, high], side: [buy, sell]}
sources:
  positions:
    primary_key: id
    columns: {id: Integer, value: Float}
    calculated_fields: {risk: risk_level, tendency: {type: side, description: Which way it goes.}}
  plain: {primary_key: id, columns: {id: Integer}, calculated_fields: {}}
"""
    catalog = parse_schema("s", text)
    positions, plain = catalog.sources["positions"], catalog.sources["plain"]
    assert [column.name for column in positions.columns] == ["id", "value"]
    assert [(column.name, column.enum) for column in positions.calculated] == [
        ("risk", catalog.enums["risk_level"]), ("tendency", catalog.enums["side"]),
    ]  # fmt: skip
    assert positions.calculated[1].description == "Which way it goes."
    assert positions.extended.columns == positions.columns + positions.calculated
    assert positions.extended.key_of(("1", "2.5", "low", None)) == "1"
    assert plain.extended is plain


def test_words_that_yaml_takes_for_other_things_are_names():
    text = "enums: {null_: [yes, no, on, off]}\nsources: {on: {primary_key: yes, columns: {yes: Integer, no: null_}}}"
    catalog = parse_schema("s", text)
    assert catalog.enums["null_"].values == ("yes", "no", "on", "off")
    assert [column.name for column in catalog.sources["on"].columns] == ["yes", "no"]


def test_anchors_aliases_and_merges():
    text = """
sources:
  a: {primary_key: id, columns: &columns {id: Integer, at: Timestamp}}
  b: {primary_key: id, columns: *columns}
  c: {primary_key: id, columns: {<<: *columns, at: Date, x: Float}}
  d: {primary_key: id, columns: {y: Float, <<: [{id: UUID}, *columns]}}
"""
    found = {
        source.name: {column.name: column.type.value for column in source.columns}
        for source in parse_schema("s", text).sources.values()
    }
    assert found["b"] == {"id": "Integer", "at": "Timestamp"}
    assert found["c"] == {"id": "Integer", "at": "Date", "x": "Float"}
    assert found["d"] == {"id": "UUID", "at": "Timestamp", "y": "Float"}


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("trades", Relation("trades")),
        ("Public.Trades", Relation("Trades", "Public")),
        ('"a.b"."c"', Relation("c", "a.b")),
        ('"a""b"', Relation('a"b')),
        ('risk."my view"', Relation("my view", "risk")),
    ],
)
def test_relations(text, relation):
    assert parse_relation(text) == relation


@pytest.mark.parametrize(
    "text", ["", "a..b", ".a", "a.", '"a', 'a"b"', "a b", '""', "1a", "a.b.c", '"a\0"', "a\n", 'a."']
)
def test_what_is_no_relation(text):
    with pytest.raises(ValueError, match=r"^found .*, expected a name"):
        parse_relation(text)


def mistakes() -> Iterator[tuple[str, list[str]]]:
    """The cases of mistakes.txt, in which \\t and \\a stand for those characters."""
    cases = Path(__file__).with_name("mistakes.txt").read_text().split("\n====\n")
    for case in cases[1:-1] if not cases[-1] else cases[1:]:
        text, _, expected = case.partition("-->\n")
        yield text.replace("\\t", "\t").replace("\\a", "\a"), expected.splitlines()


@pytest.mark.parametrize(("text", "expected"), mistakes())
def test_mistakes_are_told_with_their_place(text, expected):
    assert problems(text) == [f"schema.yaml:{line}" for line in expected]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Integr", "Integer"), ("int", "Integer"), ("integer", "Integer"), ("bigint", "BigInt"), ("text", "String"),
        ("varchar(20)", "String"), ("numeric(10,2)", "Numeric"), ("double precision", "Float"), ("bool", "Boolean"),
        ("timestamp with time zone", "Timestamp"), ("jsonb", "JSON"), ("text[]", "Array"), ("sidee", "side"),
        ("geometry", None),
    ],
)  # fmt: skip
def test_a_type_that_is_none_comes_with_a_suggestion(written, meant):
    text = f"sources:\n  trades:\n    primary_key: id\n    columns:\n      id: '{written}'\nenums: {{side: [buy]}}"
    hint = f"; did you mean {meant}?" if meant else ""
    place = "schema.yaml:5:7 sources.trades.columns.id"
    assert problems(text) == [f"{place}: '{written}' is no column type, expected {TYPES} (side){hint}"]


def test_brackets_without_end_are_refused():
    assert problems("[" * 5000) == ["schema.yaml:1:1: is nested more than 10 levels deep"]


def test_aliases_that_multiply_are_refused():
    lines = ["a0: &a0 [" + ", ".join("x" * 10) + "]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    [problem] = problems("\n".join(lines))
    assert problem.endswith(": has more than 250000 parts, with all aliases written out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file, expected the schema file; SCHEMA_PATH tells where it is"),
        (b"a: 1\nb: \xff", "is not UTF-8 text: line 2 has the byte 0xff"),
        (b"#" * (1024 * 1024 + 1), "is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_gives_no_text(content, message, tmp_path):
    file = tmp_path / "schema.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        load_schema(file)
    assert str(raised.value) == f"{file}: {message}"


def test_a_folder_is_no_schema_file(tmp_path):
    with pytest.raises(SettingsError, match="can't be read: Is a directory"):
        load_schema(tmp_path)


def test_files_below_the_working_folder_are_shown_without_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schema.yaml").write_text("sources: {}")
    with pytest.raises(SettingsError, match=r"^schema\.yaml:1:1 sources: "):
        load_schema(tmp_path / "schema.yaml")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    file = tmp_path / "schema.yaml"
    file.write_bytes(b"\xef\xbb\xbfsources:\r\n  a:\r\n    primary_key: id\r\n    columns: {id: Integer}\r\n")
    assert list(load_schema(file).sources) == ["a"]


KEYS = ["enums", "sources", "primary_key", "columns", "calculated_fields", "relation", "type", "values"]
WORDS = st.sampled_from([*KEYS, "id", "Integer", "_schema", "key", "value", "<<"])
DATA = st.recursive(
    WORDS | st.text(max_size=5) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def reads_or_tells(text: str) -> None:
    """Whatever the text, there is a catalog or there are problems, one line each; never another exception."""
    try:
        told = None
        parse_schema("schema.yaml", text)
    except SettingsError as error:
        told = error
    if told:
        assert len(str(told).splitlines()) == len(told.problems) > 0


@settings(deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused(text):
    reads_or_tells(text)


@settings(deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,?<~ \n\t\\"))
def test_any_yaml_like_text_is_read_or_refused(text):
    reads_or_tells(text)


def flow(data: object) -> str:
    """The data in YAML's flow style, every text in quotes but `<<`."""
    match data:
        case None:
            return ""
        case dict():
            return "{" + ", ".join(f"{flow(key)}: {flow(value)}" for key, value in data.items()) + "}"
        case list():
            return "[" + ", ".join(flow(item) or "''" for item in data) + "]"
        case "<<":
            return "<<"
        case _:
            return '"' + "".join(f"\\U{ord(character):08x}" for character in str(data)) + '"'


@settings(deadline=None)
@given(DATA, DATA, DATA)
def test_any_structure_is_read_or_refused(enums, columns, body):
    reads_or_tells(flow(body))
    sources = {"a": {"primary_key": "id", "columns": columns, "relation": body}, "b": body}
    sources["c"] = {"primary_key": "id", "columns": columns, "calculated_fields": body}
    reads_or_tells(flow({"enums": enums, "sources": sources}))

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graphql.examples import SIDE, TRADES, column_texts
from tycostream.graphql.encoding import decoder, encoder
from tycostream.model import Column, ColumnType

COLUMNS = st.sampled_from(TRADES.columns)


def column(type_: ColumnType) -> Column:
    return Column("c", type_, SIDE if type_ is ColumnType.ENUM else None)


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        (ColumnType.INTEGER, "-12", b"-12"),
        (ColumnType.INTEGER, "12.5", b"null"),
        (ColumnType.INTEGER, "007", b"null"),
        (ColumnType.INTEGER, "", b"null"),
        (ColumnType.INTEGER, "true", b"null"),
        (ColumnType.INTEGER, "\u0663", b"null"),
        (ColumnType.INTEGER, "3000000000", b"3000000000"),
        (ColumnType.FLOAT, "1e+16", b"1e+16"),
        (ColumnType.FLOAT, "-0", b"-0"),
        (ColumnType.FLOAT, "0.1000000000000000055", b"0.1000000000000000055"),
        (ColumnType.FLOAT, "NaN", b"null"),
        (ColumnType.FLOAT, "-Infinity", b"null"),
        (ColumnType.FLOAT, '"1"', b"null"),
        (ColumnType.BOOLEAN, "t", b"true"),
        (ColumnType.BOOLEAN, "false", b"false"),
        (ColumnType.BOOLEAN, "yes", b"null"),
        (ColumnType.ENUM, "buy", b'"buy"'),
        (ColumnType.ENUM, "BUY", b"null"),
        (ColumnType.BIGINT, "9007199254740993", b'"9007199254740993"'),
        (ColumnType.NUMERIC, "NaN", b'"NaN"'),
        (ColumnType.STRING, "", b'""'),
        (ColumnType.STRING, 'a"\\\x01\n\u2028é', '"a\\"\\\\\\u0001\\n\u2028é"'.encode()),
        (ColumnType.JSON, '{"a":1}', b'"{\\"a\\":1}"'),
    ],
)
def test_a_text_becomes_json(type_: ColumnType, text: str, expected: bytes) -> None:
    assert encoder(column(type_))(text) == expected


@pytest.mark.parametrize("type_", ColumnType)
def test_null_is_null(type_: ColumnType) -> None:
    assert encoder(column(type_))(None) == b"null"
    assert decoder(column(type_))(None) is None


@given(st.data())
def test_bytes_and_values_agree_on_any_text(data: st.DataObject) -> None:
    column = data.draw(COLUMNS)
    text = data.draw(column_texts(column))
    value = json.loads(encoder(column)(text))
    assert value == decoder(column)(text)
    assert type(value) in {type(decoder(column)(text)), int, float}

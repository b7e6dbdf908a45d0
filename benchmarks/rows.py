"""The rows that most measurements are made with, and how GraphQL shows them."""

from __future__ import annotations

import time
from typing import Any

from tycostream.model import Row

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns:
      {id: Integer, account: BigInt, symbol: String, side: String, price: Float, quantity: Integer, made_at: BigInt,
       note: String}
"""
QUERY = "subscription { trades { operation data { id account symbol side price quantity made_at note } fields } }"


def row(number: int, price: float = 1.0, made_at: int = 0) -> Row:
    """A row of 8 mixed columns."""
    return (
        str(number),
        str(number * 7919),
        f"SYM{number % 500}",
        "buy",
        repr(price),
        str(number % 1000),
        str(made_at),
        "a note",
    )


def made_now(number: int, price: float) -> Row:
    """A row that says when it was made, so that whoever reads it knows how long it took."""
    return row(number, price, time.monotonic_ns())


def shown(values: Row) -> dict[str, Any]:
    """The row as QUERY shows it."""
    number, account, symbol, side, price, quantity, made_at, note = values
    assert number is not None
    assert price is not None
    assert quantity is not None
    return {
        "id": int(number),
        "account": account,
        "symbol": symbol,
        "side": side,
        "price": float(price),
        "quantity": int(quantity),
        "made_at": made_at,
        "note": note,
    }


def update_frame(values: Row) -> bytes:
    """An update of price and time as the service sends it for QUERY: a frame's header and its payload."""
    text = UPDATE % (values[0], values[4], values[6])
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text.encode()


UPDATE = (
    '{"id":"00000","type":"next","payload":{"data":{"trades":{"operation":"UPDATE","data":{"id":%s,"account":null,'
    '"symbol":null,"side":null,"price":%s,"quantity":null,"made_at":"%s","note":null},"fields":["price","made_at"]}}}}'
)

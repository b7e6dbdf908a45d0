"""JSON, frames, close codes: the parts without a socket."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from tycostream.web.close_codes import CloseCode, fit_reason
from tycostream.web.envelope import USUAL, TextFrames, text_frame
from tycostream.web.frames import text_frame_header
from tycostream.web.json_text import MAX_NESTING, InvalidJsonError, dump, parse
from tycostream.web.page import Page

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip


@given(_values)
def test_json_is_read_as_python_reads_it_and_written_so(value: object) -> None:
    text = json.dumps(value)
    assert parse(text) == json.loads(text)
    assert json.loads(dump(parse(text))) == json.loads(text)


@pytest.mark.parametrize("shape", [("[", "]"), ('{"a":', "}")])
def test_nesting_is_bounded(shape: tuple[str, str]) -> None:
    opening, closing = shape
    deepest = parse(opening * MAX_NESTING + "1" + closing * MAX_NESTING)
    assert json.loads(dump({"payload": deepest})) == {"payload": deepest}
    with pytest.raises(InvalidJsonError, match="nested deeper"):
        parse(opening * (MAX_NESTING + 1) + "1" + closing * (MAX_NESTING + 1))


def test_many_brackets_beside_each_other_are_no_nesting() -> None:
    assert len(parse(json.dumps([{}] * 1000))) == 1000
    assert parse(json.dumps("[" * 1000)) == "[" * 1000


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_a_text_frame_is_what_the_library_writes(length: int) -> None:
    payload = b"x" * length
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert text_frame(payload) == text_frame_header(length) + payload


def test_results_are_wrapped_into_one_frame_each() -> None:
    frames = TextFrames(b'{"id":"1","type":"next","payload":')
    prefix = frames.prefix
    around = len(prefix) + 1
    lengths = (10, 200, *(USUAL - around + beyond for beyond in (-1, 0, 1)), 70_000)
    results = [b"{%s}" % (b" " * (length - 2)) for length in lengths]
    whole = b"".join(text_frame(prefix + result + b"}") for result in results)
    assert prefix.join(frames.cut(results)) == whole
    assert frames.wrap(results) == whole


@pytest.mark.parametrize("code", CloseCode)
def test_every_reason_fits_a_close_frame(code: CloseCode) -> None:
    assert 0 < len(code.reason.encode()) <= 123
    assert fit_reason(code.reason) == code.reason


@given(st.text())
def test_a_long_reason_is_cut_between_characters(text: str) -> None:
    fitted = fit_reason(text)
    assert len(fitted.encode()) <= 123
    assert text.encode("utf-8", "replace").decode().startswith(fitted)
    assert len(fitted.encode()) > 119 or fitted == text.encode("utf-8", "replace").decode()


def test_a_page_allows_what_it_carries_and_nothing_else() -> None:
    page = Page("<style>a{}</style><script type=module>go()</script>")
    rules = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    assert rules["default-src"] == "'none'"
    # printf 'go()' | openssl dgst -sha256 -binary | base64
    assert rules["script-src"] == "'sha256-5KYv+PUboo5h+0+YAtGRPbwv5d/QxzHslP4YGnUaxRw='"
    assert "script-src" not in Page("<p>text</p>").policy

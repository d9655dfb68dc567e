"""The parser gate: what it keeps to the digit, and what it refuses."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.errors import FhirError, Malformed


@pytest.mark.parametrize(
    "written",
    ["1.10", "0.00", "120", "36.60", "1.0E+2", "1.0e2", "-0", "-0.50", "0.1000000000000000055511151231257827",
     "12345678901234567890.123", "123456789012345678901234567890"],
)  # fmt: skip
def test_a_number_comes_back_as_it_was_written(written: str) -> None:
    body = f'{{"value":{written}}}'.encode()
    assert gate.write(gate.parse(body)) == body
    assert gate.write(gate.load(gate.write(gate.parse(body)))) == body or written in ("-0",)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"  \n ", id="white space"),
        pytest.param(b"hello", id="a word"),
        pytest.param(b'{"a":1', id="cut short"),
        pytest.param(b'{"a":1}x', id="something behind the end"),
        pytest.param(b'{"a":1,}', id="a trailing comma"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b'{"a":NaN}', id="NaN"),
        pytest.param(b'{"a":-Infinity}', id="minus infinity"),
        pytest.param(b'{"a":01}', id="a leading zero"),
        pytest.param(b'{"a":1.}', id="a point without digits"),
        pytest.param(b'{"a":1e99999}', id="an exponent out of range"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", id="a number of 5,000 digits"),
        pytest.param(b'{"a":1,"a":1}', id="a key twice"),
        pytest.param(b'{"a" :1,"a":1}', id="a key twice, with white space before a colon"),
        pytest.param(b'{"b":"x\\":","a":1,"a":1}', id="a key twice, beside a text that looks like a key"),
        pytest.param(b'{"b":"\\u003a","a":{"c":1},"a":{"c":1}}', id="a key twice, beside an escaped colon"),
        pytest.param(b'{"\\u0061":1,"a":1}', id="a key twice, once escaped"),
        pytest.param(b'{"a":"\xff"}', id="bytes that are no UTF-8"),
        pytest.param(b"\xef\xbb\xbf{}", id="a byte order mark"),
        pytest.param(b'{"a":"x\\u0000y"}', id="an escaped NUL"),
        pytest.param(b'{"a":"x\x00y"}', id="a bare NUL"),
        pytest.param(b'{"a":"\\ud800"}', id="half of a surrogate pair"),
        pytest.param(b'{"\\ud800":1}', id="half of a surrogate pair in a key"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="100,000 lists inside each other"),
        pytest.param(b'{"a":' * 65 + b"1" + b"}" * 65, id="65 objects inside each other"),
    ],
)
def test_what_is_no_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        gate.parse(body)


def test_64_levels_are_fine() -> None:
    assert gate.parse(b'{"a":' * 64 + b"1" + b"}" * 64)


def test_texts_keep_every_character() -> None:
    text = 'Ωé\u2028\U0001f600 <&> "\\'
    assert gate.load(gate.write(gate.parse(json.dumps({"a": text}).encode()))) == {"a": text}


def _plain() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=20)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=20,
    )


def _storable(value: Any) -> bool:
    text = json.dumps(value)
    return "\\u0000" not in text


@given(_plain().filter(_storable), st.booleans(), st.sampled_from([None, 1]))
def test_the_gate_reads_what_the_standard_library_writes(value: Any, ascii: bool, indent: int | None) -> None:
    written = json.dumps(value, ensure_ascii=ascii, indent=indent).encode("utf-8", "surrogatepass")
    try:
        assert gate.parse(written) == value
    except Malformed:
        with pytest.raises(UnicodeEncodeError):
            json.dumps(value, ensure_ascii=False).encode()


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(body: bytes) -> None:
    try:
        gate.parse(body)
    except FhirError as error:
        assert error.status == 400


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_decimals_are_decimals(number: Decimal) -> None:
    assert gate.parse(f"[{number:f}]".encode()) == [number]


@pytest.mark.parametrize("depth", [60, 80], ids=["within the bound", "beyond it"])
@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        pytest.param(b"[", b"]", id="lists"),
        pytest.param(b'{"a":', b"}", id="objects"),
        pytest.param(b'["}",', b',"{"]', id="brackets in strings that look like the others' pairs"),
        pytest.param(b'["\\"}",', b',"{\\\\"]', id="the same beside escaped quotes and backslashes"),
        pytest.param(b'["",', b',""]', id="empty strings"),
    ],
)
def test_depth_is_that_of_the_json_and_not_of_its_strings(depth: int, opened: bytes, closed: bytes) -> None:
    body = opened * depth + b"1" + closed * depth
    if depth < gate.MAX_DEPTH:
        assert gate.write(gate.parse(body)) == body
    else:
        with pytest.raises(Malformed, match="deeper than 64"):
            gate.parse(body)

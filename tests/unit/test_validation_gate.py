"""The gate's fast ways give what its slow way gives, on any JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.errors import Malformed

_KEYS = st.sampled_from(["a", "b", 'c"', "d:", "é", "e\\", "-0", '":', " "])
_NUMBERS = st.sampled_from(
    ["0", "-0", "1.10", "-0.0", "1e2", "1E-7", "12345678901234567", "123456789012345678901", "9" * 61, "0.0000001"]
)
_TEXTS = st.text(max_size=6).filter(lambda t: t.isprintable()) | st.sampled_from(
    ['"', "\\", '":', "\n", "\u2028", "\x7f"]
)


def _object(pairs: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(key)}{value}" for key, value in pairs) + "}"


_LEAVES = _NUMBERS | _TEXTS.map(json.dumps) | _TEXTS.map(lambda t: json.dumps(t, ensure_ascii=False)) | st.just("null")
_COLONS = st.sampled_from([":", ": ", " :", "\n:\t"])
_JSON = st.recursive(
    _LEAVES,
    lambda below: (
        st.lists(below, max_size=3).map(lambda x: "[" + ", ".join(x) + "]")
        | st.lists(st.tuples(_KEYS, st.tuples(_COLONS, below).map("".join)), max_size=4).map(_object)
    ),
    max_leaves=12,
)


def _read(read: Any, argument: Any) -> Any:
    try:
        value = read(argument)
    except Malformed:
        return Malformed
    return value, gate.write(value)


@given(_JSON)
def test_the_fast_way_reads_and_refuses_what_the_slow_way_does(text: str) -> None:
    body = f"[{text}]".encode()
    assert _read(gate.parse, body) == _read(gate._slowly, body.decode())


@pytest.mark.parametrize(
    ("body", "is_read"),
    [
        pytest.param(b"[" * 64 + b"]" * 64, True, id="64 levels are read"),
        pytest.param(b"[" * 65 + b"]" * 65, False, id="65 levels are refused"),
        pytest.param(b'{"a":1,"a":1}', False, id="the same key twice"),
        pytest.param(b'{"a":1,"a" :1}', False, id="the same key twice, once with a blank behind it"),
        pytest.param(b'{"a":1,"\\u0061":1}', False, id="the same key twice, once escaped"),
        pytest.param(b'{"a":{"b":1,"b":2},"c" :"x"}', False, id="as many keys dropped as blanks behind keys"),
        pytest.param(b'{"a":1,"a":2,"c":"\\":"}', False, id="an escaped quote makes up for a dropped key"),
        pytest.param(b"[" + b"1" * 61 + b"]", False, id="a number of 61 digits"),
        pytest.param(b'["\\u0000"]', False, id="NUL"),
        pytest.param(b'["\\ud800"]', False, id="half of a surrogate pair"),
    ],
)
def test_what_the_gate_must_not_miss(body: bytes, is_read: bool) -> None:
    assert (_read(gate.parse, body) is not Malformed) is is_read


@pytest.mark.parametrize("text", ["-0", "-0.0", "1.10", "1e2", "1E-7", "0.0000001"])
def test_a_number_is_written_as_it_was_read(text: str) -> None:
    assert gate.write(gate.parse(f'{{"value":{text}}}'.encode())) == f'{{"value":{text}}}'.encode()

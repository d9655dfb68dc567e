"""The parser gate: the only way bytes become resources, and resources bytes.

Decimals come back as they were written (`1.10` stays `1.10`). Refused: bytes that are not strict UTF-8,
a byte order mark, NaN and infinities, duplicate keys, NUL, lone surrogates, numbers and nesting beyond
a bound. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from fhir_server.errors import Malformed
from fhir_server.model import Resource

MAX_DEPTH = 64  # objects and lists inside each other
MAX_NUMBER = 60  # characters of a number
MAX_EXPONENT = 1000


class Written(Decimal):
    """A decimal whose text Python would write otherwise (`1.0e2`, `-0`)."""

    __slots__ = ("text",)
    text: str


def number(text: str) -> Decimal:
    """Read a JSON number that is no plain integer, keeping how it is written."""
    if len(text) > MAX_NUMBER:
        raise Malformed("A number is longer than 60 characters.")
    value = Decimal(text)
    adjusted = value.adjusted() if value else 0
    if abs(adjusted) > MAX_EXPONENT:
        raise Malformed("A number is out of range.")
    if str(value) == text:
        return value
    written = Written(text)
    written.text = text
    return written


def _encode_other(value: Any) -> Any:
    if isinstance(value, Written):
        return msgspec.Raw(value.text.encode())
    raise TypeError(type(value).__name__)


_decode: Callable[[bytes], Any] = msgspec.json.Decoder(float_hook=number).decode
_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=_encode_other).encode

_FOLD = bytes.maketrans(b"123456789[]", b"000000000{}")  # all digits alike, all brackets that open, all that close
_UNMARKED = bytes(set(range(256)) - set(b'{}"'))  # all that is no bracket and no quote
_LONG = b"0" * 18
_run = re.compile(rb"0+").match
_ends_number = re.compile(rb"\s*(?:[,}]|\Z)").match
_strings = re.compile(rb'"[^"]*(?:"|\Z)').sub  # one that never ends, too
# Where one of these stands, counting keys by their closing quote would be inexact, or an integer -0 be read as 0.
_spaced_key = re.compile(rb'"[ \t\r\n]+:').search
_escaped_quote = re.compile(rb'\\":').search
# NUL, and halves of surrogate pairs, which a decoder may join or refuse: the slow way says what is wrong. And the
# quote, which written again would look like the end of a key.
_odd_escape = re.compile(rb"\\u(?:0000|0022|[dD][89a-fA-F])").search
_minus_zero = re.compile(rb"-0\s*(?:[,\]}]|\Z)").search


def _has_long_integer(folded: bytes) -> bool:
    """Whether an integer of 18 digits or more may stand there: a decoder would lose some of them."""
    start = folded.find(_LONG)
    while start >= 0:
        run = _run(folded, start)
        assert run is not None, "it was found there"
        before = folded[max(0, start - 2) : start].removesuffix(b"-")[-1:]
        if before in b":,{ \t\r\n" and _ends_number(folded, run.end()):
            return True
        start = folded.find(_LONG, run.end())
    return False


def _keeps_keys(body: bytes, written: bytes) -> bool:
    """Whether no key of the body was dropped for being there twice: those written again are as many."""
    if _spaced_key(body) or _minus_zero(body) or _escaped_quote(body):
        return False
    return written.count(b'":') == body.count(b'":')


def _check_depth(folded: bytes) -> None:
    """Refuse what is nested too deep; all brackets are alike already, so each pass takes away the innermost.

    Quotes that stand beside each other, once all else is gone, are empty strings or the seam of two: without them
    the others still open and close by turns.
    """
    plain = folded.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in folded else folded
    left = plain.translate(None, _UNMARKED).replace(b'""', b"")
    if b'"' in left:
        left = _strings(b"", left)
    for _ in range(MAX_DEPTH):
        if not left:
            return
        left = left.replace(b"{}", b"")
    if b"{}" in left:
        raise Malformed("The JSON is nested deeper than 64 levels.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed("An object has the same key twice.")
    return made


def _refuse_constant(_: str) -> Any:
    raise Malformed("NaN and Infinity are not JSON.")


def _integer(text: str) -> Any:
    if len(text) > MAX_NUMBER:
        raise Malformed("A number is longer than 60 characters.")
    return number(text) if text == "-0" else int(text)


def _slowly(text: str) -> Any:
    """Read with every key seen and every string checked."""
    value = json.loads(
        text,
        object_pairs_hook=_unique,
        parse_constant=_refuse_constant,
        parse_float=number,
        parse_int=_integer,
    )
    if "\\u" in text:
        _check_texts(value)
    return value


def _check_texts(value: Any) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise Malformed("A string holds the character NUL.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Malformed("A string holds half of a surrogate pair.") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_texts(key)
            _check_texts(item)
    elif isinstance(value, list):
        for item in value:
            _check_texts(item)


def parse(body: bytes) -> Any:
    """Read JSON strictly.

    Args:
        body: The bytes of one JSON text, UTF-8 without byte order mark.

    Returns:
        Dicts, lists, str, bool, int, Decimal and None.

    Raises:
        Malformed: The bytes are not such a text; says what is wrong, shows no value.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        raise Malformed("The body starts with a byte order mark.")
    if not body.strip():
        raise Malformed("The body is empty.")
    try:
        folded = body.translate(_FOLD)
        if folded.count(b"{") > MAX_DEPTH:
            _check_depth(folded)
        if _has_long_integer(folded) or (b"\\u" in body and _odd_escape(body)):
            return _slowly(body.decode("utf-8", "strict"))
        value = _decode(body)
        # Written again, a text never becomes longer, and shorter by all that was dropped: blanks, double keys.
        written = _encode(value)
        if len(written) == len(body) or _keeps_keys(body, written):
            return value
        return _slowly(body.decode("utf-8", "strict"))
    except UnicodeDecodeError:
        raise Malformed("The body is not valid UTF-8.") from None
    except RecursionError:
        raise Malformed("The JSON is nested deeper than 64 levels.") from None
    except (msgspec.MsgspecError, ValueError, InvalidOperation):
        raise Malformed("The body is not valid JSON.") from None


def parse_resource(body: bytes) -> Resource:
    """Read one JSON object that says its resourceType; raise Malformed otherwise."""
    value = parse(body)
    if not isinstance(value, dict):
        raise Malformed("A resource is a JSON object.")
    if not isinstance(value.get("resourceType"), str):
        raise Malformed("The resource does not say its resourceType.")
    return value


def load(body: bytes) -> Resource:
    """Read a body that went through the gate before, fast and without its checks."""
    value: Resource = _decode(body)
    return value


def write(value: Any) -> bytes:
    """Write JSON, compact, decimals as they were read."""
    return _encode(value)


def laid_out(body: bytes) -> bytes:
    """Return JSON with line ends and indents, all else as it was."""
    return msgspec.json.format(body, indent=2)

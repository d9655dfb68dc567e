"""Functions on strings; positions count from 0.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#string-manipulation; encode, decode, escape, unescape,
trim, split, join, lastIndexOf and matchesFull: the continuous build, https://build.fhir.org/ig/HL7/FHIRPath/
"""

from __future__ import annotations

import base64
import binascii
import html
import json
from collections.abc import Callable
from typing import Any, Final

from fhir_server.fhirpath import patterns
from fhir_server.fhirpath.arithmetic import text
from fhir_server.fhirpath.failures import EvaluationError
from fhir_server.fhirpath.functions.arguments import Function, integer_of, result, text_of
from fhir_server.fhirpath.nodes import Collection, Run

Texts = Callable[..., Any]


def _on_texts(compute: Texts, arguments: int = 0) -> Function:
    """A function of strings only; empty where one of them is."""

    def call(_: Run, items: Collection, *more: Collection) -> Collection:
        texts = [text_of(items), *(text_of(argument) for argument in more)]
        return [] if None in texts else result(compute(*texts))

    return Function(call, arguments, arguments)


def _substring(_: Run, items: Collection, start: Collection, length: Collection | None) -> Collection:
    whole, first = text_of(items), integer_of(start)
    count = integer_of(length)
    if whole is None or first is None or not 0 <= first < len(whole):
        return []
    return [whole[first:] if count is None else whole[first : first + max(0, count)]]


def _to_chars(_: Run, items: Collection) -> Collection:
    return list(text_of(items) or "")


def _split(_: Run, items: Collection, separator: Collection) -> Collection:
    whole, between = text_of(items), text_of(separator)
    if whole is None or between is None:
        return []
    return whole.split(between) if between else list(whole)


def _join(_: Run, items: Collection, separator: Collection | None) -> Collection:
    between = "" if separator is None else text_of(separator) or ""
    parts = [text_of([item]) for item in items]
    return [text(between.join(part for part in parts if part is not None))] if items else []


def _encode(whole: str, form: str) -> str | None:
    data = whole.encode()
    if form == "hex":
        return data.hex()
    if form == "base64":
        return base64.b64encode(data).decode()
    return base64.urlsafe_b64encode(data).decode() if form == "urlbase64" else None


def _decode(whole: str, form: str) -> str | None:
    try:
        if form == "hex":
            return bytes.fromhex(whole).decode()
        if form == "base64":
            return base64.b64decode(whole, validate=True).decode()
        return base64.urlsafe_b64decode(whole).decode() if form == "urlbase64" else None
    except (ValueError, binascii.Error):
        raise EvaluationError("The string cannot be decoded.") from None


def _escape(whole: str, form: str) -> str | None:
    if form == "html":
        return html.escape(whole)
    return json.dumps(whole, ensure_ascii=False)[1:-1] if form == "json" else None


def _unescape(whole: str, form: str) -> str | None:
    if form == "html":
        return html.unescape(whole)
    if form != "json":
        return None
    try:
        found = json.loads(f'"{whole}"')
    except ValueError:
        # Quotes may stand unescaped, as in the official suite.
        found = _unescape_lenient(whole)
    return str(found)


def _unescape_lenient(whole: str) -> str:
    try:
        return str(json.loads('"' + whole.replace('"', '\\"') + '"'))
    except ValueError:
        raise EvaluationError("The string cannot be unescaped.") from None


def _replace(whole: str, old: str, new: str) -> str:
    if len(new) * (whole.count(old) if old else len(whole) + 1) > 1_000_000:
        raise EvaluationError("The expression makes a string that is too long.")
    return whole.replace(old, new)


FUNCTIONS: Final = {
    "indexOf": _on_texts(str.find, 1),
    "lastIndexOf": _on_texts(str.rfind, 1),
    "startsWith": _on_texts(str.startswith, 1),
    "endsWith": _on_texts(str.endswith, 1),
    "contains": _on_texts(str.__contains__, 1),
    "upper": _on_texts(str.upper),
    "lower": _on_texts(str.lower),
    "trim": _on_texts(str.strip),
    "length": _on_texts(len),
    "replace": _on_texts(_replace, 2),
    "matches": _on_texts(patterns.found, 1),
    "matchesFull": _on_texts(patterns.fits, 1),
    "replaceMatches": _on_texts(patterns.replaced, 2),
    "encode": _on_texts(_encode, 1),
    "decode": _on_texts(_decode, 1),
    "escape": _on_texts(_escape, 1),
    "unescape": _on_texts(_unescape, 1),
    "substring": Function(_substring, 1, 2),
    "toChars": Function(_to_chars),
    "split": Function(_split, 1, 1),
    "join": Function(_join, 0, 1),
}

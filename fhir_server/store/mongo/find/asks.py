"""One alternative of a question as a filter: what `search.match.fits` means, in the terms of the documents."""

from __future__ import annotations

import re
from typing import Any, Final

from fhir_server.errors import TooCostly
from fhir_server.search.fold import fold
from fhir_server.search.query import Ask
from fhir_server.search.values import Composite, Number, Period, Position, Quantity, Reference, Text, Token, Uri
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.find.filters import Filter, Pair, any_of, at_most, both, either, exactly
from fhir_server.store.mongo.find.ranges import dates, numbers, quantities

MOST_PATTERN: Final = 32_000  # bytes of the whole; MongoDB takes 32,764


def given(code: str) -> Filter:
    """Return what has some value under a code."""
    return {"tok": keys.key(code, keys.GIVEN)}


def asked(ask: Ask, modifier: str, code: str) -> Pair:
    """Return what answers one alternative, under a parameter's code."""
    match ask.value:
        case Token():
            return _token(modifier, ask.value, code)
        case Text(text):
            return _text(modifier, text, code)
        case Uri(text):
            return exactly(_uri(modifier, text, code))
        case Reference():
            return _reference(ask.value, code)
        case Period():
            return exactly(dates(ask, code))
        case Number():
            return exactly(numbers(ask, code))
        case Quantity():
            return quantities(ask, code)
        case Composite():
            return _composite(ask, code)
        case Position():
            return at_most(given(code))


def tokens(found: list[str]) -> Filter:
    """Return what has one of these strings."""
    return {"tok": found[0]} if len(found) == 1 else {"tok": {"$in": found}}


def _token(modifier: str, asked: Token, code: str) -> Pair:
    if modifier == "of-type":
        system, kind = asked.kind or ("", "")
        return exactly(tokens([keys.key(code, keys.OF_TYPE, system, kind, asked.code or "")]))
    if asked.system is None and asked.code is None:
        return at_most(given(code))
    if asked.code is None:
        parts: tuple[str, ...] = (keys.SYSTEM, asked.system or "")
    elif asked.system is None:
        parts = (keys.CODE, asked.code)
    else:
        parts = (keys.TOKEN, asked.system, asked.code)
    kind, *rest = parts
    # of a reference, it is its identifier that is asked for
    return exactly(tokens([keys.key(code, mark + kind, *rest) for mark in ("", keys.IDENTIFIED)]))


def many_tokens(asks: tuple[Ask, ...], code: str) -> Filter:
    """Return what has one of many codes, as one list."""
    found: list[str] = []
    for ask in asks:
        made = asked(ask, "", code).may
        assert made is not None
        wanted = made["tok"]
        found += wanted["$in"] if isinstance(wanted, dict) else [wanted]
    return tokens(found)


def _pattern(code: str, kind: str, rest: str) -> Filter:
    """Return what has a string that goes on as a pattern says."""
    pattern = f"^{re.escape(keys.key(code, kind, ''))}{rest}"
    if len(pattern.encode()) > MOST_PATTERN:
        raise TooCostly("The text that is searched for is too long.")
    if "\0" in rest:
        return None  # no string of FHIR has it, and no pattern may
    return {"str": {"$regex": pattern}}


def _text(modifier: str, text: str, code: str) -> Pair:
    folded = fold(text)
    start = re.escape(folded) if folded else "(?s)."
    display = exactly(_pattern(code, keys.DISPLAY, start))
    match modifier:
        case "exact":
            strings = exactly(tokens([keys.key(code, keys.EXACT, text)]))
        case "equals":
            strings = exactly({"str": keys.key(code, keys.FOLDED, folded)})
        case "contains":
            strings = exactly(_pattern(code, keys.FOLDED, f"(?s).*{re.escape(folded)}" if folded else ""))
        case "ends":
            strings = at_most(_pattern(code, keys.FOLDED, f"(?s).*{re.escape(folded)}"))
        case _:
            strings = exactly(_pattern(code, keys.FOLDED, start))
    return either((strings, display))


def _uri(modifier: str, text: str, code: str) -> Filter:
    same = tokens([keys.key(code, keys.URI, text)])
    if modifier == "below":
        start = text if text.endswith("/") else text + "/"
        return any_of((same, _pattern(code, keys.START, re.escape(start))))
    if modifier == "above":
        ends = [at for at, character in enumerate(text) if character == "/"]
        starts = {text} | {text[:at] for at in ends} | {text[: at + 1] for at in ends}
        return tokens([keys.key(code, keys.URI, start) for start in sorted(starts)])
    return same


def _reference(asked: Reference, code: str) -> Pair:
    found: dict[str, Any]
    if asked.url:
        found = {"tok": keys.key(code, keys.URL, asked.url)}
    elif asked.type:
        found = {"ref": keys.reference(code, asked.type, asked.id)}
    else:
        found = {"tok": keys.key(code, keys.ID, asked.id)}
    return at_most(found) if asked.version else exactly(found)


def _composite(ask: Ask, code: str) -> Pair:
    """Return what has parts that fit; whether they are of one element is to be looked at."""
    parts = both(asked(part, "", keys.part_code(code, at)) for at, part in enumerate(ask.parts))
    return at_most(parts.may)

"""Dates, numbers and quantities as filters; what the prefixes mean is told in `search.match`.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

from typing import Any

from fhir_server.search.query import Ask
from fhir_server.search.values import Number, Period, Quantity
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.documents import LEAST, MOST, number
from fhir_server.store.mongo.find.filters import Filter, Pair, any_of, exactly
from fhir_server.ucum import UCUM


def element(name: str, code: str, conditions: list[dict[str, Any]], more: dict[str, Any] | None = None) -> Filter:
    """Return the filter of an array that has an element under a code for which one of the conditions holds."""
    return any_of({name: {"$elemMatch": {"p": code, **(more or {}), **condition}}} for condition in conditions)


def dates(ask: Ask, code: str) -> Filter:
    """Return what answers a question about a date."""
    assert isinstance(ask.value, Period)
    lo, hi = ask.value
    return element("dt", code, _dates(ask.prefix, lo, hi))


def _dates(prefix: str, lo: int, hi: int) -> list[dict[str, Any]]:
    match prefix:
        case "eq":
            return [{"lo": {"$gte": lo}, "hi": {"$lte": hi}}]
        case "ne":
            return [{"lo": {"$lt": lo}}, {"hi": {"$gt": hi}}]
        case "ap":
            return [{"lo": {"$lt": hi}, "hi": {"$gt": lo}}]
        case "ge":  # dates are read by their ends, see `match`
            return [{"hi": {"$gt": lo}}]
        case "le":
            return [{"lo": {"$lt": hi}}]
        case "sa" | "eb":
            touches = "e" if lo < hi else ""  # half-open spans do not overlap where they touch
            return [{"lo": {f"$gt{touches}": hi}}] if prefix == "sa" else [{"hi": {f"$lt{touches}": lo}}]
        case _:
            return _reach(prefix, lo, hi)


def _reach(prefix: str, below: Any, above: Any) -> list[dict[str, Any]]:
    """Return the conditions of gt lt ge le."""
    match prefix:
        case "gt":
            return [{"hi": {"$gt": above}}]
        case "lt":
            return [{"lo": {"$lt": below}}]
        case "ge":
            return [{"hi": {"$gt": above}}, {"lo": {"$gte": below}}]
        case "le":
            return [{"lo": {"$lt": below}}, {"hi": {"$lte": above}}]
        case _:
            raise ValueError(prefix)


def numbers(ask: Ask, code: str) -> Filter:
    """Return what answers a question about a number."""
    assert isinstance(ask.value, Number)
    return element("num", code, _numbers(ask))


def _numbers(ask: Ask) -> list[dict[str, Any]]:
    asked = ask.value
    assert isinstance(asked, Number | Quantity)
    assert asked.lo is not None and asked.hi is not None and ask.exact is not None, "a question has all bounds"
    low, high, exact = number(asked.lo), number(asked.hi), number(ask.exact)
    match ask.prefix:
        case "eq":
            return [{"lo": {"$gte": low}, "hi": {"$lt": high}}]
        case "ne":
            return [{"lo": {"$lt": low}}, {"hi": {"$gte": high}}]
        case "ap":
            return [{"lo": {"$lte": high}, "hi": {"$gte": low}}]
        case "sa":
            return [{"lo": {"$gt": exact}}]
        case "eb":
            return [{"hi": {"$lt": exact}}]
        case prefix:
            return _reach(prefix, exact, exact)


def quantities(ask: Ask, code: str) -> Pair:
    """Return what answers a question about a quantity; values in other units of UCUM are to be looked at."""
    asked, kept = ask.value, keys.quantity_code(code)
    assert isinstance(asked, Quantity)
    conditions = _numbers(ask)
    if not asked.system:
        if not asked.unit:
            return exactly(element("num", kept, conditions))
        return exactly(any_of(element("num", kept, conditions, {name: asked.unit}) for name in ("c", "u")))
    same = element("num", kept, conditions, {"s": asked.system, "c": asked.code})
    if asked.system != UCUM:
        return exactly(same)
    other = element("num", kept, [{"s": UCUM, "c": {"$ne": asked.code}}])
    return Pair(any_of((same, other)), same)


BOUNDS = (LEAST, MOST)
"""What stands for open ends; they sort below and above all numbers, so no condition names them."""

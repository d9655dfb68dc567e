"""Dates, numbers and quantities as index columns: a term's `system`, `lo` and `w`."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec

from fhir_server.search.values import Number, Period, Quantity
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.numbers import HIGHEST, LOWEST, encode

_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND
WIDTHS: Final = (_SECOND, 3_600 * _SECOND, 25 * _DAY // 24, 8 * _DAY, 32 * _DAY, 367 * _DAY, 3_700 * _DAY)
"""Upper bounds of the classes of spans, in microseconds: within a class an upper end tells nearly where
the lower end lies, so that one index on the lower end answers every date prefix."""
OPEN: Final = "open"
POINT, RANGE, BELOW, ANY = "point", "range", "below", "any"
"""Forms of a number: `lo` is it; `lo` and `w` are its ends; only the upper end is known and is in `lo`; none is."""


def width_class(period: Period) -> tuple[str, int]:
    """Return the class of a span and what stands for its upper end: its width, or of an open one the end."""
    width = period.hi - period.lo
    for number, bound in enumerate(WIDTHS):
        if width <= bound:
            return str(number), width
    return OPEN, period.hi


def measure(value: Number | Quantity) -> tuple[str, str, bytes, bytes | int]:
    """Return kind, system, `lo` and `w` of a number: `lo` is always what sorting goes by."""
    form, lo, w = _ends(value.lo, value.hi)
    if isinstance(value, Number):
        return terms.NUMBER, form, lo, w
    return terms.QUANTITY, write_unit(form, value.system, value.code, value.unit), lo, w


def _ends(lo: Decimal | None, hi: Decimal | None) -> tuple[str, bytes, bytes | int]:
    if lo is None:
        return (ANY, LOWEST, 0) if hi is None else (BELOW, encode(hi), 0)
    if lo == hi:
        return POINT, encode(lo), 0
    return RANGE, encode(lo), HIGHEST if hi is None else encode(hi)


@lru_cache(maxsize=4_096)
def write_unit(form: str, system: str, code: str, unit: str) -> str:
    """Return the `system` of a quantity's term."""
    return msgspec.json.encode((form, system, code, unit)).decode()


def read_unit(text: str) -> tuple[str, str, str, str]:
    """Return form, system, code and unit."""
    return msgspec.json.decode(text, type=tuple[str, str, str, str])

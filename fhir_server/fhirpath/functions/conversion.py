"""From one System type to another.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#conversion
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from fhir_server.fhirpath import quantity as quantities
from fhir_server.fhirpath.equality import is_number
from fhir_server.fhirpath.functions.arguments import Function, result, text_of, value_of
from fhir_server.fhirpath.nodes import Collection, Node, Run
from fhir_server.fhirpath.quantity import CALENDAR, Quantity
from fhir_server.fhirpath.temporal import Temporal, parse_date, parse_datetime, parse_time

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,60}(\.[0-9]{1,60})?")
_TRUE: Final = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0", "0.0"})

Convert = Callable[[Any], Any]


def to_boolean(value: Any) -> bool | None:
    """Return a value as a Boolean, None where it is none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        folded = value.lower()
        return True if folded in _TRUE else False if folded in _FALSE else None
    if is_number(value):
        return {0: False, 1: True}.get(value)
    return None


def to_integer(value: Any) -> int | None:
    """Return a value as an Integer, None where it is none."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    return None


def to_decimal(value: Any) -> Decimal | None:
    """Return a value as a Decimal, None where it is none."""
    if isinstance(value, (int, Decimal)):
        return Decimal(value)
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    return None


def to_string(value: Any) -> str | None:
    """Return a value as a String, None where it is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, (str, int, Temporal, Quantity)):
        return str(value)
    return None


def to_date(value: Any) -> Temporal | None:
    """Return a value as a Date, None where it is none; the time of day is cut off."""
    if isinstance(value, Temporal) and value.kind != "Time":
        return Temporal("Date", value.parts[:3])
    if not isinstance(value, str):
        return None
    found = parse_datetime(value)
    return Temporal("Date", found.parts[:3]) if found else parse_date(value)


def to_datetime(value: Any) -> Temporal | None:
    """Return a value as a DateTime, None where it is none."""
    if isinstance(value, Temporal) and value.kind != "Time":
        return value._replace(kind="DateTime")
    return parse_datetime(value) if isinstance(value, str) else None


def to_time(value: Any) -> Temporal | None:
    """Return a value as a Time, None where it is none."""
    if isinstance(value, Temporal):
        return value if value.kind == "Time" else None
    return parse_time(value) if isinstance(value, str) else None


def to_quantity(value: Any) -> Quantity | None:
    """Return a value as a Quantity, None where it is none; numbers have the unit 1."""
    if isinstance(value, Quantity):
        return value
    if isinstance(value, (int, Decimal)):
        return Quantity(Decimal(value) if not isinstance(value, bool) else Decimal("1.0") * value, "1")
    return quantities.parse_quantity(value) if isinstance(value, str) else None


def _to(convert: Convert) -> Callable[[Run, Collection], Collection]:
    def call(_: Run, items: Collection) -> Collection:
        return result(convert(value_of(items)))

    return call


def _converts(convert: Convert) -> Callable[[Run, Collection], Collection]:
    def call(_: Run, items: Collection) -> Collection:
        return [convert(value_of(items)) is not None] if items else []

    return call


def _in_unit(items: Collection, unit: Collection | None) -> Quantity | None:
    value = value_of(items)
    found = to_quantity(None if isinstance(value, Node) else value)
    if found is None or unit is None:
        return found
    wanted = text_of(unit) or ""
    like = Quantity(Decimal(1), CALENDAR.get(wanted, wanted), wanted in CALENDAR)
    return quantities.convert(found, like) if quantities.comparable(found, like) else None


def _to_quantity(_: Run, items: Collection, unit: Collection | None) -> Collection:
    return result(_in_unit(items, unit))


def _converts_to_quantity(_: Run, items: Collection, unit: Collection | None) -> Collection:
    return [_in_unit(items, unit) is not None] if items else []


_CONVERSIONS: Final[dict[str, Convert]] = {
    "Boolean": to_boolean,
    "Integer": to_integer,
    "Decimal": to_decimal,
    "String": to_string,
    "Date": to_date,
    "DateTime": to_datetime,
    "Time": to_time,
}
FUNCTIONS: Final = {
    **{f"to{name}": Function(_to(convert)) for name, convert in _CONVERSIONS.items()},
    **{f"convertsTo{name}": Function(_converts(convert)) for name, convert in _CONVERSIONS.items()},
    "toQuantity": Function(_to_quantity, 0, 1),
    "convertsToQuantity": Function(_converts_to_quantity, 0, 1),
}

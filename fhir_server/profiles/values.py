"""Fixed and pattern values beside what a resource has.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.fixed_x_
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any


def is_equal(wanted: Any, value: Any) -> bool:
    """Whether a value is just the fixed one; 1.0 and 1.00 are, True and 1 are not."""
    if wanted.__class__ is dict:
        return (
            value.__class__ is dict
            and wanted.keys() == value.keys()
            and all(is_equal(item, value[key]) for key, item in wanted.items())
        )
    if wanted.__class__ is list:
        return value.__class__ is list and len(value) == len(wanted) and all(map(is_equal, wanted, value))
    return _same(wanted, value)


def fits(pattern: Any, value: Any) -> bool:
    """Whether a value has all that the pattern has; each item of a list of the pattern is found in the value's."""
    if pattern.__class__ is dict:
        return value.__class__ is dict and all(key in value and fits(item, value[key]) for key, item in pattern.items())
    if pattern.__class__ is list:
        return value.__class__ is list and all(any(fits(item, other) for other in value) for item in pattern)
    return _same(pattern, value)


def _same(wanted: Any, value: Any) -> bool:
    if (wanted.__class__ is bool) is not (value.__class__ is bool):
        return False
    return value.__class__ not in (dict, list) and bool(wanted == value)


def is_between(value: Any, least: Any, most: Any) -> bool:
    """Whether a number, a date, a time or a quantity is within bounds; what has no order is."""
    return _is_ordered(least, value) and _is_ordered(value, most)


def _is_ordered(low: Any, high: Any) -> bool:
    if low.__class__ is dict and high.__class__ is dict:
        is_alike = all(low.get(key) == high.get(key) for key in (("system", "code") if "code" in low else ("unit",)))
        return _is_ordered(low.get("value"), high.get("value")) if is_alike else True
    if low.__class__ is str and high.__class__ is str:
        return _are_dates_ordered(low, high)
    is_number = all(isinstance(one, (int, Decimal)) and one.__class__ is not bool for one in (low, high))
    return bool(low <= high) if is_number else True


def _are_dates_ordered(low: str, high: str) -> bool:
    """Whether one may be before the other, as far as the less precise of them says."""
    if "T" in low and "T" in high:
        try:
            return datetime.fromisoformat(low) <= datetime.fromisoformat(high)
        except (ValueError, TypeError):  # no dates, or one without a zone
            return True
    shorter = min(len(low), len(high))
    return ("T" in low) is not ("T" in high) or low[:shorter] <= high[:shorter]


def dig(value: Any, names: Sequence[str]) -> list[Any]:
    """Return what stands below a value at a path; lists are gone through."""
    found = [value]
    for name in names:
        found = [item for item in _flat(found) if item.__class__ is dict]
        found = [item[name] for item in found if name in item]
    return list(_flat(found))


def _flat(values: Sequence[Any]) -> list[Any]:
    return [item for value in values for item in (value if value.__class__ is list else [value])]

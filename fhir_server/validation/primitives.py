"""The syntax of R4's primitive types; every check takes time linear in the length of the value.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/datatypes.html#primitive
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from fhir_server.validation.findings import Problem

MAX_STRING: Final = 1024 * 1024  # characters, https://hl7.org/fhir/R4/datatypes.html#string
INT_MIN, INT_MAX = -(2**31), 2**31 - 1

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_DAY = "(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
# A leap second (:60) is allowed in any minute, as R4's own expressions do.
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_match_date = re.compile(f"{_YEAR}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12][0-9]|3[01]))?)?").fullmatch
_match_instant = re.compile(f"{_YEAR}-{_DAY}T{_CLOCK}{_ZONE}").fullmatch
_match_time = re.compile(_CLOCK).fullmatch
_match_id = re.compile(r"[A-Za-z0-9\-.]{1,64}").fullmatch
_match_code = re.compile(r"\S+(?: \S+)*").fullmatch
_match_oid = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+").fullmatch
_match_uuid = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_LENGTHS = {"02": 29, "04": 30, "06": 30, "09": 30, "11": 30}  # last day; February's is looked at again


def _is_day(text: str) -> bool:
    """Whether the day exists in its month; `text` begins as YYYY-MM-DD."""
    if text[8:10] < "29":
        return True
    day = int(text[8:10])
    if day > _LENGTHS.get(text[5:7], 31):
        return False
    year = int(text[:4])
    return text[5:7] != "02" or (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))


def is_date(text: str) -> bool:
    """Whether `text` is a year, a month or a day of the calendar."""
    return _match_date(text) is not None and (len(text) < 10 or _is_day(text))


def is_instant(text: str) -> bool:
    """Whether `text` is a moment with seconds and zone."""
    return _match_instant(text) is not None and _is_day(text)


def is_date_time(text: str) -> bool:
    """Whether `text` is a date, or a moment with seconds and zone."""
    if len(text) > 10:
        return _match_instant(text) is not None and (text[8:10] < "29" or _is_day(text))
    return is_date(text)


def is_time(text: str) -> bool:
    """Whether `text` is a time of day."""
    return _match_time(text) is not None


def is_id(text: str) -> bool:
    """Whether `text` can be a logical id."""
    return _match_id(text) is not None


def is_code(text: str) -> bool:
    """Whether `text` has no whitespace but single spaces inside."""
    return _match_code(text) is not None


def is_uri(text: str) -> bool:
    """Whether `text` is there and has no whitespace."""
    return text.split() == [text]


def is_oid(text: str) -> bool:
    """Whether `text` is an OID as a urn."""
    return _match_oid(text) is not None


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID as a urn, in lower case."""
    return _match_uuid(text) is not None


def is_base64(text: str) -> bool:
    """Whether `text` is base64 with its padding; whitespace may stand anywhere."""
    try:
        packed = "".join(text.split()).encode("ascii")
        binascii.a2b_base64(packed, strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        return False
    return bool(packed)


def is_string(text: str) -> bool:
    """Whether `text` is there and not longer than 1 MB."""
    return 0 < len(text) <= MAX_STRING


SYNTAX: Final[Mapping[str, Callable[[str], bool]]] = {
    "base64Binary": is_base64,
    "canonical": is_uri,
    "code": is_code,
    "date": is_date,
    "dateTime": is_date_time,
    "id": is_id,
    "instant": is_instant,
    "markdown": is_string,
    "oid": is_oid,
    "string": is_string,
    "time": is_time,
    "uri": is_uri,
    "url": is_uri,
    "uuid": is_uuid,
}
"""Of the types that JSON writes as strings, without xhtml."""

_RANGES: Final = {"integer": (INT_MIN, INT_MAX), "positiveInt": (1, INT_MAX), "unsignedInt": (0, INT_MAX)}

# Python conditions on `v`, true where it is no value of the type. A printable text without a space is a valid
# code and uri: this spares the slower check, which the others get.
_PLAIN = '(not v or " " in v or not v.isprintable())'
_CONDITIONS: Final = {
    "boolean": "v is not True and v is not False",
    "decimal": "v.__class__ is not int and not isinstance(v, Decimal)",
    "string": f"v.__class__ is not str or not 0 < len(v) <= {MAX_STRING}",
    "markdown": f"v.__class__ is not str or not 0 < len(v) <= {MAX_STRING}",
    "code": f"v.__class__ is not str or {_PLAIN} and not is_code(v)",
    "uri": f"v.__class__ is not str or {_PLAIN} and not is_uri(v)",
    "url": f"v.__class__ is not str or {_PLAIN} and not is_uri(v)",
    "canonical": f"v.__class__ is not str or {_PLAIN} and not is_uri(v)",
}


def condition(type: str) -> str:
    """Return the Python expression that is true where `v` is no value of a primitive type.

    The names it uses beside `v` are `Decimal` and those of the functions in `SYNTAX`.
    """
    if type in _RANGES:
        low, high = _RANGES[type]
        return f"v.__class__ is not int or not {low} <= v <= {high}"
    return _CONDITIONS.get(type) or f"v.__class__ is not str or not {SYNTAX[type].__name__}(v)"


def fault(type: str, value: Any) -> Problem:
    """Say what is wrong with a value that is none of a primitive type."""
    if value is None:
        return ("", "structure", "null is not allowed here.")
    wanted = "boolean" if type == "boolean" else "number" if type in _RANGES or type == "decimal" else "string"
    given = {bool: "boolean", int: "number", str: "string", dict: "object", list: "array"}.get(value.__class__)
    if (given or ("number" if isinstance(value, Decimal) else "")) != wanted:
        return ("", "structure", f"This must be a JSON {wanted}.")
    if value == "":
        return ("", "value", "A string must not be empty.")
    return ("", "value", f"This is no valid {type}.")

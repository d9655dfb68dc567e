"""One reading of the canonical JSON to the canonical record; what cannot be read is a reason, never an error."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from adapters.devices import reason
from adapters.devices.medfloat import Decoded, decode_float, decode_sfloat, read_bits
from adapters.devices.reading import Coded, Media, Reading, Sample, Wave
from adapters.devices.reason import Reason
from adapters.devices.status import STATUSES
from fhir_server import gate

MAX_COMPONENTS: Final = 20
MAX_TEXT: Final = 256  # characters of an identifier, a code, a unit, an id
MAX_TYPES: Final = 10
MAX_NOTES: Final = 10
MAX_POINTS: Final = 300_000  # samples of one wave: 20 minutes at 250 Hz
MAX_DIMENSIONS: Final = 16
MDC: Final = "urn:iso:std:iso:11073:10101"
LOINC: Final = "http://loinc.org"
SNOMED: Final = "http://snomed.info/sct"

# Codes of R4's data-absent-reason that a device may give.
ABSENT: Final = frozenset(
    {
        "not-a-number", "positive-infinity", "negative-infinity", "error", "not-performed", "unknown", "temp-unknown",
        "unsupported", "not-applicable", "as-text",
    }
)  # fmt: skip
_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "NaN": "not-a-number",
        "NRes": "error",
        **dict.fromkeys(("INF", "+INF", "Infinity", "+Infinity", "Inf"), "positive-infinity"),
        **dict.fromkeys(("-INF", "-Infinity", "-Inf"), "negative-infinity"),
    }
)
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_POINT: Final = r"(?:-?(?:0|[1-9][0-9]{0,29})(?:\.[0-9]{1,29})?(?:[eE][+-]?[0-9]{1,3})?|[EUL])"
_POINTS: Final = re.compile(f"{_POINT}(?: {_POINT})*+", re.ASCII)
_TYPE: Final = re.compile(r"(audio|image|video)/[a-z0-9.+-]{1,60}(;[a-z0-9-]{1,30}=[a-z0-9.,+-]{1,60}){0,3}", re.ASCII)
_COMMON: Final = frozenset({"system", "code", "at", "end", "id", "status", "types", "site", "method", "note"})
_NUMBER: Final = ("value", "absent", "sfloat", "float")
_ONE: Final = frozenset({*_NUMBER, "unit", "components", "coded", "samples", "media", "medication"})
FIELDS: Final = _COMMON | _ONE  # of a reading
_WAVE: Final = frozenset({"origin", "unit", "period", "data", "factor", "low", "high", "dimensions"})
_OF_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {"loinc": "loinc", "mdc": "mdc", "local": "local", LOINC: "loinc", MDC: "mdc"}
)
_SYSTEMS: Final[Mapping[str, str]] = MappingProxyType({"mdc": MDC, "loinc": LOINC, "snomed": SNOMED})


class _Unfit(Exception):
    """Carries why a reading cannot be read."""

    def __init__(self, why: Reason) -> None:
        super().__init__(why.code)
        self.why = why


def read_reading(raw: Mapping[str, Any]) -> Reading | Reason:
    """Return what one reading says, or why it cannot be read; a field that has no meaning here is a reason too."""
    try:
        return _read(raw)
    except _Unfit as unfit:
        return unfit.why


def _read(raw: Mapping[str, Any]) -> Reading:
    system = raw.get("system", "loinc")
    system = _OF_CODES.get(system) if isinstance(system, str) else None
    raw = _with_text(raw)
    _need(not raw.keys() - FIELDS and system is not None and is_text(raw.get("code")))
    assert system is not None
    _need("id" not in raw or is_text(raw["id"]))
    for key in ("at", "end"):
        _need(key not in raw or (isinstance(raw[key], str) and bool(raw[key])), reason.TIME_UNREADABLE)
    is_panel = "components" in raw
    kinds = [key for key in (*_NUMBER, "components", "coded", "samples", "media") if key in raw]
    _need(len(kinds) <= 1 and ("unit" not in raw or bool(set(kinds) & set(_NUMBER))))
    return Reading(
        system,
        raw["code"],
        _parts(raw["components"], system) if is_panel else _single(raw, kinds),
        is_panel,
        raw.get("at", ""),
        raw.get("id", ""),
        end=raw.get("end", ""),
        coded=_coded(raw["coded"]) if "coded" in raw else None,
        wave=_wave(raw["samples"]) if "samples" in raw else None,
        media=_media(raw["media"]) if "media" in raw else None,
        medication=_coded(raw["medication"]) if "medication" in raw else None,
        statuses=_statuses(raw.get("status", [])),
        types=_types(raw.get("types", [])),
        site=_named(raw["site"]) if "site" in raw else None,
        method=_named(raw["method"]) if "method" in raw else None,
        notes=_notes(raw["note"]) if "note" in raw else (),
    )


def _with_text(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return it with its code as a text: MDC codes are numbers, and some write them so."""
    code = raw.get("code")
    return {**raw, "code": str(code)} if isinstance(code, int) and not isinstance(code, bool) else raw


def _parts(items: Any, system: str) -> tuple[Sample, ...]:
    """Read the components; one may repeat the code system of the reading, none has another."""
    _need(isinstance(items, list) and 1 <= len(items) <= MAX_COMPONENTS)
    items = [_with_text(item) if isinstance(item, dict) else item for item in items]
    for item in items:
        known = {"system", "code", "unit", *_NUMBER}
        _need(isinstance(item, dict) and not item.keys() - known and is_text(item.get("code")))
        own = item.get("system", system)
        _need(isinstance(own, str) and _OF_CODES.get(own) == system)
        _need(sum(key in item for key in _NUMBER) == 1)
    return tuple(_sample(item) for item in items)


def _single(raw: Mapping[str, Any], kinds: list[str]) -> tuple[Sample, ...]:
    return (_sample(raw),) if kinds and kinds[0] in _NUMBER else ()


def _sample(item: Mapping[str, Any]) -> Sample:
    decoded = _number(item)
    _need("unit" not in item or is_text(item["unit"]))
    _need(decoded.value is None or "unit" in item)
    return Sample(item["code"], decoded.value, item.get("unit", ""), decoded.absent)


def _number(item: Mapping[str, Any]) -> Decoded:
    """Return the number of a value however it is written, or why there is none."""
    if "absent" in item:
        _need(isinstance(item["absent"], str) and item["absent"] in ABSENT)
        return Decoded(None, item["absent"])
    for key, width, decode in (("sfloat", 16, decode_sfloat), ("float", 32, decode_float)):
        if key in item:
            bits = read_bits(item[key], width)
            if bits is None:
                raise _Unfit(reason.VALUE_UNREADABLE)
            return _held(decode(bits))
    value = item["value"]
    if isinstance(value, str) and value in _WORDS:
        return Decoded(None, _WORDS[value])
    number = decimal_of(value)
    if number is None:
        raise _Unfit(reason.VALUE_UNREADABLE)
    return Decoded(number)


def _held(decoded: Decoded) -> Decoded:
    """Return it where its digits are within what the parser gate takes of any number."""
    if decoded.value is not None and len(str(decoded.value)) > gate.MAX_NUMBER:
        raise _Unfit(reason.VALUE_UNREADABLE)
    return decoded


def decimal_of(value: Any) -> Decimal | None:
    """Return a number or the text of one as a Decimal that prints as it was written; None for anything else."""
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and len(value) <= gate.MAX_NUMBER and _DECIMAL.fullmatch(value):
        made = Decimal(value)
        return gate.number(value) if not made or abs(made.adjusted()) <= gate.MAX_EXPONENT else None
    return None


def _coded(value: Any) -> Coded:
    """Read {"system", "code", "text"}: a system is mdc (the default), loinc, snomed or a uri."""
    _need(isinstance(value, dict) and bool(value) and not value.keys() - {"system", "code", "text"})
    _need(all(is_text(text) for text in value.values()))
    if "code" not in value:
        _need("system" not in value)
        return Coded("", "", value["text"])
    name = value.get("system", "mdc")
    system = _SYSTEMS.get(name, name)
    _need(":" in system and " " not in system)
    return Coded(system, value["code"], value.get("text", ""))


def _named(value: Any) -> Coded:
    """Read a place or a way of measuring: its name alone, or a code as of `_coded`."""
    return _coded({"text": value} if isinstance(value, str) else value)


def _notes(value: Any) -> tuple[str, ...]:
    notes = [value] if isinstance(value, str) else value
    _need(isinstance(notes, list) and 1 <= len(notes) <= MAX_NOTES and all(is_text(note) for note in notes))
    return tuple(notes)


def _wave(value: Any) -> Wave:
    _need(isinstance(value, dict) and value.keys() >= {"unit", "period", "data"} and not value.keys() - _WAVE)
    _need(is_text(value["unit"]))
    numbers = {key: decimal_of(value[key]) for key in ("origin", "period", "factor", "low", "high") if key in value}
    _need(None not in numbers.values(), reason.VALUE_UNREADABLE)
    period, dimensions = numbers["period"], value.get("dimensions", 1)
    _need(isinstance(dimensions, int) and not isinstance(dimensions, bool) and 1 <= dimensions <= MAX_DIMENSIONS)
    assert period is not None
    _need(period > 0)
    data = _data(value["data"])
    _need(len(data) % dimensions == 0)
    origin = numbers.get("origin") or Decimal(0)
    return Wave(
        origin, value["unit"], period, data, numbers.get("factor"), numbers.get("low"), numbers.get("high"), dimensions
    )


def _data(value: Any) -> tuple[str, ...]:
    """Return samples as texts; given as R4 writes them (one text) or as a list of numbers."""
    _need(isinstance(value, str | list) and bool(value))
    if isinstance(value, list):
        _need(len(value) <= MAX_POINTS)
        return tuple(_text_of(item) for item in value)
    _need(value.count(" ") < MAX_POINTS)
    _need(_POINTS.fullmatch(value), reason.VALUE_UNREADABLE)
    return tuple(value.split(" "))


def _text_of(value: Any) -> str:
    if isinstance(value, Decimal):
        return value.text if isinstance(value, gate.Written) else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value in ("E", "U", "L"):
        return value
    raise _Unfit(reason.VALUE_UNREADABLE)


def _media(value: Any) -> Media:
    _need(isinstance(value, dict) and value.keys() >= {"contentType", "data"})
    _need(not value.keys() - {"contentType", "data", "title"} and isinstance(value["data"], str))
    _need(isinstance(value["contentType"], str))
    kind = value["contentType"].lower().replace("; ", ";").replace('"', "")
    _need(_TYPE.fullmatch(kind))
    _need("title" not in value or is_text(value["title"]))
    try:
        data = base64.b64decode(value["data"], validate=True)
    except (binascii.Error, ValueError):
        raise _Unfit(reason.MALFORMED) from None
    _need(bool(data))
    return Media(kind, data, value.get("title", ""))


def _statuses(value: Any) -> tuple[str, ...]:
    _need(isinstance(value, list) and len(value) <= len(STATUSES))
    _need(all(isinstance(name, str) and name in STATUSES for name in value))
    return tuple(dict.fromkeys(value))


def _types(value: Any) -> tuple[str, ...]:
    _need(isinstance(value, list) and len(value) <= MAX_TYPES)
    _need(all(isinstance(code, str) and code.isascii() and code.isdigit() and len(code) <= 10 for code in value))
    return tuple(dict.fromkeys(value))


def _need(holds: object, why: Reason = reason.MALFORMED) -> None:
    if not holds:
        raise _Unfit(why)


def is_text(value: Any) -> bool:
    """Whether a value is a printable text of 1 to 256 characters."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_TEXT and value.isprintable()

"""SenML packs (RFC 8428) and SenML streams to canonical messages.

A name is a device, a separator (`:`, `/` or `_`) and what was measured: a LOINC or MDC code, or one of `LABELS`,
which are the hub's own. The device is known in the hub by the identifier system of URIs (`urn:ietf:rfc:3986`), as in
`urn:dev:mac:0024befffe804ff1` (RFC 9039). A systolic and a diastolic pressure of one device and instant are one
reading.
Source: https://www.rfc-editor.org/rfc/rfc8428
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from adapters.devices import reason
from adapters.devices.measure import measures_of
from adapters.devices.measures import EVENT
from adapters.devices.message import MAX_READINGS, Message, Received
from adapters.devices.reading import DeviceName
from adapters.devices.reading_json import read_reading
from fhir_server import gate
from fhir_server.errors import BadRequest, TooLarge

URI: Final = "urn:ietf:rfc:3986"
"""Identifier system of values that are URIs (https://hl7.org/fhir/R4/identifier-registry.html)."""

VERSION: Final = 10  # of SenML, RFC 8428 section 4.4: the newest that is read, and what a pack without bver has
ABSOLUTE: Final = 2**28  # seconds: a smaller time is relative to now, RFC 8428 section 4.5.3
MAX_EXPONENT: Final = 60  # powers of ten of a value or a time; no sensor has more

UNITS: Final = MappingProxyType(
    {"/": "1", "/100": "%", "beat/min": "/min", "1/min": "/min", "beats": "{beats}", "count": "{count}", "l": "L"}
)
"""SenML units whose UCUM code differs (RFC 8428 section 12.1, RFC 8798); others go on as they are."""

LABELS: Final = MappingProxyType(
    {
        "systolic-blood-pressure": "8480-6",
        "diastolic-blood-pressure": "8462-4",
        "mean-blood-pressure": "8478-0",
        "heart-rate": "8867-4",
        "respiratory-rate": "9279-1",
        "oxygen-saturation": "59408-5",
        "body-temperature": "8310-5",
        "body-weight": "29463-7",
        "body-height": "8302-2",
        "blood-glucose": "2339-0",
        "step-count": "55423-8",
    }
)
"""Words in place of LOINC codes: the hub's own, none of the RFC's."""

COUNTED: Final = MappingProxyType(
    dict.fromkeys((("loinc", "55423-8"), ("loinc", "41950-7"), ("mdc", "8454247")), "{steps}")
)
"""What SenML's `count`, its only unit for such, counts of each code."""

_SYSTOLIC, _DIASTOLIC, _MEAN = "8480-6", "8462-4", "8478-0"
_PRESSURES: Final = MappingProxyType(
    {("loinc", code): code for code in (_SYSTOLIC, _DIASTOLIC, _MEAN)}
    | {("mdc", "150021"): _SYSTOLIC, ("mdc", "150022"): _DIASTOLIC, ("mdc", "150023"): _MEAN}
)
_PANELS: Final = MappingProxyType({"loinc": "85354-9", "mdc": "150020"})
_BASE: Final = frozenset({"bn", "bt", "bu", "bv", "bs", "bver"})
_VALUES: Final = ("v", "vs", "vb", "vd")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]{0,254}", re.ASCII)
_LOINC: Final = re.compile(r"[0-9]{1,6}-[0-9]", re.ASCII)
_BARE: Final = re.compile(r"|urn(:dev(:[a-z0-9]+)?)?", re.ASCII)  # with one part more it is a device and no measure
_MDC: Final = re.compile(r"[0-9]{5,7}", re.ASCII)
_ZERO: Final = Decimal(0)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Resolved(NamedTuple):
    """One record with its base values applied (RFC 8428 section 4.6)."""

    name: str
    unit: str  # SenML's; "" none
    value: Any  # Decimal, str (vs), bool (vb), None where there is only a sum
    data: str  # of vd, base64url as sent; "" none
    total: Decimal | None  # of s, in seconds x unit
    seconds: Decimal  # since 1970
    is_relative: bool  # whether the sender wrote the time relative to now


class Pack(NamedTuple):
    """What a pack says."""

    messages: tuple[Message, ...]
    is_relative: bool  # whether some time depends on when the pack came


def read_pack(body: bytes, *, now: int) -> Pack:
    """Read the bytes of a pack.

    Args:
        body: `application/senml+json`.
        now: When it came, microseconds since 1970; what relative times are counted from.

    Raises:
        BadRequest: It is no SenML, or has a field ending in `_` or a version that is not known here.
        TooLarge: It has more than 1,000 records.
        Malformed: It is no JSON.
    """
    return as_pack(resolve(gate.parse(body), now=now))


def read_stream(body: bytes, *, now: int) -> Pack:
    """Read the bytes of a stream (`application/sensml+json`), whose list may never have been closed."""
    text = body.strip()
    if text.startswith(b"[") and not text.endswith(b"]"):
        text = text.rstrip(b", \t\r\n") + b"]"
    return read_pack(text, now=now)


def resolve(records: Any, *, now: int) -> list[Resolved]:
    """Apply base values; fields that have no meaning here are ignored, as the RFC asks, unless they end in `_`."""
    if not isinstance(records, list) or not records or not all(isinstance(item, dict) for item in records):
        raise BadRequest("A SenML pack is a list of objects, at least one.")
    if len(records) > MAX_READINGS:
        raise TooLarge(f"A SenML pack has at most {MAX_READINGS} records.")
    base: dict[str, Any] = {}
    made: list[Resolved] = []
    for record in records:
        if any(key.endswith("_") for key in record):
            raise BadRequest("The SenML pack has a field that must be understood, and is not known here.")
        base |= {key: record[key] for key in _BASE & record.keys()}
        if base.get("bver", VERSION) not in range(1, VERSION + 1):
            raise BadRequest(f"The SenML pack is of a version that is not known here; the newest is {VERSION}.")
        if record.keys() <= _BASE:
            continue  # it says what the others start from
        if not ({*_VALUES, "s"} & record.keys() or {"bv", "bs"} & base.keys()):
            raise BadRequest("A SenML record has no value.")
        made.append(_resolved(record, base, Decimal(now) / 1_000_000))
    if not made:
        raise BadRequest("The SenML pack has no value.")
    return made


def _resolved(record: Mapping[str, Any], base: Mapping[str, Any], now: Decimal) -> Resolved:
    name = _text(base.get("bn", "")) + _text(record.get("n", ""))
    if not _NAME.fullmatch(name):
        raise BadRequest("A SenML record has no name, or one with characters that names do not have.")
    present = [key for key in _VALUES if key in record]
    if len(present) > 1:
        raise BadRequest("A SenML record has more than one value.")
    with localcontext() as exactly:
        exactly.prec = 4 * MAX_EXPONENT
        written = _number(base.get("bt", _ZERO)) + _number(record.get("t", _ZERO))
        is_relative = written < ABSOLUTE
        value: Any = _value(record, base, present)
        total = None
        if "s" in record or "bs" in base:
            total = _number(base.get("bs", _ZERO)) + _number(record.get("s", _ZERO))
        seconds = now + written if is_relative else written
    unit = _text(record.get("u", base.get("bu", "")))
    data = _text(record["vd"]) if "vd" in record else ""
    return Resolved(name, unit, value, data, total, seconds, is_relative)


def _value(record: Mapping[str, Any], base: Mapping[str, Any], present: list[str]) -> Any:
    """Return the value; a number without base value keeps its digits."""
    if present == ["v"]:
        given = _number(record["v"])
        return given + _number(base["bv"]) if "bv" in base else given
    if present == ["vs"]:
        return _text(record["vs"])
    if present == ["vb"]:
        if not isinstance(record["vb"], bool):
            raise BadRequest("vb of a SenML record is true or false.")
        return record["vb"]
    return _number(base["bv"]) if not present and "bv" in base and "s" not in record else None


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise BadRequest("A number of the SenML pack is none.")
    number = value if isinstance(value, Decimal) else Decimal(value)
    if number and not -MAX_EXPONENT <= number.adjusted() <= MAX_EXPONENT:
        raise BadRequest("A number of the SenML pack is out of range.")
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadRequest("A text of the SenML pack is none.")
    return value


def as_pack(records: Sequence[Resolved]) -> Pack:
    """Return resolved records as messages, one a device, in the order of the pack."""
    devices: dict[str, list[tuple[str, str, Resolved]]] = {}
    for record in records:
        device, system, code = _parted(record.name)
        devices.setdefault(device, []).append((system, code, record))
    messages = tuple(Message(DeviceName(URI, device), tuple(_received(rows))) for device, rows in devices.items())
    return Pack(messages, any(record.is_relative for record in records))


def _parted(name: str) -> tuple[str, str, str]:
    """Return device, code system and code of a name; a name that ends in no measure known is the device's alone."""
    for match in reversed(list(re.finditer(r"[:/_]", name))):
        tail = name[match.end() :]
        if tail in LABELS:
            return name[: match.start()], "loinc", LABELS[tail]
        if _LOINC.fullmatch(tail):
            return name[: match.start()], "loinc", tail
        if _MDC.fullmatch(tail):
            return name[: match.start()], "mdc", tail
    head, _, tail = name.rpartition(":")
    return (name, "loinc", "unnamed") if not tail or _BARE.fullmatch(head) else (head or name, "loinc", tail)


def _received(rows: Sequence[tuple[str, str, Resolved]]) -> list[Received]:
    """Return the readings of one device; pressures of one instant are one, the second pair of them another one."""
    panels = _panels(rows)
    parts = {id(record) for panel in panels.values() for _, record in panel}
    made: list[Received] = []
    for system, code, record in rows:
        if id(record) in panels:
            made.append(_panel(system, panels[id(record)]))
        elif id(record) not in parts:
            made.append(_single(system, code, record))
        if record.total is not None and _is_number(system, code, record):
            made.append(_sum(system, code, record))
    return made


def _panels(rows: Sequence[tuple[str, str, Resolved]]) -> dict[int, list[tuple[str, Resolved]]]:
    """Return the (code, record) pairs of each blood pressure by the id of its systolic record."""
    found: dict[tuple[str, Decimal], dict[str, list[tuple[str, Resolved]]]] = {}
    for system, code, record in rows:
        part = _PRESSURES.get((system, code))
        if part and isinstance(record.value, Decimal):
            found.setdefault((system, record.seconds), {}).setdefault(part, []).append((code, record))
    made: dict[int, list[tuple[str, Resolved]]] = {}
    for parts in found.values():
        means = parts.get(_MEAN, [])
        for number, pair in enumerate(zip(parts.get(_SYSTOLIC, []), parts.get(_DIASTOLIC, []), strict=False)):
            made[id(pair[0][1])] = [*pair, *means[number : number + 1]]
    return made


def _is_number(system: str, code: str, record: Resolved) -> bool:
    """Whether a record's value is taken by itself, so that its sum is left over."""
    return isinstance(record.value, Decimal) or (record.value is True and _is_event(system, code))


def _is_event(system: str, code: str) -> bool:
    return any(measure.kind == EVENT for measure in measures_of(system, code))


def _sum(system: str, code: str, record: Resolved) -> Received:
    """Return the sum that stands beside a value: an integral over time, kept aside by itself."""
    raw: dict[str, Any] = {"system": system, "code": code, **_at(record), "sum": record.total}
    return Received({**raw, "unit": record.unit} if record.unit else raw, reason.VALUE_UNREADABLE)


def _panel(system: str, parts: Sequence[tuple[str, Resolved]]) -> Received:
    components = [{"code": code, "value": record.value, "unit": _unit(system, code, record)} for code, record in parts]
    raw = {"code": _PANELS[system], "components": components, **_at(parts[0][1])}
    raw = raw if system == "loinc" else {"system": system, **raw}
    return Received(raw, read_reading(raw))


def _single(system: str, code: str, record: Resolved) -> Received:
    """Return one record as a reading; what is no number is kept aside as it was sent."""
    raw: dict[str, Any] = {"system": system, "code": code, **_at(record)}
    if record.unit:
        raw["unit"] = _unit(system, code, record)
    if isinstance(record.value, Decimal):
        raw["value"] = record.value
        return Received(raw, read_reading(raw))
    if record.value is True and _is_event(system, code):
        return Received(raw, read_reading(raw))  # a fall, smoke …: it happened
    raw |= {"value": record.data or record.value} if record.value is not None or record.data else {}
    raw |= {"sum": record.total} if record.total is not None else {}
    return Received(raw, reason.VALUE_UNREADABLE)


def _unit(system: str, code: str, record: Resolved) -> str:
    """Return the UCUM unit of a record; a count is one of what its code counts."""
    if record.unit == "count" and (system, code) in COUNTED:
        return COUNTED[system, code]
    return UNITS.get(record.unit, record.unit)


def _at(record: Resolved) -> dict[str, str]:
    """Return the time as a FHIR dateTime in UTC; a time that no calendar has is left to be found unreadable."""
    whole = int(record.seconds // 1)
    fraction = format(record.seconds % 1, "f").partition(".")[2].rstrip("0")[:9]
    try:
        moment = _EPOCH + timedelta(seconds=whole)
    except OverflowError:
        return {"at": "out of range"}
    return {"at": f"{moment:%Y-%m-%dT%H:%M:%S}{'.' if fraction else ''}{fraction}Z"}

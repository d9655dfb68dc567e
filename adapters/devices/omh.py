"""Open mHealth and IEEE 1752.1 data points to canonical messages.

A data point says what it is by `header.schema_id`; `SCHEMAS` are those that are known, all others are kept aside. Field
names and units were read in the schemas of github.com/openmhealth/schemas; the total-sleep-time of IEEE 1752.1 was not
seen there and is not verified. Where on the body and by which method are told as such; what a body says beside that
(relation to meals, sleep or activity, posture, oxygen that was given) stands in notes, in the schema's own words. A
statistic is kept aside, a value that a person told is filed as entered by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from textwrap import wrap
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from adapters.devices import reason
from adapters.devices.instant import exact, written
from adapters.devices.measure import measures_of
from adapters.devices.message import MAX_READINGS, Message, Received
from adapters.devices.reading import DeviceName
from adapters.devices.reading_json import MAX_NOTES, MAX_TEXT, decimal_of, is_text, read_reading
from adapters.devices.reason import Reason
from fhir_server import gate
from fhir_server.errors import BadRequest, TooLarge

ACCOUNT: Final = "urn:predmp:devices:account:openmhealth"
"""Identifier system of the Device that stands for an account: its value is `header.user_id`."""

NAMESPACES: Final = frozenset({"omh", "ieee", "ieee-1752"})
SECONDS: Final = MappingProxyType({"sec": 1, "min": 60, "h": 3600, "d": 86_400, "wk": 604_800})


class Field(NamedTuple):
    """A quantity of a data point's body."""

    name: str
    loinc: str


class Schema(NamedTuple):
    """What a body of one schema says."""

    fields: tuple[Field, ...]
    panel: str = ""  # LOINC of the panel that the fields are components of
    unit: str = ""  # of a value that is a bare number


SCHEMAS: Final = MappingProxyType(
    {
        "blood-pressure": Schema(
            (Field("systolic_blood_pressure", "8480-6"), Field("diastolic_blood_pressure", "8462-4")), panel="85354-9"
        ),
        "heart-rate": Schema((Field("heart_rate", "8867-4"),)),
        "respiratory-rate": Schema((Field("respiratory_rate", "9279-1"),)),
        "oxygen-saturation": Schema((Field("oxygen_saturation", "2708-6"),)),
        "body-temperature": Schema((Field("body_temperature", "8310-5"),)),
        "body-weight": Schema((Field("body_weight", "29463-7"),)),
        "body-height": Schema((Field("body_height", "8302-2"),)),
        "body-mass-index": Schema((Field("body_mass_index", "39156-5"),)),
        "body-fat-percentage": Schema((Field("body_fat_percentage", "41982-0"),)),
        "blood-glucose": Schema((Field("blood_glucose", "2339-0"),)),
        "step-count": Schema((Field("step_count", "55423-8"),), unit="{steps}"),
        "calories-burned": Schema((Field("kcal_burned", "41981-2"),)),
        "rr-interval": Schema((Field("rr_interval", "8637-1"),)),
        "sleep-duration": Schema((Field("sleep_duration", "93832-4"),)),
        "total-sleep-time": Schema((Field("total_sleep_time", "93832-4"),)),
    }
)
UNITS: Final = MappingProxyType(
    {"C": "Cel", "F": "[degF]", "oz": "[oz_av]", "yd": "[yd_i]", "mi": "[mi_i]", "steps": "{steps}", "sec": "s"}
)
"""Units of the schemas whose UCUM code differs and that mean something else, or nothing, elsewhere."""

_GLUCOSE: Final = MappingProxyType(
    {
        # Specimen -> LOINC in mg/dL, in mmol/L. Saliva, sweat, tears and urine, which the schema names, are no blood.
        "": ("2339-0", "15074-8"),
        "whole blood": ("2339-0", "15074-8"),
        "capillary blood": ("41653-7", "14743-9"),
        "interstitial fluid": ("99504-3", "105272-9"),
        "plasma": ("2345-7", "14749-6"),
        "serum": ("2345-7", "14749-6"),
    }
)
PULSE_OXIMETRY: Final = "pulse oximetry"
_READ: Final = frozenset(
    {"effective_time_frame", "measurement_location", "measurement_method", "specimen_source", "blood_specimen_type"}
)
_SITES: Final = MappingProxyType({"oral": "8331-1", "tympanic": "8333-7", "rectal": "8332-9", "axillary": "8328-7"})


def is_point(value: Any) -> bool:
    """Whether a parsed body has the shape of a data point, or of a list of them."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and isinstance(first.get("header"), dict) and "body" in first


def read_points(body: Any, *, device: DeviceName | None = None) -> tuple[Message, ...]:
    """Read a parsed data point, or a list of them.

    Args:
        body: JSON through the parser gate.
        device: Whose readings they are; None: of the account that each header's `user_id` names.

    Returns:
        One message a device, in the order of the points.

    Raises:
        BadRequest: It is no data point, or one names no user where no device is given.
        TooLarge: There are more than 1,000.
    """
    points = body if isinstance(body, list) else [body]
    if not points or not all(is_point(point) for point in points):
        raise BadRequest("A data point is an object with header and body.")
    if len(points) > MAX_READINGS:
        raise TooLarge(f"A message has at most {MAX_READINGS} data points.")
    made: dict[DeviceName, list[Received]] = {}
    for point in points:
        made.setdefault(device or _account(point["header"]), []).append(_received(point))
    return tuple(Message(name, tuple(readings)) for name, readings in made.items())


def _account(header: Mapping[str, Any]) -> DeviceName:
    user = header.get("user_id")
    if not isinstance(user, str) or not is_text(user):
        raise BadRequest("The header names no user_id, and no device was given by ?device=system|value.")
    return DeviceName(ACCOUNT, user)


def _received(point: Mapping[str, Any]) -> Received:
    raw = _reading(point)
    return Received(point, raw) if isinstance(raw, Reason) else Received(raw, read_reading(raw))


def _reading(point: Mapping[str, Any]) -> dict[str, Any] | Reason:
    """Return a data point as the canonical reading, or why it is none."""
    header, body = point["header"], point["body"]
    named = header.get("schema_id")
    if not isinstance(named, dict) or not isinstance(body, dict):
        return reason.MALFORMED
    schema = SCHEMAS.get(str(named.get("name"))) if str(named.get("namespace")) in NAMESPACES else None
    if schema is None:
        return reason.SCHEMA_UNKNOWN
    if "descriptive_statistic" in body:
        return reason.STATISTIC
    if "blood_glucose" in body and _specimen(body) not in _GLUCOSE:
        return reason.CODE_UNKNOWN
    parts = [_part(field, schema, body) for field in schema.fields]
    if any(part is None for part in parts):
        is_there = all(field.name in body for field in schema.fields)
        return reason.MALFORMED if is_there or not schema.panel else reason.COMPONENT_MISSING
    times = _times(body.get("effective_time_frame"))
    if isinstance(times, Reason):
        return times
    id = header.get("id", header.get("uuid"))
    shown = {"components": parts, "code": schema.panel} if schema.panel else dict(parts[0] or {})
    told = {"status": ["manual"]} if _is_self_reported(header) else {}
    return {**shown, **times, **told, **_beside(schema, body), **({"id": id} if id is not None else {})}


def _beside(schema: Schema, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return where, how and in which circumstances it was measured."""
    made: dict[str, Any] = {}
    site, method = body.get("measurement_location"), body.get("measurement_method")
    if site is not None and not ("body_temperature" in body and isinstance(site, str) and site in _SITES):
        made["site"] = site
    if method is not None and not ("oxygen_saturation" in body and method == PULSE_OXIMETRY):
        made["method"] = method
    known = {*_READ, *(field.name for field in schema.fields)}
    notes = [note for name, value in sorted(body.items()) if name not in known for note in _notes(name, value)]
    if len(notes) > MAX_NOTES:  # a measurement does not wait for long words; that some are left out is told
        left = sum(len(note) for note in notes[MAX_NOTES - 1 :])
        notes = [*notes[: MAX_NOTES - 1], f"(et {left} autres caractères, non conservés)"]
    return {**made, "note": notes} if notes else made


def _notes(name: str, value: Any) -> list[str]:
    """Return a field of the body in words, in as many notes as it is long."""
    if isinstance(value, dict) and value.keys() == {"value", "unit"}:
        value = f"{value['value']} {value['unit']}"
    text = value if isinstance(value, str) else gate.write(value).decode()
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in f"{name}: {text}").split())
    return wrap(line, MAX_TEXT)


def _is_self_reported(header: Mapping[str, Any]) -> bool:
    """Whether a person told the value: IEEE 1752.1 says so in the header, Open mHealth in its provenance."""
    provenance = header.get("acquisition_provenance")
    told = provenance.get("modality") if isinstance(provenance, dict) else None
    return "self-reported" in (header.get("modality"), told)


def _part(field: Field, schema: Schema, body: Mapping[str, Any]) -> dict[str, Any] | None:
    quantity = body.get(field.name)
    if schema.unit and decimal_of(quantity) is not None:
        quantity = {"value": quantity, "unit": schema.unit}  # step-count before version 3
    if not isinstance(quantity, dict) or not isinstance(unit := quantity.get("unit"), str):
        return None
    return {"code": _code(field, unit, body), "value": quantity.get("value"), "unit": UNITS.get(unit, unit)}


def _specimen(body: Mapping[str, Any]) -> str:
    """Return what glucose was measured in; "" where it is not told (it was `blood_specimen_type` before version 2)."""
    return str(body.get("specimen_source", body.get("blood_specimen_type", "")))


def _code(field: Field, unit: str, body: Mapping[str, Any]) -> str:
    """Return the LOINC code, narrowed by where the specimen or the temperature was taken."""
    if field.name == "blood_glucose":
        mass, moles = _GLUCOSE[_specimen(body)]
        return moles if unit.lower() == "mmol/l" else mass
    if field.name == "oxygen_saturation" and body.get("measurement_method") == PULSE_OXIMETRY:
        return "59408-5"
    site = body.get("measurement_location")
    if field.name == "body_temperature" and isinstance(site, str):
        narrowed = _SITES.get(site, field.loinc)
        return narrowed if measures_of("loinc", narrowed) else field.loinc
    return field.loinc


def _times(frame: Any) -> dict[str, str] | Reason:
    """Return `at`, and `end` of an interval; a date or a part of a day is no time that a reading can have."""
    if not isinstance(frame, dict):
        return reason.TIME_UNREADABLE
    if isinstance(at := frame.get("date_time"), str):
        return {"at": at}
    interval = frame.get("time_interval")
    if not isinstance(interval, dict):
        return reason.TIME_UNREADABLE
    start, end = _instant(interval.get("start_date_time")), _instant(interval.get("end_date_time"))
    length = _length(interval.get("duration"))
    if start is not None and end is not None:
        return {"at": interval["start_date_time"], "end": interval["end_date_time"]}
    if start is not None and length is not None:
        return {"at": interval["start_date_time"], "end": written(start + length)}
    if end is not None and length is not None:
        return {"at": written(end - length), "end": interval["end_date_time"]}
    return reason.TIME_UNREADABLE


def _instant(text: Any) -> int | None:
    return exact(text) if isinstance(text, str) else None


def _length(duration: Any) -> int | None:
    """Return a duration in microseconds."""
    if not isinstance(duration, dict):
        return None
    value, unit = decimal_of(duration.get("value")), duration.get("unit")
    factor = SECONDS.get(unit) if isinstance(unit, str) else None
    if value is None or factor is None or not Decimal(0) <= value <= 10_000_000:
        return None
    return int(value * factor * 1_000_000)

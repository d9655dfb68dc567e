"""Observations of a FHIR payload (one, or those of a Bundle) as canonical messages.

On the ways of devices an Observation is a reading: whose it is comes from the hub, units and bounds are looked at, a
copy is known. What the canonical record cannot hold is not filed in part: such an Observation is kept aside whole, and
`/fhir` takes it as it is. Source: https://hl7.org/fhir/uv/phd/ and https://hl7.org/fhir/R4/observation.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from adapters.devices import reason
from adapters.devices.correction import REFERENCE as CLOCK
from adapters.devices.correction import offset_of, read_coincident
from adapters.devices.instant import exact, moved
from adapters.devices.measure import measures_of, panel_of
from adapters.devices.message import MAX_READINGS, REFERENCE, Message, Received
from adapters.devices.observation import ABSENT, GATEWAY, REASON, SUPPLEMENTAL
from adapters.devices.ownership import local_of
from adapters.devices.reading import Clock, DeviceName
from adapters.devices.reading_json import LOINC, MAX_NOTES, MAX_TEXT, MDC, is_text, read_reading
from adapters.devices.reason import Reason
from adapters.devices.status import INTERPRETATION, STATUSES
from fhir_server.errors import BadRequest, TooLarge

TAKEN: Final = frozenset({"final", "preliminary"})  # statuses of a reading
_BESIDE: Final = frozenset({"Device", "Patient", "Provenance"})  # may stand in the Bundle; the hub has its own
_VALUES: Final = ("valueQuantity", "valueCodeableConcept", "valueSampledData", "dataAbsentReason")

# What the canonical record holds, or the hub works out by itself.
_HELD: Final = frozenset(
    {
        "resourceType", "id", "meta", "language", "text", "contained", "identifier", "status", "category", "code",
        "subject", "effectiveDateTime", "effectiveInstant", "effectivePeriod", "issued", "performer", "device",
        "component", "extension", "interpretation", "derivedFrom", "bodySite", "method", "note", *_VALUES,
    }
)  # fmt: skip
_INTERPRETED: Final = MappingProxyType(
    {status.interpretation: name for name, status in STATUSES.items() if status.interpretation}
)
_SAMPLED: Final = MappingProxyType(
    {
        "period": "period", "data": "data", "factor": "factor", "lowerLimit": "low", "upperLimit": "high",
        "dimensions": "dimensions",
    }
)  # fmt: skip

Held = Mapping[str, Mapping[str, Any]]  # resources of a payload by fullUrl and by Type/id


class _Names(NamedTuple):
    """What an Observation names beside its value; readings that name the same are one message."""

    device: DeviceName
    gateway: DeviceName | None
    patient: DeviceName | None
    clock: Clock | None  # what the Observation tells that it points to


def read_resource(resource: Any, *, device: DeviceName | None = None, base: str = "") -> tuple[Message, ...]:
    """Read a parsed Observation or Bundle.

    Args:
        resource: JSON through the parser gate.
        device: Whose readings those are that name no device.
        base: Of this hub's own references, where they are absolute.

    Raises:
        BadRequest: It is neither, holds no Observation, or one names no device.
        TooLarge: It has more than 1,000 entries.
    """
    held = _resources(resource)
    observations = [item for _, item in held if item.get("resourceType") == "Observation"]
    if not observations or any(str(item.get("resourceType")) not in {"Observation", *_BESIDE} for _, item in held):
        raise BadRequest("Of FHIR, Observations are taken here, one or in a Bundle with their Device and Patient.")
    known = {key: item for url, item in held for key in (url, f"{item.get('resourceType')}/{item.get('id')}") if key}
    made: dict[_Names, list[Received]] = {}
    told = {_target(reference) for item in observations for reference in _told(item)}
    clocks = [known[target] for target in told & known.keys()]
    for observation in observations:
        if any(observation is clock for clock in clocks) and read_coincident(observation):
            continue  # it stands in the messages of those that point to it
        near = {f"#{item.get('id')}": item for item in _dicts(observation.get("contained"))} | known
        name = _named_or_ours(observation.get("device"), near, "Device", base) or device
        if name is None:
            raise BadRequest("An Observation names no device by an identifier, nor one of this hub.")
        gateway = _named_or_ours(_beside(observation, GATEWAY), near, "Device", base)
        told_by = {read_coincident(near.get(_target(reference), {})) for reference in _told(observation)}
        clock = told_by.pop() if len(told_by) == 1 else None
        is_whole = not told_by and bool(clock) == bool(_told(observation)) and _is_held(observation, gateway)
        raw = _reading(observation, clock) if is_whole else reason.FORMAT_UNKNOWN
        names = _Names(name, gateway, _named_or_ours(observation.get("subject"), near, "Patient", base), clock)
        made.setdefault(names, []).append(
            Received(observation, raw) if isinstance(raw, Reason) else Received(raw, read_reading(raw))
        )
    return tuple(
        Message(names.device, tuple(readings), gateway=names.gateway, clock=names.clock, patient=names.patient)
        for names, readings in made.items()
    )


def _resources(resource: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the resources of a payload with their fullUrls."""
    if not isinstance(resource, dict):
        raise BadRequest("A FHIR resource is a JSON object.")
    if resource.get("resourceType") != "Bundle":
        return [("", resource)]
    entries = resource.get("entry")
    if not isinstance(entries, list):
        raise BadRequest("The Bundle has no entries.")
    if len(entries) > MAX_READINGS:
        raise TooLarge(f"A message has at most {MAX_READINGS} entries.")
    if not all(isinstance(entry, dict) and isinstance(entry.get("resource"), dict) for entry in entries):
        raise BadRequest("Each entry of the Bundle holds a resource.")
    return [(str(entry.get("fullUrl", "")), entry["resource"]) for entry in entries]


def _named(reference: Any, near: Held) -> DeviceName | None:
    """Return the identifier of what is referred to: of the reference itself, or of what it leads to in the payload."""
    if not isinstance(reference, dict):
        return None
    if name := _name(reference.get("identifier")):
        return name
    target = reference.get("reference")
    found = near.get(target) if isinstance(target, str) else None
    names = [name for item in _dicts((found or {}).get("identifier")) if (name := _name(item))]
    return names[0] if names else None


def _name(identifier: Any) -> DeviceName | None:
    if not isinstance(identifier, dict):
        return None
    system, value = identifier.get("system"), identifier.get("value")
    return DeviceName(str(system), str(value)) if is_text(system) and is_text(value) else None


def _named_or_ours(reference: Any, near: Held, type: str, base: str) -> DeviceName | None:
    """Return what is referred to by its identifier; what is not in the payload is meant to be this hub's."""
    if name := _named(reference, near):
        return name
    target = local_of(reference, base)
    is_ours = target.startswith(f"{type}/") and _target(reference) not in near and is_text(target)
    return DeviceName(REFERENCE, target) if is_ours else None


def _beside(observation: Mapping[str, Any], url: str) -> Any:
    """Return the reference of an extension."""
    found = [item.get("valueReference") for item in _dicts(observation.get("extension")) if item.get("url") == url]
    return found[0] if len(found) == 1 else None


def _told(observation: Mapping[str, Any]) -> list[Any]:
    """Return the references to what tells of the device's clock: an extension before version 2 of the guide."""
    derived = observation.get("derivedFrom", [])
    extensions = _dicts(observation.get("extension"))
    before = [item.get("valueReference") for item in extensions if item.get("url") == CLOCK]
    return [*before, *(derived if isinstance(derived, list) else [derived])]


def _is_held(observation: Mapping[str, Any], gateway: DeviceName | None) -> bool:
    """Whether the extensions are its gateway and its clock, and nothing else."""
    extensions = observation.get("extension", [])
    if not isinstance(extensions, list) or not all(isinstance(item, dict) for item in extensions):
        return False
    urls = [item.get("url") for item in extensions]
    return all(url in (GATEWAY, CLOCK) for url in urls) and urls.count(GATEWAY) == (gateway is not None)


def _target(reference: Any) -> str:
    target = reference.get("reference") if isinstance(reference, dict) else None
    return target if isinstance(target, str) else ""


def _reading(observation: Mapping[str, Any], clock: Clock | None) -> dict[str, Any] | Reason:
    """Return an Observation as the canonical reading, or why it is none."""
    statuses, manner = _statuses(observation), _manner(observation)
    if observation.keys() - _HELD or str(observation.get("status")) not in TAKEN or statuses is None or manner is None:
        return reason.FORMAT_UNKNOWN
    codings = _codings(observation.get("code"))
    if not codings:
        return reason.CODE_UNKNOWN
    beside = {**_times(observation, clock), **_id(observation), **({"status": statuses} if statuses else {}), **manner}
    for system, code in codings:
        value = _value(observation, system)
        if value is not None:
            return {"system": system, "code": code, **beside, **value}
    return reason.FORMAT_UNKNOWN


def _statuses(observation: Mapping[str, Any]) -> list[str] | None:
    """Return the status bits that status, interpretation and labels mean; None where one of them means no such bit."""
    made = ["early"] if observation.get("status") == "preliminary" else []
    meta = observation.get("meta")
    for label in _dicts(meta.get("security") if isinstance(meta, dict) else None):
        if (label.get("system"), label.get("code")) != (REASON, "HTEST"):
            return None
        made.append("test")
    for concept in _dicts(observation.get("interpretation")):
        names = [
            _INTERPRETED.get(str(coding.get("code")))
            for coding in _dicts(concept.get("coding"))
            if coding.get("system") == INTERPRETATION
        ]
        if len(names) != 1 or names[0] is None:
            return None
        made.append(names[0])
    return list(dict.fromkeys(made))


def _manner(observation: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return where and how it was measured, and its notes; None where they say more than a reading holds."""
    made: dict[str, Any] = {}
    for name, ours in (("bodySite", "site"), ("method", "method")):
        if name in observation:
            made[ours] = _concept(observation[name])
    if "note" in observation:
        notes = observation["note"]
        is_plain = isinstance(notes, list) and all(isinstance(item, dict) and item.keys() == {"text"} for item in notes)
        texts = [item["text"] for item in notes] if is_plain else []
        made["note"] = texts if 0 < len(texts) <= MAX_NOTES and all(is_text(text) for text in texts) else None
    return None if None in made.values() else made


def _concept(concept: Any) -> dict[str, Any] | None:
    """Return a concept of one coding, or of a text alone."""
    if not isinstance(concept, dict) or concept.keys() - {"coding", "text"}:
        return None
    codings = _dicts(concept.get("coding"))
    if not codings:
        return {"text": concept["text"]} if concept.keys() == {"text"} else None
    if (
        len(codings) != 1
        or codings[0].keys() - {"system", "code", "display"}
        or not {"system", "code"} <= codings[0].keys()
    ):
        return None
    text = concept.get("text", codings[0].get("display"))
    return {"system": codings[0]["system"], "code": codings[0]["code"], **({"text": text} if text is not None else {})}


def _codings(concept: Any) -> list[tuple[str, str]]:
    """Return the codings that may be read: of those in the table MDC first, then the narrowest of LOINC."""
    found: list[tuple[str, str]] = []
    for coding in _dicts(concept.get("coding") if isinstance(concept, dict) else None):
        for system, uri in (("mdc", MDC), ("loinc", LOINC)):
            if coding.get("system") == uri and isinstance(code := coding.get("code"), str):
                found.append((system, code))
    return sorted(found, key=_rank)


def _rank(coding: tuple[str, str]) -> tuple[bool, bool, int]:
    measures = measures_of(*coding)
    is_known = bool(measures) or panel_of(*coding) is not None
    return (not is_known, coding[0] != "mdc", -max((len(measure.loinc) for measure in measures), default=0))


def _value(observation: Mapping[str, Any], system: str) -> dict[str, Any] | None:
    """Return the value with its supplemental types; None where it is none that a reading can hold in that system."""
    items = observation.get("component", [])
    given = [name for name in _VALUES if name in observation]
    if not isinstance(items, list) or len(given) > 1:
        return None
    types = [code for item in items if (code := _type(item))]
    parts = [_component(item, system) for item in items if not _type(item)]
    if None in parts or (parts and given):
        return None
    made = {"components": parts} if parts else _single(observation, given[0]) if given else {}
    return None if made is None else {**made, **({"types": types} if types else {})}


def _single(holder: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = holder[name]
    if name == "valueQuantity":
        return _quantity(value)
    if not isinstance(value, dict):
        return None
    if name == "valueSampledData":
        origin: Any = value.get("origin")
        is_there = isinstance(origin, dict)
        unit = {"unit": origin.get("code", origin.get("unit")), "origin": origin.get("value")} if is_there else {}
        return {"samples": {**unit, **{ours: value[key] for key, ours in _SAMPLED.items() if key in value}}}
    codings = _dicts(value.get("coding"))
    if name == "dataAbsentReason":
        codes = [str(coding.get("code")) for coding in codings if coding.get("system") == ABSENT]
        return {"absent": codes[0]} if codes else None
    if len(codings) != 1:
        return None
    coded = {"system": codings[0].get("system"), "code": codings[0].get("code"), "text": value.get("text")}
    return {"coded": {key: text for key, text in coded.items() if text is not None}}


def _type(item: Any) -> str:
    """Return the supplemental type that a component tells; "" where it tells another thing."""
    if not isinstance(item, dict) or item.keys() != {"code", "valueCodeableConcept"}:
        return ""
    told, value = _codings(item["code"]), _codings(item["valueCodeableConcept"])
    return value[0][1] if told == [("mdc", SUPPLEMENTAL)] and len(value) == 1 and value[0][0] == "mdc" else ""


def _component(component: Any, system: str) -> dict[str, Any] | None:
    if not isinstance(component, dict) or len(component) != 2 or "code" not in component:
        return None
    codes = [code for its_system, code in _codings(component["code"]) if its_system == system]
    (name,) = component.keys() - {"code"}
    value = _single(component, name) if codes and name in ("valueQuantity", "dataAbsentReason") else None
    return {"code": codes[0], **value} if value is not None else None


def _quantity(quantity: Any) -> dict[str, Any]:
    """Return value and unit; a code of UCUM is the unit, before what is shown."""
    if not isinstance(quantity, dict):
        return {}
    unit = quantity.get("code", quantity.get("unit"))
    value = quantity.get("value")
    made = {"value": value} if value is not None else {}
    # A comparator means that the true value is another one: no number that can be filed.
    if "comparator" in quantity:
        made = {"value": f"{quantity['comparator']}{value}"}
    return {**made, **({"unit": unit} if unit is not None else {})}


def _times(observation: Mapping[str, Any], clock: Clock | None) -> dict[str, Any]:
    """Return the times by the device's own clock: its gateway wrote them as it had put them right."""
    period = observation.get("effectivePeriod")
    if isinstance(period, dict):
        made = {key: period[name] for key, name in (("at", "start"), ("end", "end")) if name in period}
    else:
        times = [observation[name] for name in ("effectiveDateTime", "effectiveInstant") if name in observation]
        made = {"at": times[0]} if times else {}
    offset = offset_of(clock) if clock else 0
    if not clock or not offset:
        return made
    return {key: _by_device(text, offset, clock) for key, text in made.items()}


def _by_device(text: Any, offset: int, clock: Clock) -> Any:
    """Return a time by the device's own clock; what is none, or has none in the calendar, is found unreadable."""
    if not isinstance(text, str) or exact(text) is None:
        return text
    try:
        return moved(text, -offset, clock.device)
    except OverflowError:
        return "out of range"


def _id(observation: Mapping[str, Any]) -> dict[str, str]:
    """Return the sender's own id: the first identifier, its system with it."""
    for identifier in _dicts(observation.get("identifier")):
        if is_text(identifier.get("value")):
            return {"id": f"{identifier.get('system', '')}|{identifier['value']}"[:MAX_TEXT]}
    return {}


def _dicts(value: Any) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []

"""Observations of a FHIR payload (one, or those of a Bundle) as canonical messages.

On the ways of devices an Observation is a reading: whose it is comes from the hub, units and bounds are looked at, a
copy is known. What the canonical record cannot hold is not filed in part: such an Observation is kept aside whole, and
`/fhir` takes it as it is. Source: https://hl7.org/fhir/uv/phd/ and https://hl7.org/fhir/R4/observation.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.devices import reason
from adapters.devices.message import MAX_READINGS, Message, Received
from adapters.devices.reading import DeviceName
from adapters.devices.reading_json import MAX_TEXT, is_text, read_reading
from adapters.devices.reason import Reason
from fhir_server.errors import BadRequest, TooLarge

MDC: Final = "urn:iso:std:iso:11073:10101"
LOINC: Final = "http://loinc.org"
TAKEN: Final = frozenset({"final", "preliminary"})  # statuses of a reading
_BESIDE: Final = frozenset({"Device", "Patient", "Provenance"})  # may stand in the Bundle; the hub has its own

# What the canonical record holds, or the hub works out by itself.
_HELD: Final = frozenset(
    {
        "resourceType", "id", "meta", "text", "contained", "identifier", "status", "category", "code", "subject",
        "effectiveDateTime", "effectivePeriod", "issued", "performer", "device", "valueQuantity", "component",
    }
)  # fmt: skip


def read_resource(resource: Any, *, device: DeviceName | None = None) -> tuple[Message, ...]:
    """Read a parsed Observation or Bundle.

    Args:
        resource: JSON through the parser gate.
        device: Whose readings those are that name no device.

    Raises:
        BadRequest: It is neither, holds no Observation, or one names no device by an identifier.
        TooLarge: It has more than 1,000 entries.
    """
    held = _resources(resource)
    observations = [item for _, item in held if item.get("resourceType") == "Observation"]
    if not observations or any(item.get("resourceType") not in {"Observation", *_BESIDE} for _, item in held):
        raise BadRequest("Of FHIR, Observations are taken here, one or in a Bundle with their Device and Patient.")
    known = {key: item for url, item in held for key in (url, f"{item.get('resourceType')}/{item.get('id')}") if key}
    made: dict[DeviceName, list[Received]] = {}
    for observation in observations:
        name = _device(observation, known) or device
        if name is None:
            raise BadRequest("An Observation names no device by an identifier.")
        made.setdefault(name, []).append(_received(observation))
    return tuple(Message(name, tuple(readings)) for name, readings in made.items())


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


def _device(observation: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> DeviceName | None:
    """Return the identifier of the device: of the reference itself, or of the Device it leads to in the payload."""
    reference = observation.get("device")
    if not isinstance(reference, dict):
        return None
    if name := _name(reference.get("identifier")):
        return name
    target = reference.get("reference")
    contained = observation.get("contained")
    held = {f"#{item.get('id')}": item for item in _dicts(contained)} | dict(known)
    found = held.get(target) if isinstance(target, str) else None
    names = [name for item in _dicts((found or {}).get("identifier")) if (name := _name(item))]
    return names[0] if names else None


def _name(identifier: Any) -> DeviceName | None:
    if not isinstance(identifier, dict):
        return None
    system, value = identifier.get("system"), identifier.get("value")
    return DeviceName(str(system), str(value)) if is_text(system) and is_text(value) else None


def _received(observation: Mapping[str, Any]) -> Received:
    raw = _reading(observation)
    return Received(observation, raw) if isinstance(raw, Reason) else Received(raw, read_reading(raw))


def _reading(observation: Mapping[str, Any]) -> dict[str, Any] | Reason:
    """Return an Observation as the canonical reading, or why it is none."""
    if observation.keys() - _HELD or observation.get("status") not in TAKEN:
        return reason.FORMAT_UNKNOWN
    coding = _coding(observation.get("code"))
    if coding is None:
        return reason.CODE_UNKNOWN
    system, code = coding
    made: dict[str, Any] = {"system": system, "code": code, **_times(observation), **_id(observation)}
    if observation["status"] == "preliminary":
        made["status"] = ["early"]
    components = observation.get("component")
    if components is None:
        return made | _quantity(observation.get("valueQuantity"))
    if "valueQuantity" in observation or not isinstance(components, list):
        return reason.MALFORMED
    parts = [_component(component, system) for component in components]
    return made | {"components": parts} if all(part is not None for part in parts) else reason.FORMAT_UNKNOWN


def _component(component: Any, system: str) -> dict[str, Any] | None:
    if not isinstance(component, dict) or component.keys() != {"code", "valueQuantity"}:
        return None
    coding = _coding(component["code"], system)
    return {"code": coding[1], **_quantity(component["valueQuantity"])} if coding else None


def _coding(concept: Any, wanted: str = "") -> tuple[str, str] | None:
    """Return the LOINC coding of a concept, else the MDC one; or the wanted system's."""
    codings = _dicts(concept.get("coding")) if isinstance(concept, dict) else []
    for system, uri in (("loinc", LOINC), ("mdc", MDC)):
        for coding in codings:
            code = coding.get("code")
            if coding.get("system") == uri and isinstance(code, str) and wanted in ("", system):
                return system, code
    return None


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


def _times(observation: Mapping[str, Any]) -> dict[str, Any]:
    period = observation.get("effectivePeriod")
    if isinstance(period, dict):
        return {key: period[name] for key, name in (("at", "start"), ("end", "end")) if name in period}
    return {"at": observation["effectiveDateTime"]} if "effectiveDateTime" in observation else {}


def _id(observation: Mapping[str, Any]) -> dict[str, str]:
    """Return the sender's own id: the first identifier, its system with it."""
    for identifier in _dicts(observation.get("identifier")):
        if is_text(identifier.get("value")):
            return {"id": f"{identifier.get('system', '')}|{identifier['value']}"[:MAX_TEXT]}
    return {}


def _dicts(value: Any) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []

"""IHE PCD-01: what a device measured, in the tree that OBX-4 makes of device, part, channel, measure and facet.

Rows without type and value declare the device and its parts; the others are results. A result belongs to the nearest
part above it. Systolic, diastolic and mean pressure of one place in the tree and one time are one Observation;
facets (rows below a result) are its components. Source: IHE PCD TF-2, DEC PCD-01, as far as it is public knowledge;
which statuses a device may set (OBX-8) follows the Personal Health Device guide, https://hl7.org/fhir/uv/phd/.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from adapters.hl7 import vitals
from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded
from adapters.hl7.group import Group
from adapters.hl7.ids import made_id, unique
from adapters.hl7.maps import mdc, taking_part
from adapters.hl7.maps import obr as obr_map
from adapters.hl7.maps import obx as obx_map
from adapters.hl7.position import Told, arrange
from adapters.hl7.pressure import PRESSURE_CODE, combined
from adapters.hl7.results import Report
from adapters.hl7.tokens import Segment, part
from adapters.hl7.wanted import Wanted

Path: TypeAlias = tuple[str, ...]
PROFILES: Final = ("IHE_PCD_", "PCD_DEC_")
SYSTEM_ID: Final = "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680"
"""Identifier system of EUI-64 numbers. Source: Personal Health Device guide, SYSID."""
METRIC_CATEGORY: Final = "measurement"
ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
TEST_DATA: Final = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}
INVALID: Final = {"INV": "error", "NAV": "not-performed"}
"""OBX-8 of a device -> why there is no value that can be used."""
MANNER: Final = {17: "method", 20: "bodySite"}
"""Fields of OBX that a component of an Observation has no place for."""


class Leaf(NamedTuple):
    """A result of a device."""

    told: Told
    path: Path
    code: str  # MDC
    observation: Json
    time: str


class Parts(NamedTuple):
    """The device and its parts, by their place in the tree."""

    devices: dict[Path, Json]
    headers: dict[Path, Segment]


def is_from_device(root: Group) -> bool:
    """Whether a message says that it follows PCD-01: in MSH-21, else by MDC codes in a tree of OBX-4."""
    for segment in root.walk():
        if segment.name == "MSH" and segment.raw(21) and any(t.startswith(PROFILES) for t in segment.texts(21)):
            return True
        if segment.name == "OBX":
            return "MDC" in segment.raw(3) and segment.text(3, 3) == "MDC" and "." in segment.text(4)
    return False


def read_device_order(context: Context, group: Group, patient: tuple[str, str], message: str) -> Report:
    """Convert one order group of a device.

    Args:
        context: Where problems are noted and segments taken.
        group: ORDER_OBSERVATION of an ORU_R01.
        patient: System and value of the patient's identifier.
        message: What identifies the message, for results without a time.
    """
    ordered = arrange(group.walk())
    obr = ordered.obr.segment if ordered.obr else None
    observed = ""
    if obr is not None:
        context.take(obr, frozenset({1, 2, 3, 4, 7, 8}))
        when = obr_map.observed(context, obr)
        observed = when.get("effectiveDateTime") or when.get("effectivePeriod", {}).get("start", "")
    parts = parts_of(context, ordered.results)
    leaves = [leaf_of(context, told, parts, observed) for told in ordered.results if not is_header(told.segment)]
    kept = [one for one in leaves if not _is_control(context, one)]
    made = Report(None, segment=obr)
    made.further = [
        Wanted(one, parts.headers[path], "fill", False, number_of(one)) for path, one in parts.devices.items()
    ]
    for leaf in kept:
        if metric := _metric(leaf, parts):
            made.further.append(Wanted(metric, leaf.told.segment, "over"))
    for leaf, whole in _joined(kept):
        device = nearest(leaf.path, parts.devices)
        if device:
            whole["device"] = {"reference": f"Device/{device['id']}"}
        own = (context.tenant, *patient, device["id"] if device else context.facility_system, leaf.code)
        time = leaf.time or message
        id = unique(context, leaf.told.segment, ("Observation", "device", *own, ".".join(leaf.path), time))
        made.observations.append({**whole, "id": id})
        made.rows.append(leaf.told.segment)
    return made


def is_header(obx: Segment) -> bool:
    """Whether a row declares a device or a part of one: it has neither a type nor a value."""
    return not obx.raw(2) and not obx.raw(5)


def path_of(obx: Segment) -> Path:
    """Return OBX-4 without the zeros at its end."""
    steps = [step.strip() for step in obx.text(4).split(".")] if obx.text(4) else []
    while steps and not steps[-1].strip("0"):
        steps.pop()
    return tuple(steps)


def nearest(path: Path, found: dict[Path, Json]) -> Json | None:
    """Return the device or part that stands nearest above a place in the tree."""
    return next((found[path[:n]] for n in range(len(path), 0, -1) if path[:n] in found), None)


def _eui(segment: Segment) -> str:
    """Return the EUI-64 of OBX-18 as the guide writes it (sixteen digits, parted by dashes), "" where it has none."""
    for parts in segment.repetitions(18):
        texts = [part(parts, n) for n in (1, 2, 3, 4)]
        if "EUI-64" not in texts:
            continue
        digits = (texts[2] if texts[3] == "EUI-64" and texts[2] else texts[0]).replace("-", "").upper()
        if len(digits) == 16 and not set(digits) - set("0123456789ABCDEF"):
            return "-".join(digits[n : n + 2] for n in range(0, 16, 2))
    return ""


def parts_of(context: Context, results: Sequence[Told]) -> Parts:
    """Return the devices that rows declare, and those that results name by their number alone."""
    parts = Parts({}, {})
    for told in sorted((t for t in results if is_header(t.segment)), key=lambda one: len(path_of(one.segment))):
        obx, path = told.segment, path_of(told.segment)
        context.take(obx, obx_map.USED)
        if not path or path in parts.headers:
            continue
        parts.headers[path] = obx
        # Of a gateway's own kind of device nothing is known but its number.
        if mdc.is_object(obx.text(3)) or (len(path) == 1 and _eui(obx)):
            parts.devices[path] = _device(context, obx, path, nearest(path, parts.devices))
    for told in results:
        path = path_of(told.segment)
        if not is_header(told.segment) and _eui(told.segment) and nearest(path, parts.devices) is None:
            top = path[:1] or ("",)
            parts.devices[top] = _device(context, told.segment, top, None, typed=False)
            parts.headers[top] = told.segment
    return parts


def _device(context: Context, obx: Segment, path: Path, above: Json | None, *, typed: bool = True) -> Json:
    made: Json = {"resourceType": "Device"}
    number = _eui(obx)
    if number:
        made["identifier"] = [{"system": SYSTEM_ID, "value": number}]
    if typed and (kind := coded(context, obx, 3, obx.first(3))):
        made["type"] = kind
    if above is not None:
        made["parent"] = {"reference": f"Device/{above['id']}"}
    root = (number,) if number else (above["id"] if above else context.facility_system, ".".join(path), obx.text(3))
    made["id"] = made_id("Device", context.tenant, *root)
    return made


def number_of(device: Json) -> tuple[str, str] | None:
    """Return system and value of a device's number, None where it has none."""
    own = device.get("identifier")
    return (own[0]["system"], own[0]["value"]) if own else None


def leaf_of(context: Context, told: Told, parts: Parts, observed: str) -> Leaf:
    """Read a result; its time is its own, else that of the row above it, else that of the order."""
    obx, path = told.segment, path_of(told.segment)
    context.take(obx, obx_map.USED)
    above = [parts.headers[path[:n]] for n in range(len(path), 0, -1) if path[:n] in parts.headers]
    times = [moment.text for header in above if (moment := context.moment(header, 14, header.text(14)))]
    made = obx_map.observation(context, obx, told.notes, times[0] if times else observed, obx_map.ANSWERS)
    if told.people:
        taking_part.take_part(context, told.people, made)
    if path[:-1] in parts.headers and path[:-1] not in parts.devices:
        _lay_manner(context, parts.headers[path[:-1]], made)
    code = obx.text(3)
    _lay_codes(made, code)
    if "valueQuantity" in made and not obx.raw(6):
        context.note(obx, 6, "unit-unknown")
    if obx.text(11) == "R" and context.device_final:
        made["status"] = "final"
    _lay_state(obx, made)
    return Leaf(told, path, code, made, made.get("effectiveDateTime", ""))


def _lay_manner(context: Context, header: Segment, made: Json) -> None:
    """Take method and place of the row that holds results together (150020), where a result has none of its own."""
    for field, name in MANNER.items():
        if name not in made and header.raw(field) and (found := coded(context, header, field, header.first(field))):
            made[name] = found


def _lay_codes(made: Json, code: str) -> None:
    """Put the LOINC codes before the device's own, and the category and unit that go with them."""
    found = mdc.measure(code, made.get("valueQuantity", {}).get("code", ""))
    if found is None:
        return
    known = {coding.get("code") for coding in made["code"].get("coding", ())}
    loinc = [{"system": obx_map.LOINC, "code": one} for one in found.loinc.split() if one not in known]
    if loinc:
        made["code"] = {**made["code"], "coding": [*loinc, *made["code"].get("coding", ())]}
    if found.category:
        made["category"] = [{"coding": [{"system": obx_map.CATEGORY, "code": found.category}]}]
    made.update(vitals.in_own_unit(obx_map.loinc(made["code"]), made))


def _lay_state(obx: Segment, made: Json) -> None:
    """Follow what the device says of its own measurement (OBX-8)."""
    states = {piece for text in obx.texts(8) for piece in text.replace("^", " ").split()}
    for state, reason in INVALID.items():
        if state in states:
            for name in [name for name in made if name.startswith("value") or name == "component"]:
                del made[name]
            made["dataAbsentReason"] = {"coding": [{"system": ABSENT, "code": reason}]}
            made["status"] = "entered-in-error" if state == "INV" else made["status"]
    if "TEST" in states:
        made["meta"] = {"security": [TEST_DATA]}


def _is_control(context: Context, leaf: Leaf) -> bool:
    if leaf.code not in mdc.CONTROL:
        return False
    context.note(leaf.told.segment, 3, "control-of-device", leaf.code)
    return True


def _metric(leaf: Leaf, parts: Parts) -> Json | None:
    """Return the channel of a device that a result comes from; facets have none of their own."""
    device = nearest(leaf.path, parts.devices)
    if device is None or len(leaf.path) > 4:
        return None
    made: Json = {"resourceType": "DeviceMetric", "type": leaf.observation["code"], "category": METRIC_CATEGORY}
    unit = leaf.observation.get("valueQuantity", {})
    if "code" in unit:
        made["unit"] = {"coding": [{"system": unit["system"], "code": unit["code"]}]}
    top = parts.devices.get(leaf.path[:1], device)
    made |= {"source": {"reference": f"Device/{top['id']}"}, "parent": {"reference": f"Device/{device['id']}"}}
    return {**made, "id": made_id("DeviceMetric", device["id"], leaf.code, ".".join(leaf.path))}


def _joined(leaves: Sequence[Leaf]) -> list[tuple[Leaf, Json]]:
    """Return the Observations: pressures of one place and time together, facets inside what they belong to."""
    made: list[tuple[Leaf, Json]] = []
    taken: set[int] = set()
    by_path = {leaf.path: leaf for leaf in leaves if leaf.path}
    facets: dict[Path, list[Leaf]] = {}
    for number, leaf in enumerate(leaves):
        if len(leaf.path) > 1 and leaf.path[:-1] in by_path:
            facets.setdefault(leaf.path[:-1], []).append(leaf)
            taken.add(number)
    pressures: dict[tuple[Path, str], dict[str, int]] = {}
    for number, leaf in enumerate(leaves):
        if number not in taken and leaf.code in (mdc.SYSTOLIC, mdc.DIASTOLIC, mdc.MEAN):
            pressures.setdefault((leaf.path[:-1], leaf.time), {}).setdefault(leaf.code, number)
    panels = {found[mdc.SYSTOLIC]: found for found in pressures.values() if {mdc.SYSTOLIC, mdc.DIASTOLIC} <= set(found)}
    for found in panels.values():
        taken |= set(found.values())
    for number, leaf in enumerate(leaves):
        if number in panels:
            order = [panels[number][code] for code in (mdc.SYSTOLIC, mdc.DIASTOLIC, mdc.MEAN) if code in panels[number]]
            made.append((leaf, _panel([leaves[n].observation for n in order])))
        elif number not in taken:
            inside = [_component(one.observation) for one in facets.get(leaf.path, ())]
            whole = {**leaf.observation, "component": [*leaf.observation.get("component", []), *inside]}
            made.append((leaf, whole if inside else leaf.observation))
    return made


INNER: Final = ("code", "interpretation", "referenceRange", "dataAbsentReason")


def _component(observation: Json) -> Json:
    return {name: item for name, item in observation.items() if name in INNER or name.startswith("value")}


def _panel(found: Sequence[Json]) -> Json:
    """Return a blood pressure as one Observation; its status is that of its parts together."""
    shared = {n: item for n, item in found[0].items() if n not in INNER and n != "note" and not n.startswith("value")}
    statuses = {one["status"] for one in found}
    code = {"coding": [*PRESSURE_CODE["coding"], {"system": mdc.SYSTEM, "code": mdc.PRESSURE}]}
    made = {**shared, "code": code, "component": [_component(one) for one in found]}
    made["status"] = combined(statuses)
    for name in MANNER.values():
        told = [one[name] for one in found if name in one]
        made |= {name: told[0]} if told else {}
    notes = [note for one in found for note in one.get("note", ())]
    return {**made, "note": notes} if notes else made

"""From Observations to readings: what was measured, in which unit, when; what cannot be used, and why.

Pure. Codes and units are those of rules/inputs.py. Statuses that count: R4 ObservationStatus, without
registered, cancelled, entered-in-error and unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from fhir_server.model import Resource
from triage_hooks.codes import ACVPU, LOINC, SNOMED, UCUM
from triage_hooks.engine import Reading
from triage_hooks.moment import span
from triage_hooks.rules.bands import Bound, Value
from triage_hooks.rules.inputs import BY_CODE, INPUTS, Input

STATUSES: Final = frozenset({"final", "amended", "corrected", "preliminary"})
PANELS: Final = ((LOINC, "85354-9"), (LOINC, "55284-4"))  # blood pressure, with its parts as components
DIASTOLIC: Final = (LOINC, "8462-4")
OXYGEN_FLOW: Final = "3151-8"
OXYGEN_CONCENTRATION: Final = "3150-6"
ROOM_AIR: Final = Decimal(21)  # % of oxygen

# SNOMED CT as in Care Connect's value set ACVPU (UK); LOINC answers as implementers of NEWS2 use them with
# 67775-7 (LA6560-2 is LOINC's own word for confused; that it belongs to that answer list was not checked).
CONSCIOUSNESS: Final[Mapping[tuple[str, str], str]] = {
    **{(ACVPU, letter): letter for letter in "ACVPU"},
    (LOINC, "LA9340-6"): "A",
    (LOINC, "LA6560-2"): "C",
    (LOINC, "LA17108-4"): "V",
    (LOINC, "LA17107-6"): "P",
    (LOINC, "LA9343-0"): "U",
    (SNOMED, "248234008"): "A",
    (SNOMED, "130987000"): "C",
    (SNOMED, "300202002"): "V",
    (SNOMED, "450847001"): "P",
    (SNOMED, "422768004"): "U",
}
YES_NO: Final[Mapping[tuple[str, str], bool]] = {
    (SNOMED, "373066001"): True,
    (SNOMED, "373067005"): False,
    ("http://terminology.hl7.org/CodeSystem/v2-0136", "Y"): True,
    ("http://terminology.hl7.org/CodeSystem/v2-0136", "N"): False,
}
# {beats}/min is /min: what UCUM writes in braces has no meaning (https://ucum.org/ucum §6).
_ANNOTATION = re.compile(r"\{[^{}]*\}")
_PATIENT = re.compile(r"(?:^|/)Patient/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?$")


def patient_of(resource: Resource, base_url: str, element: str = "subject") -> str:
    """Return the id of the Patient of this hub that a resource is about; "" where there is none."""
    return _patient_in(resource.get(element, {}).get("reference", ""), base_url)


@lru_cache(4096)
def _patient_in(reference: str, base_url: str) -> str:
    if "://" in reference and not reference.startswith(f"{base_url}/"):
        return ""
    found = _PATIENT.search(reference)
    return found[1] if found else ""


class Carried(NamedTuple):
    """An input that an Observation carries: where, and under which code."""

    part: Resource  # the Observation itself, or a component of it
    input: Input
    code: str


def carried(observation: Resource) -> list[Carried]:
    """Return what an Observation carries of the rules' inputs, by its code and its components'; quick."""
    found: list[Carried] = []
    parts: list[Resource] = [observation]
    components: list[Resource] | None = observation.get("component")
    if components:
        parts += components
    for part in parts:
        code: Resource | None = part.get("code")
        codings: list[Resource] | None = code.get("coding") if code else None
        if not codings:
            continue
        coding = codings[0]
        if len(codings) > 1:  # as seldom
            found += _several(part, codings)
        elif (text := coding.get("code")) in _NAMED and (one := _NAMED[text].get(coding.get("system", ""))):
            found.append(Carried(part, one, text))
    return found


def _several(part: Resource, codings: list[Resource]) -> list[Carried]:
    """Return the inputs that codings mean, each once, under the first code that says so."""
    found: dict[str, Carried] = {}
    for coding in codings:
        if item := BY_CODE.get((coding.get("system", ""), coding.get("code", ""))):
            found.setdefault(item.name, Carried(part, item, coding["code"]))
    return list(found.values())


def _named() -> dict[str, dict[str, Input]]:
    made: dict[str, dict[str, Input]] = {}
    for (system, code), item in BY_CODE.items():
        made.setdefault(code, {})[system] = item
    return made


_NAMED: Final = _named()  # code -> system -> input


def readings(observation: Resource, *, zone: tzinfo, now: int, parts: Sequence[Carried] | None = None) -> list[Reading]:
    """Return what an Observation says of the rules' inputs.

    Args:
        observation: With its id; of any code.
        zone: Of a date without a zone.
        now: Microseconds; the time of a measurement that states none, and the latest that a date can mean.
        parts: What it carries, where that was asked before.

    Returns:
        One reading for each input; nothing where the status says that it is no measurement.
    """
    if observation.get("status") not in STATUSES:
        return []
    if parts is None:
        parts = carried(observation)
    if not parts:
        return []
    at = measured_at(observation, zone=zone, now=now)
    reference = f"Observation/{observation.get('id', '')}"
    found: list[Reading] = []
    for part, item, code in parts:
        value, problem = _value(item, code, part)
        if item.name == "systolic_bp" and isinstance(value, Decimal) and not _above_diastolic(value, observation):
            value, problem = None, "implausible"
        found.append(Reading(item.name, at, value, reference, problem))
    return _merged(found) if len(found) > 1 else found


def measured_at(observation: Resource, *, zone: tzinfo, now: int) -> int:
    """Return when it was measured: effective, else issued, else now.

    A date without a time means the end of that day, or now where the day is not over: the set of one day is
    then judged together.
    """
    meant = span(observation.get("effectiveDateTime"), zone)
    if meant is None:
        meant = next((found for text in _other_times(observation) if (found := span(text, zone))), None)
    if meant is None:
        return now
    first, last = meant
    return first if first == last else max(first, min(last, now))


def _other_times(observation: Resource) -> Iterable[Any]:
    yield observation.get("effectiveInstant")
    period = observation.get("effectivePeriod") or {}
    yield period.get("end")
    yield period.get("start")
    yield observation.get("issued")


def _value(item: Input, code: str, part: Resource) -> tuple[Value | Bound | None, str]:
    if item.name == "on_oxygen":
        return _oxygen(code, part)
    if item.name == "consciousness":
        return _consciousness(part)
    return _number(item, item.unit, part)


def _number(item: Input, unit: str, part: Resource) -> tuple[Decimal | Bound | None, str]:
    quantity: Resource | None = part.get("valueQuantity")
    if not quantity or "value" not in quantity:
        return None, "absent" if part.get("dataAbsentReason") or not _has_value(part) else "unreadable"
    code = quantity.get("code", "")
    if quantity.get("system") != UCUM or (code != unit and _ANNOTATION.sub("", code) != unit):
        return None, "unit"
    value = Decimal(quantity["value"])
    if not item.low <= value <= item.high:
        return None, "implausible"
    comparator = quantity.get("comparator")
    return (Bound(comparator, value) if comparator else value), ""


def _has_value(part: Resource) -> bool:
    return any(key.startswith("value") for key in part)


def _oxygen(code: str, part: Resource) -> tuple[bool | None, str]:
    if code in (OXYGEN_FLOW, OXYGEN_CONCENTRATION):
        value, problem = _number(INPUTS["on_oxygen"], "L/min" if code == OXYGEN_FLOW else "%", part)
        if isinstance(value, Bound):  # "< 1 L/min" says neither yes nor no
            return None, "unreadable"
        return (None, problem) if value is None else (value > (0 if code == OXYGEN_FLOW else ROOM_AIR), "")
    if isinstance(part.get("valueBoolean"), bool):
        return part["valueBoolean"], ""
    return _coded(YES_NO, part)


def _consciousness(part: Resource) -> tuple[str | None, str]:
    if part.get("valueString") in tuple("ACVPU"):
        return part["valueString"], ""
    return _coded(CONSCIOUSNESS, part)


def _coded(table: Mapping[tuple[str, str], Any], part: Resource) -> tuple[Any, str]:
    """Return what the codings mean; codings that contradict each other mean nothing."""
    codings = part.get("valueCodeableConcept", {}).get("coding", ())
    pairs = ((item.get("system", ""), item.get("code", "")) for item in codings)
    meant = {table[pair] for pair in pairs if pair in table}
    if len(meant) == 1:
        return meant.pop(), ""
    return None, "unreadable" if _has_value(part) else "absent"


def _above_diastolic(systolic: Decimal, observation: Resource) -> bool:
    for part in observation.get("component", ()):
        codings = (part.get("code") or {}).get("coding", ())
        for one in codings:
            if one.get("code") == DIASTOLIC[1] and one.get("system") == DIASTOLIC[0]:
                diastolic = part.get("valueQuantity", {}).get("value")
                return diastolic is None or systolic > diastolic
    return True


def _merged(found: list[Reading]) -> list[Reading]:
    """Keep one reading of an input in one Observation: any oxygen is oxygen, a usable value beats none."""
    best: dict[str, Reading] = {}
    for reading in found:
        held = best.get(reading.input)
        if held is None or held.value is None or reading.value is True:
            best[reading.input] = reading
    return list(best.values())


def labels(names: Iterable[str], *, language: str = "fr") -> str:
    """Return the names of inputs as people read them, with commas."""
    return ", ".join(INPUTS[name].french if language == "fr" else INPUTS[name].english for name in names)

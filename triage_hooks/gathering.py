"""What the engine needs to know of a patient beside the measurement that came: a few indexed questions.

All of it runs inside the transaction that stores the measurement, so it asks as little as it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from functools import cache
from typing import Final
from urllib.parse import quote

from fhir_server.interface import Asking
from fhir_server.model import Resource
from triage_hooks import moment, vital_signs
from triage_hooks.codes import LOINC, SCALE_2, SETTING, SNOMED, codes_of
from triage_hooks.engine import Reading
from triage_hooks.rules.inputs import INPUTS
from triage_hooks.rules.score import Rule

PAGE: Final = 40  # newest Observations asked for at once
RETRY: Final = 3  # of one input, where the page was full of others
PREGNANT: Final = "77386006"  # SNOMED CT, as in IPS; not checked in a release
PREGNANCY_STATUS: Final = "82810-3"  # LOINC, as in IPS
PREGNANT_ANSWER: Final = "LA15173-0"
PREGNANCY: Final = 300 * 24 * 3_600_000_000  # how long such an answer holds, in microseconds
CLINICIANS: Final = ("Practitioner/", "PractitionerRole/")


async def stored_readings(
    asking: Asking, rule: Rule, patient: str, fresh: Sequence[Reading], *, zone: tzinfo, now: int
) -> list[Reading]:
    """Return what is stored and may count together with fresh readings, of any input of a rule."""
    window = max(INPUTS[name].window for name in rule.inputs)
    first, last = min(reading.at for reading in fresh), max(reading.at for reading in fresh)
    own = {reading.reference for reading in fresh}

    async def ask(names: tuple[str, ...], until: int, count: int) -> tuple[list[Reading], int]:
        resources = await asking.find(_question(patient, names, first - window, until, count))
        read = [item for one in resources for item in vital_signs.readings(one, zone=zone, now=now)]
        return [item for item in read if item.reference not in own], len(resources)

    found, answered = await ask(rule.inputs, last + window, PAGE)
    if answered == PAGE:
        known = {reading.input for reading in (*fresh, *found)}
        for name in rule.inputs:
            if name not in known:
                found += (await ask((name,), last, RETRY))[0]
    return found


def _question(patient: str, names: tuple[str, ...], since: int, until: int, count: int) -> str:
    return (
        f"Observation?patient={patient}&code={_codes(names)}"
        f"&date=ge{moment.written(since)}&date=le{moment.written(until)}&_sort=-date&_count={count}&_total=none"
    )


@cache
def _codes(names: tuple[str, ...]) -> str:
    return quote(",".join(dict.fromkeys(f"{system}|{code}" for name in names for system, code in _asked(name))))


def _asked(name: str) -> tuple[tuple[str, str], ...]:
    """Return the codes under which an input stands in an Observation, also as a part of another one."""
    if name == "systolic_bp":
        return (*INPUTS[name].codes, *vital_signs.PANELS)
    return (*INPUTS[name].codes, *INPUTS["spo2"].codes) if name == "on_oxygen" else INPUTS[name].codes


async def oxygen_scale(asking: Asking, patient: str) -> int:
    """Return 2 where a clinician's active Flag says so, else 1: it is never inferred from a diagnosis."""
    for flag in await asking.find(f"Flag?patient={patient}&status=active&_total=none"):
        author = flag.get("author", {}).get("reference", "")
        if SCALE_2 in codes_of(flag.get("code"), SETTING) and author.startswith(CLINICIANS):
            return 2
    return 1


async def holds_for(asking: Asking, rule: Rule, patient: str, at: int, *, zone: tzinfo) -> bool:
    """Whether a rule may judge this person: old enough, and not known to be pregnant."""
    person = await asking.resource(f"Patient/{patient}") or {}
    age = oldest_age(person, at, zone=zone)
    if age is not None and age < rule.adult_from:
        return False
    if person.get("gender") == "male" or (age is not None and age > 60):
        return True
    return not await _is_pregnant(asking, patient, at, zone)


def oldest_age(person: Resource, at: int, *, zone: tzinfo) -> int | None:
    """Return the age in whole years at a moment, the greatest that the birth date allows; None when unknown."""
    born = moment.span(person.get("birthDate"), zone)
    if born is None:
        return None
    birth, then = moment.moment(born.first).astimezone(zone), moment.moment(at).astimezone(zone)
    return then.year - birth.year - ((then.month, then.day) < (birth.month, birth.day))


async def _is_pregnant(asking: Asking, patient: str, at: int, zone: tzinfo) -> bool:
    code = quote(f"{SNOMED}|{PREGNANT}")
    for condition in await asking.find(
        f"Condition?patient={patient}&code={code}&clinical-status=active&_count=5&_total=none"
    ):
        verified = [item.get("code") for item in condition.get("verificationStatus", {}).get("coding", ())]
        if not {"refuted", "entered-in-error"} & set(verified):
            return True
    code = quote(f"{LOINC}|{PREGNANCY_STATUS}")
    for answer in await asking.find(f"Observation?patient={patient}&code={code}&_sort=-date&_count=1&_total=none"):
        value = answer.get("valueCodeableConcept")
        said = PREGNANT_ANSWER in codes_of(value, LOINC) or PREGNANT in codes_of(value, SNOMED)
        age = at - vital_signs.measured_at(answer, zone=zone, now=at)
        return said and answer.get("status") in vital_signs.STATUSES and age <= PREGNANCY
    return False

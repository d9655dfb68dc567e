"""What the engine needs to know of a patient beside the measurement that came: a few indexed questions.

All of it runs inside the transaction that stores the measurement, so it asks as little as it can.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import tzinfo
from functools import cache
from typing import Final, NamedTuple
from urllib.parse import quote

from fhir_server.interface import Asking
from fhir_server.model import Resource
from triage_hooks import moment, vital_signs
from triage_hooks.chart import Chart
from triage_hooks.codes import LOINC, SCALE_2, SETTING, SNOMED, codes_of
from triage_hooks.engine import Reading
from triage_hooks.rules.inputs import INPUTS
from triage_hooks.rules.score import Rule

ALL: Final = tuple(INPUTS)
WINDOW: Final = max(item.window for item in INPUTS.values())
PAGE: Final = 40  # newest Observations asked for at once
RETRY: Final = 3  # of one input, where the page was full of others
PREGNANT: Final = "77386006"  # SNOMED CT, as in IPS; not checked in a release
PREGNANCY_STATUS: Final = "82810-3"  # LOINC, as in IPS
PREGNANT_ANSWER: Final = "LA15173-0"
PREGNANCY: Final = 300 * 24 * 3_600_000_000  # how long such an answer holds, in microseconds
CLINICIANS: Final = ("Practitioner/", "PractitionerRole/")


class Ward(NamedTuple):
    """Where a patient's measurements are asked for."""

    asking: Asking
    patient: str
    zone: tzinfo
    now: int  # microseconds

    async def readings_of(self, query: str) -> tuple[list[Reading], int]:
        """Return the readings of the Observations that a search finds, and how many Observations those are."""
        found = await self.asking.find(query)
        return [reading for one in found for reading in vital_signs.readings(one, zone=self.zone, now=self.now)], len(
            found
        )


async def around(ward: Ward, first: int, last: int) -> list[Reading]:
    """Return what may count together with measurements of these moments, the newest of each input at least."""
    return (await _between(ward, first - WINDOW, last, last + WINDOW))[0]


async def _between(ward: Ward, since: int, last: int, until: int) -> tuple[list[Reading], dict[str, int]]:
    """Return readings from `since` to `until`, and of which inputs they may lack some up to which moment."""
    found, count = await ward.readings_of(_question(ward.patient, ALL, since, until, PAGE))
    if count < PAGE:
        return found, {}
    known = {reading.input for reading in found}
    cuts = dict.fromkeys(known, min([reading.at for reading in found], default=until))
    for name in ALL:
        if name not in known:
            more, count = await ward.readings_of(_question(ward.patient, (name,), since, last, RETRY))
            found += more
            if count == RETRY:
                cuts[name] = min([reading.at for reading in more], default=last)
    return found, cuts


async def made_chart(ward: Ward, changed: Collection[str]) -> Chart:
    """Return a chart made of what is stored, but for the Observations that are changing now."""
    if len(changed) < PAGE:  # a new patient's first measurement is common, and quick to tell
        some = await ward.asking.find(f"Observation?patient={ward.patient}&_count={len(changed) + 1}&_total=none")
        if all(f"Observation/{one['id']}" in changed for one in some):
            return Chart()
    newest, count = await ward.readings_of(_question(ward.patient, ALL, None, None, PAGE))
    if not newest:
        return Chart(floor=ward.now) if count == PAGE else Chart()
    last = max(reading.at for reading in newest)
    found, cuts = await _between(ward, last - 2 * WINDOW, last, last + WINDOW)
    held = Chart(floor=last - 2 * WINDOW - 1, cuts=cuts)
    return held.joined([reading for reading in found if reading.reference not in changed])


def _question(patient: str, names: tuple[str, ...], since: int | None, until: int | None, count: int) -> str:
    dates = "" if since is None else f"&date=ge{moment.written(since)}"
    dates += "" if until is None else f"&date=le{moment.written(until)}"
    return f"Observation?patient={patient}&code={_codes(names)}{dates}&_sort=-date&_count={count}&_total=none"


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

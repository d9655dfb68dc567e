"""A patient's ADT messages end in the same state in whatever order they come, as long as no two have one time."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.model import Resource
from tests.hl7_core import at, event, find, hub, take
from tests.hl7_messages import pv1, segment

TRIGGERS = (
    "A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A11", "A12", "A13", "A14", "A21", "A22", "A23", "A31", "A54"
)  # fmt: skip
FIELDS = {  # of PID, each with values that a message may state; "" says nothing
    "f5": ("DUPOND^Amélie^^^^^L", "LEROY^Zoé^^^^^L", '""', ""),
    "f7": ("19510423", "195104", "", '""'),
    "f8": ("F", "M", ""),
    "f11": ("1 RUE A^^BOURGES", "^^PARIS^^^^BDL~2 RUE B^^TOURS", "", '""'),
    "f13": ("^PRN^PH^^^^^^^^^0248000000", "", '""'),
    "f14": ("^WPN^PH^^^^^^^^^0248111111", "", '""'),
    "f16": ("M", "S", ""),
    "f29": ("20261125", "", '""'),
    "f32": ("VALI", "PROV", "DOUT", ""),
}
STAY = {
    "f2": ("I", "O", "P"),
    "f3": ("MED^1", "CHIR^2", "", '""'),
    "f6": ("URG^1", ""),
    "f7": ("1^A^B", "2^C^D", "", '""'),
    "f8": ("3^E^F", ""),
    "f14": ("7", ""),
    "f44": ("20261101", "20261102", ""),
    "f45": ("20261125", "", '""'),
}


@st.composite
def streams(draw: Any) -> list[str]:
    """Draw messages of one patient and one stay, in the order of their times."""
    made = []
    for minute in range(draw(st.integers(2, 6))):
        person = {name: draw(st.sampled_from(values)) for name, values in FIELDS.items()}
        stay = {name: draw(st.sampled_from(values)) for name, values in STAY.items()}
        further = [segment("PV2", f3=f"R{draw(st.integers(1, 2))}")] if draw(st.booleans()) else []
        further += [segment("DG1", f1="1", f3="I10^HTA^I10", f6="A")] if draw(st.booleans()) else []
        further += [segment("AL1", f2="DA", f3=draw(st.sampled_from(("A1", "A2"))))] if draw(st.booleans()) else []
        further += [segment("NK1", f1="1", f2="MARTIN^LUC", f3="SPO")] if draw(st.booleans()) else []
        further += (
            [segment("ROL", f2="AD", f3="AD", f4=draw(st.sampled_from(("8^I^J", "9^K^L"))))]
            if draw(st.booleans())
            else []
        )
        further += [segment("PV2", f22=draw(st.sampled_from("YN")))] if draw(st.booleans()) else []
        further += [segment("ZFD", f2=draw(st.sampled_from(("30", "31"))), f5="CV")] if draw(st.booleans()) else []
        trigger = draw(st.sampled_from(TRIGGERS))
        made.append(event(trigger, minute * 10, *further, stay=pv1("V1", **stay), **person))
    return made


@st.composite
def courses(draw: Any) -> list[str]:
    """Draw the movements of a French stay, in the order of their times; some are corrected or cancelled later."""
    made = []
    for minute in range(draw(st.integers(2, 6))):
        number = draw(st.integers(1, 3))
        trigger, original = draw(st.sampled_from((("A01", ""), ("A02", ""), ("A03", ""), ("A21", ""), ("Z99", "A02"))))
        action = draw(st.sampled_from(("INSERT", "UPDATE", "CANCEL")))
        when = at(draw(st.integers(0, 200)))
        zbe = segment("ZBE", f1=f"M{number}^X", f2=when, f4=action, f5="N", f6=original, f7="UF^^^^^^^^^10", f9="HMS")
        stay = pv1("V1", f2=draw(st.sampled_from("IO")), f3=draw(st.sampled_from(("MED^1", "CHIR^2"))), f44="20261101")
        made.append(event(trigger, minute * 10, zbe, stay=stay))
    return made


def settled(resource: Resource) -> Any:
    """Return a resource without what each run makes anew; identifiers in any order."""
    made = {
        key: value for key, value in resource.items() if key not in ("id", "meta", "subject", "patient", "encounter")
    }
    made["identifier"] = sorted(map(str, made.get("identifier", [])))
    return made


async def state(messages: list[str]) -> list[Any]:
    async with hub() as core:
        await take(core, *messages)
        found = [r for type in ("Patient", "Encounter", "AllergyIntolerance") for r in await find(core, type)]
        return sorted((settled(resource) for resource in found), key=str)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(streams(), st.randoms(use_true_random=False))
def test_messages_of_a_patient_end_in_the_same_state_in_any_order(messages: list[str], random: Any) -> None:
    shuffled = random.sample(messages, len(messages))
    assert asyncio.run(state(shuffled)) == asyncio.run(state(messages))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(courses(), st.randoms(use_true_random=False))
def test_movements_of_a_stay_end_in_the_same_course_in_any_order(messages: list[str], random: Any) -> None:
    shuffled = random.sample(messages, len(messages))
    assert asyncio.run(state(shuffled)) == asyncio.run(state(messages))

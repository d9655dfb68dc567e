"""`$everything` against the compartment written plainly: every reference of every resource looked at."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.calls import answered, call, memory_hub, put

Resource = dict[str, Any]
PATIENTS = ["p1", "p2"]
# How types say whose they are and who took part, and what else they refer to.
FIXED: dict[str, Resource] = {
    "Observation": {"status": "final", "code": {"text": "x"}},
    "Condition": {"code": {"text": "x"}},
    "Task": {"status": "ready", "intent": "order"},
    "Communication": {"status": "completed"},
    "Appointment": {"status": "proposed"},
    "MedicationRequest": {"status": "active", "intent": "order"},
}
DATES = {"Observation": "effectiveDateTime", "Condition": "onsetDateTime", "MedicationRequest": "authoredOn"}


def ref(target: str) -> dict[str, str]:
    return {"reference": target}


@st.composite
def resources(draw: st.DrawFn) -> list[Resource]:
    """Draw a small world: patients, who works where, and resources about or by the patients."""
    made: list[Resource] = [
        {"resourceType": "Organization", "id": "o1", "name": "x"},
        {"resourceType": "Organization", "id": "o2", "name": "x", "partOf": ref("Organization/o1")},
        {"resourceType": "Practitioner", "id": "d1"},
        {"resourceType": "PractitionerRole", "id": "r1", "practitioner": ref("Practitioner/d1"), "organization": ref("Organization/o2")},
        {"resourceType": "Medication", "id": "m1", "manufacturer": ref("Organization/o1")},
        *({"resourceType": "Patient", "id": id} for id in PATIENTS),
    ]  # fmt: skip
    people = [f"Patient/{id}" for id in PATIENTS]
    who = st.sampled_from([*people, "Practitioner/d1", "PractitionerRole/r1", "Organization/o2"])
    for number in range(draw(st.integers(0, 10))):
        type = draw(st.sampled_from(sorted(FIXED)))
        about = ref(draw(st.sampled_from(people)))
        one: Resource = {"resourceType": type, "id": f"x{number}", **FIXED[type]}
        match type:
            case "Observation":
                one |= {"subject": about, "performer": [ref(draw(who))]}
                if earlier := [r["id"] for r in made if r["resourceType"] == "Observation"]:
                    one["hasMember"] = [ref(f"Observation/{draw(st.sampled_from(earlier))}")]
            case "Condition":
                one |= {"subject": about, "asserter": ref(draw(who))}
            case "Task":
                one |= {"for": about, "owner": ref(draw(who))}
            case "Communication":
                one |= {"sender": ref(draw(who)), "recipient": [ref(draw(who))]}
            case "Appointment":
                one["participant"] = [{"actor": ref(draw(who)), "status": "accepted"} for _ in range(2)]
            case _:
                one |= {"subject": about, "medicationReference": ref("Medication/m1"), "requester": ref(draw(who))}
        if type in DATES and draw(st.booleans()):
            one[DATES[type]] = f"2026-01-0{draw(st.integers(1, 3))}"
        made.append(one)
    return made


def targets(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["reference"]} if isinstance(value.get("reference"), str) else set()
        return own.union(*map(targets, value.values()))
    return set().union(*map(targets, value)) if isinstance(value, list) else set()


# R4's compartment by element, and Task.for, which the hub adds.
ELEMENTS = {
    "Observation": ("subject", "performer"), "Condition": ("subject", "asserter"), "Task": ("for",),
    "Communication": ("sender", "recipient"), "Appointment": ("participant",), "MedicationRequest": ("subject",),
}  # fmt: skip


def compartment(world: list[Resource], patient: str) -> set[str]:
    found = {
        name(one)
        for one in world
        if patient in set().union(*(targets(one.get(element)) for element in ELEMENTS.get(one["resourceType"], ())))
    }
    return found | {patient}


def name(one: Resource) -> str:
    return f"{one['resourceType']}/{one['id']}"


def support(world: list[Resource], inside: set[str]) -> set[str]:
    """What the compartment refers to, and so on, of nobody else and not in the compartment itself."""
    by_name = {name(one): one for one in world}
    found: set[str] = set()
    waiting = list(inside)
    while waiting:
        for target in targets(by_name[waiting.pop()]):
            kind = target.partition("/")[0]
            if target not in found | inside and kind not in ELEMENTS and kind != "Patient":
                found.add(target)
                waiting.append(target)
    return found


async def walk(composed: Any, path: str) -> tuple[list[str], list[str]]:
    matches: list[str] = []
    includes: list[str] = []
    while path:
        page = answered(await call(composed, path))
        for entry in page.get("entry", ()):
            (matches if entry["search"]["mode"] == "match" else includes).append(name(entry["resource"]))
        following = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
        path = following.partition("/fhir/")[2]
    return matches, includes


@settings(max_examples=50, deadline=None)
@given(resources(), st.sampled_from(PATIENTS), st.integers(1, 6))
async def test_pages_hold_the_compartment_and_what_it_refers_to(world: list[Resource], id: str, count: int) -> None:
    async with memory_hub() as composed:
        await put(composed, world)
        matches, includes = await walk(composed, f"Patient/{id}/$everything?_count={count}")
    inside = compartment(world, f"Patient/{id}")
    assert sorted(matches) == sorted(inside)
    # Another's Observation may be in the compartment, since this patient performed it; its subject is not told.
    assert set(includes) == support(world, inside)


@settings(max_examples=25, deadline=None)
@given(resources(), st.sampled_from(["start=2026-01-02", "end=2026-01-02", "start=2026-01-02&end=2026-01-02"]))
async def test_a_span_leaves_out_what_has_another_date(world: list[Resource], span: str) -> None:
    async with memory_hub() as composed:
        await put(composed, world)
        matches, _ = await walk(composed, f"Patient/p1/$everything?_count=3&{span}")
    by_name = {name(one): one for one in world}

    def fits(reference: str) -> bool:
        day = by_name[reference].get(DATES.get(reference.partition("/")[0], ""), "")
        return not day or (("start" not in span or day >= "2026-01-02") and ("end" not in span or day <= "2026-01-02"))

    assert sorted(matches) == sorted(filter(fits, compartment(world, "Patient/p1")))

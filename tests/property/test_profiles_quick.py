"""The question of a profile beside its full check: a yes means that there is no error, and most who conform get one."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.profiles import quick
from fhir_server.profiles.findings import Known
from fhir_server.profiles.judge import MOST_ROUNDS, Task, run_once
from tests.conformance.examples import bodies
from tests.conformance.mutation import KINDS, mutated
from tests.profiles import OWN, R4, element, finder, profile, sliced
from tests.profiles import _is_member as is_member

VITALS = {
    "heartrate": "Observation-heart-rate.json",
    "bodytemp": "Observation-body-temperature.json",
    "bp": "Observation-blood-pressure.json",
    "oxygensat": "Observation-satO2.json",
    "resprate": "Observation-respiratory-rate.json",
    "bmi": "Observation-bmi.json",
    "vitalsigns": "Observation-vitals-panel.json",
}


def judged(resource: Any, url: str, *definitions: Any) -> tuple[bool, list[str]]:
    """Return what the quick question says of a resource, and the errors of the full check."""
    find, known = finder(*definitions), Known()
    for _ in range(MOST_ROUNDS):
        run = run_once(known, Task(resource, (url,)))
        if not run.missing_profiles and not run.missing_codes:
            break
        known.profiles |= {each: find(each) for each in run.missing_profiles}
        known.members |= {question: is_member(question, {}) for question in run.missing_codes}
    says = quick.is_plain(resource, gate.write(resource)) and quick.conforms(known, resource, [url])
    return says, [issue.expression for issue in run.issues if issue.severity == "error"]


def vital(name: str) -> Any:
    found = gate.load(bodies()[VITALS[name]])
    return {key: value for key, value in found.items() if key not in ("text", "meta", "contained")}


@pytest.mark.parametrize("name", sorted(set(VITALS) - {"vitalsigns"}))
def test_an_example_that_conforms_is_told_by_the_quick_question(name: str) -> None:
    assert judged(vital(name), R4 + name) == (True, [])


def test_an_element_whose_part_is_not_compiled_is_left_to_the_full_check() -> None:
    says, wrong = judged(vital("vitalsigns"), R4 + "vitalsigns")  # members that are vital signs themselves
    assert not says
    assert not wrong


@given(
    st.sampled_from(sorted(VITALS)), st.sampled_from(sorted(KINDS)), st.integers(0, 10**9), st.sampled_from([1, 1, 2])
)
def test_a_yes_is_never_said_of_a_vital_sign_that_has_an_error(name: str, kind: str, seed: int, times: int) -> None:
    resource = vital(name)
    for turn in range(times):
        resource = mutated(resource, kind, float(seed + turn))
    try:
        says, wrong = judged(resource, R4 + name)
    except (AttributeError, TypeError, KeyError):  # no resource by R4: it is refused before profiles are asked
        return
    assert not (says and wrong), wrong


@given(st.integers(0, 10**9))
def test_a_yes_is_never_said_of_what_breaks_slices_fixed_values_or_counts(seed: int) -> None:
    random = Random(seed)
    systems = ["urn:a", "urn:b", "urn:c"]
    parts = [
        sliced("Patient.identifier", ("value", "system"), rules=random.choice(["open", "closed"])),
        *(
            one
            for system in systems[: random.randrange(1, 4)]
            for one in (
                element(f"Patient.identifier:{system[4:]}", min=random.randrange(2), max=str(random.randrange(1, 3))),
                element(f"Patient.identifier:{system[4:]}.system", min=1, fixedUri=system),
                element(f"Patient.identifier:{system[4:]}.use", fixedCode="usual"),
            )
        ),
        element("Patient.gender", min=random.randrange(2), patternCode=random.choice(["male", "female"])),
        element("Patient.name", max=str(random.randrange(1, 3))),
        element("Patient.managingOrganization", type=[{"code": "Reference", "targetProfile": [R4 + "Organization"]}]),
        element("Patient.deceased[x]", type=[{"code": "boolean"}]),
    ]
    definition = profile("Patient", *parts)
    resource: dict[str, Any] = {"resourceType": "Patient"}
    many = [{"system": random.choice([*systems, "urn:d"]), "use": random.choice(["usual", "old"])} for _ in range(3)]
    if kept := many[: random.randrange(4)]:
        resource["identifier"] = kept
    if random.random() < 0.7:
        resource["gender"] = random.choice(["male", "female"])
    if names := [{"family": "X"}] * random.randrange(3):
        resource["name"] = names
    if random.random() < 0.5:
        resource["managingOrganization"] = {"reference": random.choice(["Organization/1", "Patient/1", "urn:x"])}
    resource |= random.choice([{}, {"deceasedBoolean": False}, {"deceasedDateTime": "2026-01-01"}])
    says, wrong = judged(resource, OWN + "own", definition)
    assert says is not bool(wrong)

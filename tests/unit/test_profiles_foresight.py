"""What `$validate` says of a StructureDefinition that cannot be checked against, whole or in part."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.profiles.builtin import definition, supported
from fhir_server.profiles.findings import Known
from fhir_server.profiles.judge import Task, run_once
from tests.profiles import OWN, element, profile, sliced


def advised(resource: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (code, expression) of each warning; no other profile is known."""
    run = run_once(Known(profiles={OWN + "elsewhere": None}), Task(resource, advises=True))
    found = [(issue.code, issue.expression) for issue in run.issues if issue.severity == "warning"]
    return [(code, where.removeprefix("StructureDefinition.")) for code, where in found if where]


def ruled(id: str, expression: str) -> dict[str, Any]:
    """An element with a rule."""
    return element(id, constraint=[{"key": "a-1", "severity": "error", "human": "A.", "expression": expression}])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param(element("Patient.name.family", min=1), [], id="an element that R4 has"),
        pytest.param(element("Patient.birthDate.extension", max="0"), [], id="an extension of a primitive"),
        pytest.param(element("Patient.contact.name.given", min=1), [], id="deep down"),
        pytest.param(element("Patient.deceasedBoolean", max="0"), [], id="a choice under its key"),
        pytest.param(element("Patient.deceased[x]:deceasedBoolean", max="0"), [], id="a slice of a choice"),
        pytest.param(element("Patient.contained.anything", min=1), [], id="of any resource nothing is known"),
        pytest.param(element("Patient.surname", min=1), [("invalid", "differential.element[1].path")], id="an element that R4 does not have"),
        pytest.param(ruled("Patient.name", "family.exists()"), [], id="a rule"),
        pytest.param(ruled("Patient.name", "family.exists("), [("invalid", "differential.element[1].constraint[0].expression")], id="a rule that breaks the grammar"),
        pytest.param(ruled("Patient.name", "family.isNice()"), [("invalid", "differential.element[1].constraint[0].expression")], id="a rule with a function that does not exist"),
        pytest.param(sliced("Patient.name", ("value", "use"), ("exists", "period")), [], id="discriminators"),
        pytest.param(sliced("Patient.name", ("position", "$this")), [("not-supported", "differential.element[1].slicing.discriminator[0]")], id="a discriminator of R5"),
        pytest.param(sliced("Patient.name", ("value", "given.first()")), [("not-supported", "differential.element[1].slicing.discriminator[0]")], id="a path that R4 does not allow"),
    ],
)  # fmt: skip
def test_what_of_a_profile_cannot_be_checked_is_told(asked: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert advised(profile("Patient", asked)) == found


def test_a_base_that_is_not_known_is_told() -> None:
    assert advised(profile("Patient", base=OWN + "elsewhere")) == [("not-found", "baseDefinition")]


def test_a_profile_of_no_type_of_r4_is_told() -> None:
    assert advised(profile("Patient") | {"type": "Nothing"}) == [("not-supported", "StructureDefinition")]


def test_a_type_of_ones_own_is_no_profile() -> None:
    assert advised(profile("Patient") | {"type": "Nothing", "derivation": "specialization"}) == []


@pytest.mark.parametrize("type", ["Patient", "Encounter", "Practitioner", "Organization", "Observation"])
def test_nothing_is_said_of_the_profiles_that_come_along(type: str) -> None:
    for url in supported(type):
        made = definition(url)
        assert made is not None
        own = [found for found in advised(dict(made)) if found[1].startswith(("differential", "snapshot"))]
        assert own == [], url

"""Decisions on parts of a record: labels, types, codes, dates, single resources."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.consent_cases import DOCTOR, VENDOR, care_team, coding, consent, decided, observation, sees

PSY, HIV, ETHUD = (coding("v3-ActCode", code) for code in ("PSY", "HIV", "ETHUD"))
R, L = (coding("v3-Confidentiality", code) for code in "RL")
CLASS = {"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}
SYSTOLIC = {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}


@pytest.mark.parametrize(
    ("type", "criterion", "resource", "shown"),
    [
        pytest.param("permit", {"class": [CLASS]}, observation(), True, id="permit of a type: that type"),
        pytest.param(
            "permit",
            {"class": [CLASS]},
            {"resourceType": "Condition", "id": "x"},
            False,
            id="permit of a type: not another",
        ),
        pytest.param("deny", {"securityLabel": [PSY]}, observation(PSY), False, id="deny of a label: what carries it"),
        pytest.param("deny", {"securityLabel": [PSY]}, observation(HIV), True, id="deny of a label: not another"),
        pytest.param(
            "deny", {"securityLabel": [coding("v3-ActCode", "ETH")]}, observation(ETHUD), False, id="ETH covers ETHUD"
        ),
        pytest.param(
            "deny",
            {"securityLabel": [coding("v3-ActCode", "SPI")]},
            observation(ETHUD),
            False,
            id="SPI covers it, two levels up",
        ),
        pytest.param(
            "deny",
            {"securityLabel": [ETHUD]},
            observation(coding("v3-ActCode", "ETH")),
            True,
            id="ETHUD does not cover ETH",
        ),
        pytest.param(
            "permit",
            {"securityLabel": [coding("v3-Confidentiality", "N")]},
            observation(),
            True,
            id="unlabelled is normal",
        ),
        pytest.param(
            "permit",
            {"securityLabel": [coding("v3-Confidentiality", "N")]},
            observation(L),
            True,
            id="permit N means N and lower",
        ),
        pytest.param(
            "permit",
            {"securityLabel": [coding("v3-Confidentiality", "N")]},
            observation(R),
            False,
            id="permit N does not mean R",
        ),
        pytest.param(
            "permit",
            {"securityLabel": [coding("v3-Confidentiality", "N")]},
            observation(L, R),
            False,
            id="of several the highest counts",
        ),
        pytest.param(
            "deny",
            {"securityLabel": [R]},
            observation(coding("v3-Confidentiality", "V")),
            False,
            id="deny R means R and higher",
        ),
        pytest.param("deny", {"securityLabel": [R]}, observation(), True, id="deny R leaves what is normal"),
        pytest.param(
            "deny",
            {"securityLabel": [{"code": "PSY"}]},
            observation(),
            False,
            id="a label without system is in doubt: refused",
        ),
        pytest.param(
            "permit", {"code": [SYSTOLIC]}, observation(code=SYSTOLIC), True, id="permit of a code: what is of it"
        ),
        pytest.param(
            "permit",
            {"code": [SYSTOLIC]},
            observation(component=[{"code": SYSTOLIC}]),
            False,
            id="permit of a code: not what only holds it",
        ),
        pytest.param(
            "deny",
            {"code": [SYSTOLIC]},
            observation(component=[{"code": SYSTOLIC}]),
            False,
            id="deny of a code: also what only holds it",
        ),
        pytest.param(
            "deny",
            {"code": [{"text": "tension"}]},
            observation(),
            False,
            id="a code in words only is in doubt: refused",
        ),
        pytest.param(
            "permit",
            {"dataPeriod": {"start": "2026-01-01"}},
            observation(effectiveDateTime="2026-01-01"),
            True,
            id="data of the period",
        ),
        pytest.param(
            "permit",
            {"dataPeriod": {"start": "2026-01-02"}},
            observation(effectiveDateTime="2026-01"),
            False,
            id="data partly of the period are not permitted",
        ),
        pytest.param(
            "deny",
            {"dataPeriod": {"start": "2026-01-02"}},
            observation(effectiveDateTime="2026-01"),
            False,
            id="and are refused",
        ),
        pytest.param(
            "deny",
            {"dataPeriod": {"start": "2026-01-01"}},
            observation(effectiveDateTime="2025"),
            True,
            id="data before the period",
        ),
        pytest.param(
            "deny",
            {"dataPeriod": {"start": "2026-01-01"}},
            observation(),
            False,
            id="data without date are in doubt: refused",
        ),
        pytest.param(
            "permit",
            {"data": [{"meaning": "instance", "reference": {"reference": "Observation/o"}}]},
            observation(),
            True,
            id="that very resource",
        ),
        pytest.param(
            "deny",
            {"data": [{"meaning": "dependents", "reference": {"reference": "Encounter/e"}}]},
            observation(encounter={"reference": "Encounter/e"}),
            False,
            id="what refers to it",
        ),
        pytest.param(
            "deny",
            {"data": [{"meaning": "authoredby", "reference": {"reference": DOCTOR}}]},
            observation(performer=[{"reference": DOCTOR}]),
            False,
            id="what they made",
        ),
        pytest.param(
            "deny",
            {"data": [{"meaning": "authoredby", "reference": {"reference": DOCTOR}}]},
            observation(),
            True,
            id="not what others made",
        ),
        pytest.param(
            "permit",
            {"data": [{"meaning": "related", "reference": {"reference": "Encounter/e"}}]},
            observation(),
            False,
            id="what one refers to is not looked up: not permitted",
        ),
        pytest.param(
            "deny",
            {"data": [{"meaning": "related", "reference": {"reference": "Encounter/e"}}]},
            observation(),
            False,
            id="and refused",
        ),
    ],
)
def test_a_part_of_the_record(type: str, criterion: dict[str, Any], resource: dict[str, Any], shown: bool) -> None:
    extra = {f"provision_{name}": value for name, value in criterion.items()}
    given = (
        [consent("permit", VENDOR, id="whole", organization=[{"reference": "Organization/x"}])]
        if type == "deny"
        else []
    )
    decision = decided(*given, consent(type, VENDOR, **extra))
    assert decision.outcome == "partial"
    assert sees(decision, resource) is shown


def test_a_part_that_nobody_opens_is_no_part() -> None:
    only = consent("deny", VENDOR, provision_class=[CLASS])
    assert decided(only).outcome == "deny"


def test_a_part_that_nobody_refuses_is_the_whole() -> None:
    only = consent("permit", VENDOR, provision_class=[CLASS])
    assert decided(only, teams=(care_team(VENDOR),)).outcome == "permit"

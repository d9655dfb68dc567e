"""Observations to readings: which codes, units and statuses count, and what is named as unusable."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from triage_hooks import moment, vital_signs
from triage_hooks.codes import ACVPU, LOINC, SIGN, SNOMED, UCUM
from triage_hooks.rules.bands import Bound

PARIS = ZoneInfo("Europe/Paris")
NOW = 1_795_500_000_000_000  # 2026-11-24T00:00:00Z
AT = "2026-11-20T08:00:00+01:00"


def observation(code: str, system: str = LOINC, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": "Patient/1"},
        "effectiveDateTime": AT,
        **more,
    }


def quantity(value: Any, unit: str, **more: Any) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit, **more}}


def coded(system: str, code: str) -> dict[str, Any]:
    return {"valueCodeableConcept": {"coding": [{"system": system, "code": code}]}}


def read(resource: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    found = vital_signs.readings(resource, zone=PARIS, now=NOW)
    return {reading.input: (reading.value, reading.problem) for reading in found}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        pytest.param(observation("9279-1", **quantity(27, "/min")), {"resp_rate": (Decimal(27), "")}, id="respiration"),
        pytest.param(observation("2708-6", **quantity(88, "%")), {"spo2": (Decimal(88), "")}, id="saturation"),
        pytest.param(observation("59408-5", **quantity(88, "%")), {"spo2": (Decimal(88), "")}, id="by pulse oximetry"),
        pytest.param(
            observation("8867-4", **quantity(72, "{beats}/min")), {"pulse": (Decimal(72), "")}, id="annotated unit"
        ),
        pytest.param(
            observation("8310-5", **quantity(Decimal("39.4"), "Cel")),
            {"temperature": (Decimal("39.4"), "")},
            id="temperature",
        ),
        pytest.param(
            observation("2708-6", **quantity(70, "%", comparator="<")),
            {"spo2": (Bound("<", Decimal(70)), "")},
            id="a bound stays a bound",
        ),
        pytest.param(observation("29463-7", **quantity(80, "kg")), {}, id="another vital sign is no input"),
    ],
)
def test_numbers(resource: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read(resource) == expected


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        pytest.param(quantity(101, "[degF]"), "unit", id="Fahrenheit is not converted"),
        pytest.param({"valueQuantity": {"value": 38, "unit": "Cel"}}, "unit", id="a unit without UCUM says nothing"),
        pytest.param(quantity(388, "Cel"), "implausible", id="impossible temperature"),
        pytest.param({"valueString": "38"}, "unreadable", id="a text"),
        pytest.param({"dataAbsentReason": {"text": "x"}}, "absent", id="said to be absent"),
        pytest.param({}, "absent", id="no value"),
    ],
)
def test_what_cannot_be_used_is_named(more: dict[str, Any], problem: str) -> None:
    assert read(observation("8310-5", **more)) == {"temperature": (None, problem)}


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled", "registered", "unknown"])
def test_statuses_that_are_no_measurement(status: str) -> None:
    assert read(observation("8867-4", **{**quantity(150, "/min"), "status": status})) == {}


def pressure(systolic: int, diastolic: int | None) -> dict[str, Any]:
    parts = [("8480-6", systolic), ("8462-4", diastolic)]
    made = [
        {"code": {"coding": [{"system": LOINC, "code": code}]}, **quantity(value, "mm[Hg]")}
        for code, value in parts
        if value is not None
    ]
    return observation("85354-9", component=made)


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        pytest.param(pressure(86, 50), (Decimal(86), ""), id="systolic of a panel"),
        pytest.param(pressure(86, None), (Decimal(86), ""), id="systolic alone"),
        pytest.param(pressure(80, 120), (None, "implausible"), id="diastolic above systolic"),
        pytest.param(observation("8480-6", **quantity(86, "mm[Hg]")), (Decimal(86), ""), id="by itself"),
    ],
)
def test_pressure(resource: dict[str, Any], expected: tuple[Any, str]) -> None:
    assert read(resource) == {"systolic_bp": expected}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        pytest.param(observation("3151-8", **quantity(2, "L/min")), (True, ""), id="a flow is oxygen"),
        pytest.param(observation("3151-8", **quantity(0, "L/min")), (False, ""), id="no flow is air"),
        pytest.param(observation("3150-6", **quantity(28, "%")), (True, ""), id="28 % is oxygen"),
        pytest.param(observation("3150-6", **quantity(21, "%")), (False, ""), id="21 % is air"),
        pytest.param(observation("3151-8", **quantity(2, "mL/min")), (None, "unit"), id="another unit is not guessed"),
        pytest.param(observation("on-oxygen", SIGN, valueBoolean=True), (True, ""), id="the hub's own yes"),
        pytest.param(observation("371825009", SNOMED, **coded(SNOMED, "373067005")), (False, ""), id="a coded no"),
        pytest.param(observation("371825009", SNOMED, valueString="yes"), (None, "unreadable"), id="a text"),
    ],
)
def test_oxygen(resource: dict[str, Any], expected: tuple[Any, str]) -> None:
    assert read(resource) == {"on_oxygen": expected}


def test_oxygen_as_part_of_a_saturation() -> None:
    flow = {"code": {"coding": [{"system": LOINC, "code": "3151-8"}]}, **quantity(3, "L/min")}
    found = read(observation("59408-5", **quantity(90, "%"), component=[flow]))
    assert found == {"spo2": (Decimal(90), ""), "on_oxygen": (True, "")}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(coded(ACVPU, "C"), ("C", ""), id="the hub's own letter"),
        pytest.param(coded(LOINC, "LA9343-0"), ("U", ""), id="LOINC answer"),
        pytest.param(coded(SNOMED, "450847001"), ("P", ""), id="SNOMED CT finding"),
        pytest.param({"valueString": "V"}, ("V", ""), id="the letter as text"),
        pytest.param({"valueString": "awake"}, (None, "unreadable"), id="a word"),
        pytest.param(
            {"valueCodeableConcept": {"coding": [{"system": ACVPU, "code": "A"}, {"system": ACVPU, "code": "U"}]}},
            (None, "unreadable"),
            id="codings that contradict each other",
        ),
    ],
)
def test_consciousness(value: dict[str, Any], expected: tuple[Any, str]) -> None:
    assert read(observation("67775-7", **value)) == {"consciousness": expected}


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param({"effectiveDateTime": "2026-11-20T08:00:00+01:00"}, "2026-11-20T07:00:00.000Z", id="a moment"),
        pytest.param({"effectiveDateTime": "2026-11-20"}, "2026-11-20T22:59:59.999Z", id="a day ends at midnight here"),
        pytest.param(
            {"effectivePeriod": {"start": AT, "end": "2026-11-20T09:00:00Z"}}, "2026-11-20T09:00:00.000Z", id="a period"
        ),
        pytest.param({"issued": "2026-11-20T08:00:00Z"}, "2026-11-20T08:00:00.000Z", id="only when it was issued"),
        pytest.param({}, moment.written(NOW), id="nothing: now"),
    ],
)
def test_when_it_was_measured(times: dict[str, Any], expected: str) -> None:
    resource = {key: value for key, value in observation("8867-4").items() if key != "effectiveDateTime"}
    assert moment.written(vital_signs.measured_at({**resource, **times}, zone=PARIS, now=NOW)) == expected


def test_a_day_that_is_not_over_means_now() -> None:
    today = moment.written(NOW)[:10]
    assert vital_signs.measured_at(observation("8867-4", effectiveDateTime=today), zone=PARIS, now=NOW) == NOW


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        pytest.param("Patient/1", "1", id="relative"),
        pytest.param("Patient/1/_history/2", "1", id="with a version"),
        pytest.param("https://hub.example/fhir/Patient/1", "1", id="absolute, of this hub"),
        pytest.param("https://other.example/fhir/Patient/1", "", id="absolute, of another server"),
        pytest.param("Group/1", "", id="no patient"),
    ],
)
def test_whose_it_is(reference: str, expected: str) -> None:
    resource = observation("8867-4", subject={"reference": reference})
    assert vital_signs.patient_of(resource, "https://hub.example/fhir") == expected

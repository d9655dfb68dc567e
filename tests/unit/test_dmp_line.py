"""What people read of a resource: one line, in their language, nothing invented."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from adapters.dmp.line import Line, line_of, moment_of, person
from adapters.dmp.moment import order, shown
from fhir_server import gate

LOINC = "http://loinc.org"


def loinc(code: str) -> dict[str, Any]:
    return {"coding": [{"system": LOINC, "code": code}]}


WEIGHT = {
    "resourceType": "Observation",
    "status": "final",
    "code": loinc("29463-7"),
    "effectiveDateTime": "2026-11-20T08:00:00+01:00",
    "valueQuantity": {"value": Decimal("71.50"), "unit": "kg"},
}
PRESSURE = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "PA"},
    "component": [
        {"code": loinc("8480-6"), "valueQuantity": {"value": 120, "unit": "mmHg"}},
        {"code": loinc("8462-4"), "dataAbsentReason": {"text": "illisible"}},
    ],
}
NAMES = {"Practitioner/1": "Dr Martin", "Organization/2": "Clinique"}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        pytest.param(
            WEIGHT, Line("Poids", "20/11/2026 08:00 (+01:00)", "71.50 kg"), id="digits as written, hub's word"
        ),
        pytest.param(
            {**WEIGHT, "status": "preliminary"},
            Line("Poids", "20/11/2026 08:00 (+01:00)", "71.50 kg ; provisoire"),
            id="what is not final says so",
        ),
        pytest.param(
            PRESSURE,
            Line("PA", "", "Pression systolique : 120 mmHg ; Pression diastolique : (illisible)"),
            id="a panel shows its components, and why one is missing",
        ),
        pytest.param(
            {**WEIGHT, "valueQuantity": {"value": Decimal("37.9"), "unit": "Cel"}},
            Line("Poids", "20/11/2026 08:00 (+01:00)", "37.9 °C"),
            id="a code of UCUM that nobody reads is written as people write the unit",
        ),
        pytest.param(
            {
                "resourceType": "Condition",
                "code": {"text": "Insuffisance cardiaque"},
                "clinicalStatus": {"coding": [{"code": "active"}]},
                "onsetDateTime": "2019",
            },
            Line("Insuffisance cardiaque", "2019", "actif"),
            id="a partial date stays partial",
        ),
        pytest.param(
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "medicationCodeableConcept": {"coding": [{"display": "Furosémide 40 mg"}]},
                "dosageInstruction": [{"text": "1 le matin"}],
            },
            Line("Furosémide 40 mg", "", "1 le matin ; actif"),
            id="a treatment with its dose",
        ),
        pytest.param(
            {
                "resourceType": "AllergyIntolerance",
                "code": {"text": "Pénicilline"},
                "criticality": "high",
                "reaction": [{"manifestation": [{"text": "urticaire"}]}],
            },
            Line("Pénicilline", "", "urticaire ; high"),
            id="an allergy with its reaction",
        ),
        pytest.param(
            {
                "resourceType": "CareTeam",
                "status": "active",
                "participant": [
                    {"member": {"reference": "Practitioner/1"}, "role": [{"text": "médecin traitant"}]},
                    {"member": {"reference": "Practitioner/9"}},
                ],
            },
            Line("Équipe de soins", "", "Dr Martin (médecin traitant) ; Practitioner/9 ; actif"),
            id="members by name, by reference where there is none",
        ),
        pytest.param(
            {
                "resourceType": "Consent",
                "status": "active",
                "dateTime": "2026-11-20",
                "provision": {"type": "deny", "actor": [{"reference": {"reference": "Organization/2"}}]},
            },
            Line("Consentement", "20/11/2026", "refuse ; Clinique ; actif"),
            id="a consent says what and to whom",
        ),
        pytest.param(
            {"resourceType": "Specimen", "status": "available"},
            Line("Specimen", "", "available"),
            id="a type without words of its own is shown by its name",
        ),
        pytest.param(
            {
                "resourceType": "Encounter",
                "status": "finished",
                "class": {"code": "IMP"},
                "period": {"start": "2026-11-01", "end": "2026-11-04"},
            },
            Line("IMP", "01/11/2026 – 04/11/2026", "terminé"),
            id="a stay with its period",
        ),
    ],
)
def test_the_line_of_a_resource(resource: dict[str, Any], expected: Line) -> None:
    assert line_of(resource, "fr", NAMES) == expected


def test_the_line_in_english() -> None:
    assert line_of(WEIGHT, "en", NAMES) == Line("Body weight", "2026-11-20 08:00 (+01:00)", "71.50 kg")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"valueInteger": 7}, "7", id="integer"),
        pytest.param({"valueBoolean": False}, "non", id="boolean"),
        pytest.param({"valueString": "<b>"}, "<b>", id="text, escaped later"),
        pytest.param({"valueCodeableConcept": {"text": "sinusal"}}, "sinusal", id="a code"),
        pytest.param({"valueQuantity": {"comparator": "<", "value": 2, "code": "mg/L"}}, "<2 mg/L", id="a comparator"),
        pytest.param({"valueRange": {"low": {"value": 1}, "high": {"value": 2, "unit": "g"}}}, "1 – 2 g", id="a range"),
        pytest.param({"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 40}}}, "1 / 40", id="a ratio"),
        pytest.param({"valueSampledData": {"data": "1 2"}}, "courbe", id="a waveform"),
        pytest.param({}, "", id="nothing"),
    ],
)
def test_the_value_of_an_observation(value: dict[str, Any], expected: str) -> None:
    assert line_of({"resourceType": "Observation", "status": "final", **value}, "fr", {}).detail == expected


def test_digits_come_back_as_they_were_written() -> None:
    body = b'{"resourceType":"Observation","status":"final","valueQuantity":{"value":1.0E+2,"unit":"x"}}'
    assert line_of(gate.parse_resource(body), "fr", {}).detail == "1.0E+2 x"


@pytest.mark.parametrize(
    ("text", "fr", "en"),
    [
        pytest.param("2026", "2026", "2026", id="a year"),
        pytest.param("2026-11", "11/2026", "2026-11", id="a month"),
        pytest.param("2026-11-20", "20/11/2026", "2026-11-20", id="a day"),
        pytest.param("2026-11-20T07:00:30.123Z", "20/11/2026 07:00 (UTC)", "2026-11-20 07:00 (UTC)", id="a moment"),
        pytest.param("il y a 3 ans", "il y a 3 ans", "il y a 3 ans", id="words stay words"),
    ],
)
def test_a_date_is_no_more_exact_than_it_is(text: str, fr: str, en: str) -> None:
    assert (shown(text, "fr"), shown(text, "en")) == (fr, en)


def test_dates_sort_by_when_they_are() -> None:
    texts = ["2026-11-20T08:00:00+01:00", "2026-11-20T07:30:00Z", "2026-11-20", "2026", "", "2026-13-45"]
    assert sorted(texts, key=order, reverse=True)[:4] == [texts[1], texts[0], texts[2], texts[3]]


def test_when_it_happened_goes_before_when_it_was_written_down() -> None:
    assert moment_of({"resourceType": "Condition", "recordedDate": "2026", "onsetDateTime": "2019"}) == "2019"
    assert moment_of({"resourceType": "Encounter", "period": {"end": "2026-11-04"}}) == "2026-11-04"


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        pytest.param({"name": [{"family": "Martin", "given": ["Luc"], "prefix": ["Dr"]}]}, "Dr Martin Luc", id="parts"),
        pytest.param({"name": [{"text": "Luc Martin"}]}, "Luc Martin", id="a text"),
        pytest.param({"name": "Clinique"}, "Clinique", id="an organisation"),
        pytest.param({}, "", id="no name"),
    ],
)
def test_what_somebody_is_called(resource: dict[str, Any], expected: str) -> None:
    assert person(resource) == expected

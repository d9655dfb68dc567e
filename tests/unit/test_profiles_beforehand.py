"""Built-in profiles are judged where there is no store, as far as they need none."""

from __future__ import annotations

import pytest

from fhir_server import gate
from fhir_server.model import Resource
from fhir_server.profiles.beforehand import Beforehand

R4 = "http://hl7.org/fhir/StructureDefinition/"
VITALS, RATE, WEIGHT, BP = (R4 + name for name in ("vitalsigns", "heartrate", "bodyweight", "bp"))
ELSEWHERE = "https://guide.example/StructureDefinition/pulse"


def pulse(**other: object) -> Resource:
    """Return an Observation that conforms to R4's profile of heart rates."""
    coding = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": coding, "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": "Patient/a"},
        "effectiveDateTime": "2026-01-01T10:00:00Z",
        "valueQuantity": {"value": 72, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
        **other,
    }


@pytest.mark.parametrize(
    ("resource", "declared", "left"),
    [
        pytest.param(pulse(), (VITALS, RATE), (), id="what conforms is done with"),
        pytest.param(pulse(), (RATE + "|4.0.1",), (), id="a version of R4 is R4's"),
        pytest.param(pulse(), (RATE + "|5.0.0",), (RATE + "|5.0.0",), id="another version is asked of the store"),
        pytest.param(pulse(), (RATE, ELSEWHERE), (ELSEWHERE,), id="what the hub does not bring is asked of the store"),
        pytest.param(pulse(), (VITALS, BP), (BP,), id="what does not conform is said by a full check"),
        pytest.param(pulse(valueQuantity={"value": 72}), (VITALS, RATE), (RATE,), id="a value without its unit"),
        pytest.param(pulse(subject={"display": "Unknown"}), (RATE,), (RATE,), id="a doubt is left to a full check"),
        pytest.param(pulse(contained=[{"resourceType": "Patient"}]), (RATE,), (RATE,), id="what holds others"),
        pytest.param(pulse(extension=[{"url": "urn:x", "valueString": "x"}]), (RATE,), (RATE,), id="extensions"),
        pytest.param(
            pulse(
                code={"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
                valueQuantity={"value": 72, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
            ),
            (VITALS, WEIGHT),
            (WEIGHT,),
            id="a value set that only terminology knows",
        ),
    ],
)
def test_what_is_left_of_the_declared_profiles(
    resource: Resource, declared: tuple[str, ...], left: tuple[str, ...]
) -> None:
    assert Beforehand().left(resource, gate.write(resource), declared) == left

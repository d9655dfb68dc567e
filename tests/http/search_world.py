"""A small world to search in: every resource has an id of two or three letters that tests name."""

from __future__ import annotations

from typing import Any, Final

LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
WORDS: Final = "http://codes.example/fhir/CodeSystem/wounds"


def observation(id: str, patient: str, code: str, system: str = LOINC, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


def pressure(id: str, patient: str, high: int, low: int, at: str) -> dict[str, Any]:
    def part(code: str, value: int) -> dict[str, Any]:
        quantity = {"value": value, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"}
        return {"code": {"coding": [{"system": LOINC, "code": code}]}, "valueQuantity": quantity}

    component = [part("8480-6", high), part("8462-4", low)]
    return observation(id, patient, "85354-9", effectiveDateTime=at, component=component)


def weight(id: str, patient: str, value: float, unit: str) -> dict[str, Any]:
    quantity = {"value": value, "unit": unit, "system": UCUM, "code": unit}
    return observation(id, patient, "29463-7", effectiveDateTime="2026-03", valueQuantity=quantity)


def narrative(text: str) -> dict[str, str]:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>'}


WORLD: Final[list[dict[str, Any]]] = [
    {"resourceType": "Organization", "id": "tours", "name": "CHU de Tours"},
    {
        "resourceType": "Organization",
        "id": "bourges",
        "name": "Hôpital de Bourges",
        "partOf": {"reference": "Organization/tours"},
    },
    {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Petit"}]},
    {
        "resourceType": "Patient",
        "id": "chloe",
        "meta": {
            "tag": [{"system": "urn:tags", "code": "pilot"}],
            "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}],
            "source": "urn:source:hospital",
            "profile": ["http://profiles.example/StructureDefinition/one"],
        },
        "identifier": [
            {"type": {"coding": [{"system": "urn:types", "code": "INS"}]}, "system": "urn:ins", "value": "150"}
        ],
        "name": [{"family": "Müller-Lefèvre", "given": ["Chloé"]}],
        "gender": "female",
        "birthDate": "1950-06",
        "managingOrganization": {"reference": "Organization/bourges"},
        "generalPractitioner": [{"reference": "Practitioner/doc"}],
    },
    {
        "resourceType": "Patient",
        "id": "brian",
        "name": [{"family": "O'Brien", "given": ["Brian"]}],
        "gender": "male",
        "birthDate": "1950-06-15",
        "deceasedBoolean": True,
    },
    pressure("bp1", "chloe", 150, 95, "2026-03-01T10:00:00+01:00"),
    pressure("bp2", "brian", 120, 60, "2026-03-02"),
    weight("kg", "chloe", 70.0, "kg"),
    weight("lb", "brian", 154.3, "[lb_av]"),
    observation("burn", "chloe", "burn", WORDS, performer=[{"identifier": {"system": "urn:people", "value": "7"}}]),
    observation("cut", "brian", "cut", WORDS, valueString="Petite coupure, sans gravité"),
    {
        "resourceType": "Encounter",
        "id": "visit",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": "Patient/chloe"},
        "period": {"start": "2026-02-27T09:00:00+01:00", "end": "2026-03-01T12:00:00+01:00"},
    },
    {
        "resourceType": "Condition",
        "id": "sugar",
        "text": narrative("Diabète équilibré, sous régime"),
        "code": {"coding": [{"system": "urn:x", "code": "E11"}], "text": "Diabète de type 2"},
        "subject": {"reference": "Patient/chloe"},
        "encounter": {"reference": "Encounter/visit"},
        "note": [{"text": "Adressée par le médecin traitant"}],
    },
    {
        "resourceType": "Condition",
        "id": "press",
        "code": {"coding": [{"system": "urn:x", "code": "I10", "display": "Hypertension essentielle"}]},
        "subject": {"reference": "Patient/brian"},
    },
    {
        "resourceType": "RiskAssessment",
        "id": "risk",
        "status": "final",
        "subject": {"reference": "Patient/chloe"},
        "prediction": [{"probabilityDecimal": 0.5}],
    },
    {
        "resourceType": "Location",
        "id": "town",
        "name": "Bourges",
        "position": {"longitude": 2.3988, "latitude": 47.081},
    },
    {
        "resourceType": "List",
        "id": "round",
        "status": "current",
        "mode": "working",
        "entry": [{"item": {"reference": "Patient/chloe"}}, {"item": {"reference": "Condition/press"}}],
    },
    {
        "resourceType": "CodeSystem",
        "id": "wounds",
        "url": WORDS,
        "status": "active",
        "content": "complete",
        "hierarchyMeaning": "is-a",
        "concept": [
            {"code": "wound", "concept": [{"code": "burn", "concept": [{"code": "scald"}]}, {"code": "cut"}]},
            {"code": "none"},
        ],
    },
    {
        "resourceType": "ValueSet",
        "id": "hot",
        "url": "http://codes.example/fhir/ValueSet/hot",
        "status": "active",
        "compose": {"include": [{"system": WORDS, "concept": [{"code": "burn"}, {"code": "scald"}]}]},
    },
    {
        "resourceType": "Questionnaire",
        "id": "ask",
        "url": "http://forms.example/Questionnaire/pain",
        "version": "2",
        "status": "active",
    },
    {
        "resourceType": "QuestionnaireResponse",
        "id": "answer",
        "status": "completed",
        "questionnaire": "http://forms.example/Questionnaire/pain|2",
        "subject": {"reference": "Patient/chloe"},
    },
    {
        "resourceType": "Provenance",
        "id": "old",
        "target": [{"reference": "Patient/brian/_history/1"}],
        "recorded": "2026-03-02T10:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/doc"}}],
    },
]


def bundle() -> dict[str, Any]:
    """Return the world as one transaction."""
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}, "resource": one}
            for one in WORLD
        ],
    }

"""The form of the index: what is indexed is what its number says."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

from fhir_server.indexing import form
from fhir_server.search.extract import Indexer

SYSTEM = "http://x.org/s"
RESOURCES: tuple[dict[str, Any], ...] = (
    {
        "resourceType": "Patient", "id": "1", "active": True, "birthDate": "1970-02",
        "identifier": [{"system": SYSTEM, "value": "a", "type": {"coding": [{"system": SYSTEM, "code": "MR"}]}}],
        "name": [{"family": "Lefèvre", "given": ["Zoé", "Éva"], "prefix": ["Mme"]}],
        "address": [{"line": ["1 rue"], "city": "Évry", "postalCode": "91000"}],
        "telecom": [{"system": "phone", "value": "+33 1"}], "deceasedBoolean": False,
        "generalPractitioner": [{"reference": "Practitioner/1/_history/2"}],
        "managingOrganization": {"identifier": {"system": SYSTEM, "value": "o"}},
    },
    {
        "resourceType": "Observation", "id": "2", "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2339-0", "display": "Glucose"}], "text": "Glycémie"},
        "subject": {"reference": "http://hub.example/fhir/Patient/1"}, "effectiveDateTime": "2026-03-29T02:30:00",
        "valueQuantity": {"value": Decimal("97.0"), "comparator": "<", "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"},
        "component": [{"code": {"text": "c"}, "valueCodeableConcept": {"coding": [{"code": "x"}]}}],
    },
    {
        "resourceType": "Encounter", "id": "3", "status": "finished", "class": {"code": "AMB"},
        "period": {"start": "2026-01-01", "end": "2026-01-02T10:00:00+01:00"},
        "participant": [{"individual": {"reference": "urn:uuid:1"}}],
    },
    {
        "resourceType": "RiskAssessment", "id": "4", "status": "final", "subject": {"reference": "Patient/1"},
        "prediction": [{"probabilityRange": {"low": {"value": 1}, "high": {"value": 2}}}],
        "occurrencePeriod": {"start": "2026"},
    },
    {
        "resourceType": "Location", "id": "5", "position": {"latitude": Decimal("48.85"), "longitude": Decimal("2.35")},
    },
    {
        "resourceType": "DocumentReference", "id": "6", "status": "current", "content": [{"attachment": {"url": "http://x"}}],
        "relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/7"}}],
    },
    {"resourceType": "ValueSet", "id": "7", "url": "http://x.org/vs|1", "status": "draft"},
    {"resourceType": "Basic", "id": "8", "code": {"text": "x"}, "contained": [{"resourceType": "Medication", "id": "m"}]},
)  # fmt: skip


def test_what_is_indexed_has_not_changed_without_the_number_of_the_form() -> None:
    """Where this fails what a store holds was indexed otherwise: raise `form.FORM`, and write the new digest here."""
    index = Indexer("Europe/Paris", "http://hub.example/fhir")
    made = [(sorted(found.values.items()), found.owners) for found in map(index, RESOURCES)]
    digest = hashlib.blake2b(repr(made).encode(), digest_size=8).hexdigest()
    assert (form.FORM, digest) == (3, "a9713922ef70ab30")


def test_the_form_is_of_one_zone() -> None:
    assert form.index_form("UTC") == form.index_form("UTC") != form.index_form("Europe/Paris")


def test_the_relationship_of_documents_is_found() -> None:
    (found,) = Indexer("UTC")(RESOURCES[5]).values["relationship"]
    assert [type(part).__name__ for part in found.parts] == ["Reference", "Token"]  # type: ignore[union-attr]

"""What search parameters find, value type by value type, and who owns a resource."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fhir_server.definitions import resource_types, search_parameters
from fhir_server.search.dates import EARLIEST, LATEST
from fhir_server.search.extract import Indexer, index
from fhir_server.search.parameters import parameter, parameters_of
from fhir_server.search.query import Parameter
from fhir_server.search.values import (
    NOTHING,
    Composite,
    Number,
    Period,
    Position,
    Quantity,
    Reference,
    Text,
    Token,
    Uri,
    Value,
)

BASE = "https://hub.example/fhir"
INDEX = Indexer("UTC", BASE)
UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"


def found(type: str, parameter: str, /, **elements: Any) -> tuple[Value, ...]:
    return INDEX({"resourceType": type, **elements}).values.get(parameter, ())


def mg(low: str | None, high: str | None) -> Quantity:
    least, most = (None if bound is None else Decimal(bound) for bound in (low, high))
    return Quantity(least, most, UCUM, "mg", "")


@pytest.mark.parametrize(
    ("concept", "tokens"),
    [
        pytest.param({"coding": [{"system": LOINC, "code": "1-8"}]}, [Token(LOINC, "1-8")], id="a coding"),
        pytest.param({"coding": [{"code": "1-8"}]}, [Token("", "1-8")], id="a coding without system"),
        pytest.param({"coding": [{"code": "a", "display": "A"}]}, [Token("", "a", "A")], id="a display"),
        pytest.param({"coding": [{"code": "a"}, {"code": "b"}]}, [Token("", "a"), Token("", "b")], id="two codings"),
        pytest.param({"coding": [{"code": "a"}, {"code": "a"}]}, [Token("", "a")], id="the same coding twice"),
        pytest.param({"text": "Fever"}, [Token("", "", "Fever")], id="a text alone"),
        pytest.param({"coding": [{"code": "a"}], "text": "Fever"}, [Token("", "a"), Token("", "a", "Fever")],
                     id="a text goes with the first coding too"),
        pytest.param({"coding": [{"code": "a", "display": "Fever"}], "text": "Fever"}, [Token("", "a", "Fever")],
                     id="a text that says the same adds nothing"),
        pytest.param({"coding": []}, [], id="nothing"),
    ],
)  # fmt: skip
def test_concepts_are_tokens(concept: dict[str, Any], tokens: list[Token]) -> None:
    assert list(found("Condition", "code", code=concept)) == tokens


@pytest.mark.parametrize(
    ("type", "code", "elements", "tokens"),
    [
        pytest.param("Patient", "_id", {"id": "p1"}, [Token("", "p1")], id="an id"),
        pytest.param("Patient", "gender", {"gender": "female"}, [Token("", "female")], id="a code has no system"),
        pytest.param("Patient", "active", {"active": False}, [Token("", "false")], id="a boolean"),
        pytest.param("Patient", "deceased", {}, [Token("", "false")], id="a living patient is not deceased"),
        pytest.param("Patient", "deceased", {"deceasedDateTime": "2024"}, [Token("", "true")], id="a date of death"),
        pytest.param("Patient", "deceased", {"deceasedBoolean": False}, [Token("", "false")], id="deceased: false"),
        pytest.param("Patient", "identifier", {"identifier": [{"system": "urn:x", "value": "1"}]}, [Token("urn:x", "1")],
                     id="an identifier"),
        pytest.param("Patient", "identifier",
                     {"identifier": [{"value": "1", "type": {"coding": [{"system": "s", "code": "MR"}], "text": "IPP"}}]},
                     [Token("", "1", "IPP", ("s", "MR"))], id="an identifier with a type"),
        pytest.param("Patient", "identifier", {"identifier": [{"system": "urn:x"}]}, [], id="an identifier without value"),
        pytest.param("Patient", "email", {"telecom": [{"system": "email", "value": "a@b"}, {"system": "phone", "value": "1"}]},
                     [Token("", "a@b")], id="an e-mail address alone"),
        pytest.param("Patient", "telecom", {"telecom": [{"system": "email", "value": "a@b"}, {"value": "1"}]},
                     [Token("", "a@b"), Token("", "1")], id="every contact point"),
        pytest.param("Patient", "_tag", {"meta": {"tag": [{"system": "s", "code": "t"}]}}, [Token("s", "t")], id="a tag"),
        pytest.param("Medication", "ingredient-code", {"ingredient": [{"itemCodeableConcept": {"coding": [{"code": "a"}]}}]},
                     [Token("", "a")], id="a choice that is a concept"),
        pytest.param("Medication", "ingredient-code", {"ingredient": [{"itemReference": {"reference": "Medication/1"}}]},
                     [], id="a choice that is none"),
        pytest.param("Device", "din", {"extension": [{"url": "http://hl7.org/fhir/SearchParameter/device-extensions-Device-din",
                     "valueIdentifier": {"value": "W1"}}]}, [Token("", "W1")], id="an extension by its value"),
    ],
)  # fmt: skip
def test_tokens(type: str, code: str, elements: dict[str, Any], tokens: list[Token]) -> None:
    assert list(found(type, code, **elements)) == tokens


@pytest.mark.parametrize(
    ("code", "elements", "texts"),
    [
        pytest.param("family", {"name": [{"family": "Durand"}]}, ["Durand"], id="a part"),
        pytest.param("name", {"name": [{"family": "Durand", "given": ["Anne", "Marie"], "prefix": ["Mme"]}]},
                     ["Mme", "Anne", "Marie", "Durand", "Anne Marie Durand"], id="all parts, given and family joined"),
        pytest.param("name", {"name": [{"text": "Anne Durand"}]}, ["Anne Durand"], id="a text"),
        pytest.param("name", {"name": [{"family": "Durand", "_family": {"id": "a"}, "given": [None, "Anne"]}]},
                     ["Anne", "Durand", "Anne Durand"], id="a gap in a list"),
        pytest.param("address", {"address": [{"line": ["1 rue X"], "city": "Brest", "postalCode": "29200"}]},
                     ["1 rue X", "Brest", "29200", "1 rue X Brest 29200"], id="an address, in parts and joined"),
        pytest.param("address-city", {"address": [{"city": "Brest"}, {"city": "Lyon"}]}, ["Brest", "Lyon"], id="cities"),
    ],
)  # fmt: skip
def test_strings(code: str, elements: dict[str, Any], texts: list[str]) -> None:
    assert found("Patient", code, **elements) == tuple(Text(text) for text in texts)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        pytest.param({"reference": "Patient/1"}, Reference("Patient", "1"), id="relative"),
        pytest.param({"reference": "Patient/1/_history/2"}, Reference("Patient", "1", "", "2"), id="with a version"),
        pytest.param({"reference": f"{BASE}/Patient/1"}, Reference("Patient", "1"), id="absolute, of this server"),
        pytest.param({"reference": "https://x.example/Patient/1"}, Reference("Patient", "", "https://x.example/Patient/1"),
                     id="absolute, elsewhere"),
        pytest.param({"reference": "urn:uuid:0"}, Reference("", "", "urn:uuid:0"), id="a urn"),
        pytest.param({"identifier": {"system": "s", "value": "1"}, "type": "Patient"},
                     Reference("Patient", "", identifier=Token("s", "1")), id="by identifier alone"),
        pytest.param({"reference": "Patient/1", "identifier": {"value": "1"}},
                     Reference("Patient", "1", identifier=Token("", "1")), id="by both"),
        pytest.param({"reference": "#p"}, None, id="a contained resource"),
        pytest.param({"display": "Anne"}, None, id="by name alone"),
        pytest.param({"reference": ""}, None, id="by nothing"),
    ],
)  # fmt: skip
def test_references(reference: dict[str, Any], expected: Reference | None) -> None:
    assert found("Observation", "subject", subject=reference) == ((expected,) if expected else ())


def test_patient_is_the_subject_where_that_is_a_patient() -> None:
    for type, there in (("Patient", True), ("Group", False)):
        values = INDEX({"resourceType": "Observation", "subject": {"reference": f"{type}/1"}}).values
        assert ("patient" in values) is there
        assert values["subject"] == (Reference(type, "1"),)


@pytest.mark.parametrize(
    ("type", "code", "elements", "expected"),
    [
        pytest.param("ActivityDefinition", "depends-on",
                     {"relatedArtifact": [{"type": "depends-on", "resource": "http://x/L|2"}, {"type": "citation", "resource": "y"}]},
                     (Reference("", "", "http://x/L", "2"),), id="a canonical with its version, filtered by another element"),
        pytest.param("ConceptMap", "source-uri", {"sourceUri": "http://x/v"}, (Reference("", "", "http://x/v"),), id="a uri"),
        pytest.param("Bundle", "composition",
                     {"type": "document", "entry": [{"resource": {"resourceType": "Composition", "id": "c"}}]},
                     (Reference("Composition", "c"),), id="the first resource of a document"),
        pytest.param("Bundle", "message",
                     {"type": "document", "entry": [{"resource": {"resourceType": "Composition", "id": "c"}}]},
                     (), id="which is no message"),
        pytest.param("QuestionnaireResponse", "item-subject",
                     {"item": [{"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-isSubject",
                                               "valueBoolean": True}],
                                "answer": [{"valueReference": {"reference": "Patient/1"}}]}]},
                     (Reference("Patient", "1"),), id="an answer that is the subject"),
        pytest.param("ValueSet", "url", {"url": "http://x/v"}, (Uri("http://x/v"),), id="a uri as it is written"),
        pytest.param("Patient", "_profile", {"meta": {"profile": ["http://x/p|1"]}},
                     (Uri("http://x/p|1"), Uri("http://x/p")), id="a profile with and without its version"),
        pytest.param("Location", "near", {"position": {"latitude": Decimal("48.39"), "longitude": -4}},
                     (Position(48.39, -4.0),), id="a place"),
        pytest.param("RiskAssessment", "probability", {"prediction": [{"probabilityDecimal": Decimal("0.5")}]},
                     (Number(Decimal("0.5"), Decimal("0.5")),), id="a number"),
        pytest.param("RiskAssessment", "probability",
                     {"prediction": [{"probabilityRange": {"low": {"value": 1}, "high": {"value": 2}}}]},
                     (Number(Decimal(1), Decimal(2)),), id="a range of numbers"),
    ],
)  # fmt: skip
def test_other_values(type: str, code: str, elements: dict[str, Any], expected: tuple[Value, ...]) -> None:
    assert found(type, code, **elements) == expected


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        pytest.param({"value": Decimal("1.10")}, mg("1.10", "1.10"), id="a value"),
        pytest.param({"value": 5}, mg("5", "5"), id="an integer"),
        pytest.param({"value": 5, "comparator": "<"}, mg(None, "5"), id="less than"),
        pytest.param({"value": 5, "comparator": ">="}, mg("5", None), id="at least"),
    ],
)
def test_quantities(quantity: dict[str, Any], expected: Quantity) -> None:
    quantity = {"system": UCUM, "code": "mg", **quantity}
    assert found("Observation", "value-quantity", valueQuantity=quantity) == (expected,)


def test_quantities_of_other_types() -> None:
    years = {"value": 60, "system": UCUM, "code": "a", "unit": "ans"}
    assert found("Condition", "onset-age", onsetAge=years) == (Quantity(Decimal(60), Decimal(60), UCUM, "a", "ans"),)
    assert found("Condition", "onset-age", onsetRange={"low": years}) == (
        Quantity(Decimal(60), None, UCUM, "a", "ans"),
    )
    assert found("Invoice", "totalgross", totalGross={"value": 3, "currency": "EUR"}) == (
        Quantity(Decimal(3), Decimal(3), "urn:iso:std:iso:4217", "EUR", "EUR"),
    )
    assert found("Observation", "value-quantity", valueSampledData={"data": "1 2"}) == ()
    assert found("Observation", "value-quantity", valueQuantity={"unit": "mg"}) == ()


COMPONENTS = [
    {"code": {"coding": [{"system": LOINC, "code": "8480-6"}], "text": "Sys"}, "valueQuantity": {"value": 120}},
    {"code": {"coding": [{"system": LOINC, "code": "8462-4"}]}, "valueQuantity": {"value": 80}},
    {"code": {"coding": [{"system": LOINC, "code": "8478-0"}]}, "dataAbsentReason": {"text": "unknown"}},
]


def plain(value: int) -> Quantity:
    return Quantity(Decimal(value), Decimal(value), "", "", "")


def test_composites_join_what_stands_in_one_element() -> None:
    pairs = (
        Composite((Token(LOINC, "8480-6"), plain(120))),
        Composite((Token(LOINC, "8462-4"), plain(80))),
    )
    observation = {"code": {"coding": [{"code": "85354-9"}]}, "component": COMPONENTS}
    assert found("Observation", "component-code-value-quantity", **observation) == pairs
    assert found("Observation", "combo-code-value-quantity", **observation) == pairs
    assert found("Observation", "code-value-quantity", **observation) == ()


def test_composites_at_the_root_and_with_the_resource() -> None:
    observation = {"code": {"coding": [{"code": "a"}, {"code": "b"}]}, "valueDateTime": "2024-01-01T00:00:00Z"}
    second = Period(1_704_067_200_000_000, 1_704_067_201_000_000)
    expected = (Composite((Token("", "a"), second)), Composite((Token("", "b"), second)))
    assert found("Observation", "code-value-date", **observation) == expected
    sequence = {"referenceSeq": {"chromosome": {"coding": [{"code": "7"}]}}, "variant": [{"start": 1, "end": 2}]}
    assert found("MolecularSequence", "chromosome-variant-coordinate", **sequence) == (
        Composite((Token("", "7"), Number(Decimal(1), Decimal(1)), Number(Decimal(2), Decimal(2)))),
    )


@pytest.mark.parametrize(
    ("resource", "owners"),
    [
        pytest.param({"resourceType": "Patient", "id": "1", "link": [{"other": {"reference": "Patient/2"}}]}, ("1",),
                     id="a patient belongs to itself alone"),
        pytest.param({"resourceType": "Observation", "subject": {"reference": "Patient/1"},
                      "performer": [{"reference": "Patient/2"}]}, ("1",), id="the subject, not who performed"),
        pytest.param({"resourceType": "Observation", "subject": {"reference": "Device/1"},
                      "performer": [{"reference": "Patient/2"}]}, ("2",), id="who performed, where the subject is no patient"),
        pytest.param({"resourceType": "Observation", "subject": {"reference": f"{BASE}/Patient/1"}}, ("1",),
                     id="an absolute reference to this server"),
        pytest.param({"resourceType": "Observation", "subject": {"reference": "https://x.example/Patient/1"}}, (),
                     id="no patient of another server"),
        pytest.param({"resourceType": "Communication", "sender": {"reference": "Patient/3"}}, ("3",),
                     id="the sender, where there is no subject"),
        pytest.param({"resourceType": "Coverage", "beneficiary": {"reference": "Patient/1"},
                      "payor": [{"reference": "Patient/2"}]}, ("1",), id="the beneficiary, not who pays"),
        pytest.param({"resourceType": "Task", "for": {"reference": "Patient/1"}}, ("1",), id="whom a task is for"),
        pytest.param({"resourceType": "Device", "patient": {"reference": "Patient/1"}}, ("1",), id="who wears a device"),
        pytest.param({"resourceType": "Provenance", "target": [{"reference": "Patient/1"}, {"reference": "Patient/2"}]},
                     ("1", "2"), id="several patients"),
        pytest.param({"resourceType": "Group", "member": [{"entity": {"reference": "Patient/1"}}]}, ("1",),
                     id="the members of a group"),
        pytest.param({"resourceType": "Organization", "name": "CHU"}, (), id="nobody"),
    ],
)  # fmt: skip
def test_owners(resource: dict[str, Any], owners: tuple[str, ...]) -> None:
    assert INDEX(resource).owners == owners


def test_dates_have_zones_and_periods_may_be_open() -> None:
    patient = {"resourceType": "Patient", "birthDate": "1950-04-01"}
    midnight = -623_376_000_000_000
    assert INDEX(patient).values["birthdate"] == (Period(midnight, midnight + 86_400_000_000),)
    assert index(patient).values["birthdate"] == (Period(midnight - 3_600_000_000, midnight + 82_800_000_000),)
    open_ended = found("Encounter", "date", period={"start": "2024-01-01T00:00:00Z"})
    assert open_ended == (Period(1_704_067_200_000_000, LATEST),)
    assert found("Encounter", "date", period={"end": "2024-01-01T00:00:00Z"})[0] == Period(
        EARLIEST, 1_704_067_201_000_000
    )
    assert found("Encounter", "date", period={"end": "soon"}) == ()


def test_a_parameter_made_at_run_time_is_evaluated() -> None:
    made = Parameter("nick", "string", "Patient", "Patient.name.where(use = 'nickname').given")
    patient = {"resourceType": "Patient", "name": [{"use": "nickname", "given": ["Nana"]}, {"given": ["Anne"]}]}
    assert INDEX.values(made, patient) == (Text("Nana"),)


def test_an_unknown_type_has_no_values() -> None:
    assert INDEX({"resourceType": "Nothing"}) == NOTHING
    assert INDEX({}) == NOTHING
    assert not parameters_of("Nothing")


def test_every_parameter_of_r4_with_an_expression_is_registered() -> None:
    for definition in search_parameters():
        for base in definition.base:
            if definition.expression:
                types = resource_types() if base in ("Resource", "DomainResource") else (base,)
                assert all(parameter(type, definition.code) for type in types), definition.url


def test_shared_definitions_are_cut_to_the_type() -> None:
    code = parameter("MedicationRequest", "code")
    patient = parameter("Observation", "patient")
    assert code is not None
    assert code.expression == "(MedicationRequest.medication as CodeableConcept)"
    assert patient is not None
    assert patient.targets == ("Patient",)
    assert parameter("Patient", "_text") is None


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        pytest.param({"reference": "Patient/7"}, ("7",), id="a patient's file is the patient's"),
        pytest.param({"reference": "Practitioner/7"}, (), id="a file of somebody else is of no patient"),
        pytest.param(None, (), id="a file without a context is of no patient"),
    ],
)
def test_a_binary_belongs_to_the_patient_of_its_security_context(context: Any, expected: tuple[str, ...]) -> None:
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="}
    assert index({**binary, "securityContext": context} if context else binary).owners == expected

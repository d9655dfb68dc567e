"""What the validator reports, issue by issue."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fhir_server import fhirpath
from fhir_server.definitions import codes
from fhir_server.errors import Issue
from fhir_server.validation import validate

PATIENT: dict[str, Any] = {"resourceType": "Patient", "id": "p1"}
CODE = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
OBSERVATION: dict[str, Any] = {"resourceType": "Observation", "status": "final", "code": CODE}
BASIC: dict[str, Any] = {"resourceType": "Basic", "id": "b", "code": {"text": "x"}}
CONDITION: dict[str, Any] = {"resourceType": "Condition", "subject": {"reference": "Patient/1"}}
EXTENSION = {"url": "http://example.org/x", "valueString": "y"}

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'
MEMBER = {"onBehalfOf": {"reference": "Organization/1"}}


def _found(resource: Any) -> list[tuple[str, str]]:
    return [(issue.expression, issue.code) for issue in validate(resource)]


def _clinical(system: str, code: str) -> dict[str, Any]:
    url = f"http://terminology.hl7.org/CodeSystem/{system}"
    return {**CONDITION, "clinicalStatus": {"coding": [{"system": url, "code": code}]}}


@pytest.mark.parametrize(
    "resource",
    [
        pytest.param(PATIENT, id="almost nothing"),
        pytest.param({**PATIENT, "birthDate": "2020-02-29", "active": False}, id="primitives"),
        pytest.param({**PATIENT, "_birthDate": {"extension": [EXTENSION]}}, id="a primitive that is an extension"),
        pytest.param({**PATIENT, "name": [{"given": ["A", "B"], "_given": [None, {"id": "x"}]}]}, id="arrays in pairs"),
        pytest.param(
            {**PATIENT, "name": [{"given": ["A", None], "_given": [None, {"extension": [EXTENSION]}]}]},
            id="a null where the pair has an extension",
        ),
        pytest.param({**PATIENT, "name": [{"given": ["A", "B"], "_given": [{"id": "x"}]}]}, id="a shorter pair"),
        pytest.param({**PATIENT, "_id": {"extension": [EXTENSION]}}, id="an extension of the id of a resource"),
        pytest.param({**OBSERVATION, "valueQuantity": {"value": Decimal("1.10")}}, id="a decimal"),
        pytest.param({**OBSERVATION, "valueQuantity": {"value": 1}}, id="an integer as decimal"),
        pytest.param({**OBSERVATION, "subject": {"display": "somebody"}}, id="a reference without reference"),
        pytest.param({**PATIENT, "modifierExtension": [EXTENSION]}, id="a modifier extension"),
        pytest.param(
            {**PATIENT, "contained": [BASIC], "link": [{"other": {"reference": "#b"}, "type": "refer"}]}, id="#"
        ),
        pytest.param(
            {**OBSERVATION, "contained": [{**BASIC, "subject": {"reference": "#"}}]},
            id="a contained resource that refers to its container",
        ),
        pytest.param(
            {**OBSERVATION, "contained": [BASIC], "extension": [{"url": "http://x", "valueUri": "#b"}]},
            id="a contained resource that a uri refers to",
        ),
        pytest.param(_clinical("condition-clinical", "active"), id="a code of the required set"),
        pytest.param({**OBSERVATION, "component": [{"code": CODE}], "code": {"text": "x"}}, id="a component"),
        pytest.param(
            {"resourceType": "Parameters", "parameter": [{"name": "a", "resource": PATIENT}]}, id="a resource inside"
        ),
        pytest.param({**PATIENT, "generalPractitioner": [{"identifier": {"value": "1"}}]}, id="a logical reference"),
        pytest.param(
            {"resourceType": "CareTeam", "participant": [{**MEMBER, "member": {"reference": "Practitioner/1"}}]},
            id="a practitioner on behalf of an organization",
        ),
        pytest.param({**PATIENT, "maritalStatus": {"text": "x"}}, id="a text alone where the binding is extensible"),
        pytest.param(
            {**OBSERVATION, "effectivePeriod": {"start": "2024-05", "end": "2024"}}, id="a period that may be in order"
        ),
    ],
)
def test_what_r4_allows_has_no_issue(resource: Any) -> None:
    assert validate(resource) == []


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        pytest.param([], [("", "structure")], id="an array"),
        pytest.param({}, [("", "structure")], id="an empty object"),
        pytest.param({"id": "x"}, [("", "structure")], id="no resourceType"),
        pytest.param({"resourceType": 7}, [("", "structure")], id="a resourceType that is a number"),
        pytest.param(
            {"resourceType": "CodeSystem", "status": "draft", "content": "complete", "concept": [{"code": [[]]}]},
            [("CodeSystem.concept[0].code", "structure")],
            id="lists in a list where an invariant compares codes",
        ),
        pytest.param(
            {
                "resourceType": "CodeSystem",
                "status": "draft",
                "content": "complete",
                "concept": [{"code": "a", "concept": [{"code": "b"}, {"code": "a"}]}],
            },
            [("CodeSystem", "invariant")],
            id="a code twice, at different depths",
        ),
        pytest.param({"resourceType": "Horoscope"}, [("", "not-supported")], id="an unknown type"),
        pytest.param({"resourceType": "patient"}, [("", "not-supported")], id="a type in the wrong case"),
        pytest.param({"resourceType": "DomainResource"}, [("", "not-supported")], id="an abstract type"),
        pytest.param({**PATIENT, "naem": []}, [("Patient.naem", "structure")], id="an unknown element"),
        pytest.param({**PATIENT, "a b": 1}, [("Patient", "structure")], id="a key that is no name is not shown"),
        pytest.param(
            {**PATIENT, "_name": [{"id": "x"}]}, [("Patient._name", "structure")], id="_ beside a complex one"
        ),
        pytest.param({**PATIENT, "name": {"text": "x"}}, [("Patient.name", "structure")], id="an object for an array"),
        pytest.param({**PATIENT, "name": []}, [("Patient.name", "structure")], id="an empty array"),
        pytest.param({**PATIENT, "name": [{}]}, [("Patient.name[0]", "structure")], id="an empty object in an array"),
        pytest.param({**PATIENT, "name": [None]}, [("Patient.name[0]", "structure")], id="null in an array"),
        pytest.param({**PATIENT, "name": ["x"]}, [("Patient.name[0]", "structure")], id="a primitive for an object"),
        pytest.param({**PATIENT, "gender": ["male"]}, [("Patient.gender", "structure")], id="an array for a primitive"),
        pytest.param({**PATIENT, "gender": None}, [("Patient.gender", "structure")], id="null for a primitive"),
        pytest.param({**PATIENT, "active": "true"}, [("Patient.active", "structure")], id="a string for a boolean"),
        pytest.param({**PATIENT, "active": 1}, [("Patient.active", "structure")], id="a number for a boolean"),
        pytest.param({**PATIENT, "birthDate": 2020}, [("Patient.birthDate", "structure")], id="a number for a date"),
        pytest.param({**PATIENT, "birthDate": "2023-02-29"}, [("Patient.birthDate", "value")], id="no such day"),
        pytest.param({**PATIENT, "id": "a_b"}, [("Patient.id", "value")], id="an id with an underscore"),
        pytest.param(
            {**PATIENT, "multipleBirthInteger": 2**31}, [("Patient.multipleBirth", "value")], id="33 bits of integer"
        ),
        pytest.param(
            {**PATIENT, "multipleBirthInteger": Decimal("1.0")}, [("Patient.multipleBirth", "value")], id="1.0"
        ),
        pytest.param(
            {**PATIENT, "deceasedBoolean": True, "deceasedDateTime": "2020"},
            [("Patient.deceased", "structure")],
            id="a choice given twice",
        ),
        pytest.param(
            {**PATIENT, "deceasedBoolean": True, "_deceasedDateTime": {"id": "x", "extension": [EXTENSION]}},
            [("Patient.deceased", "structure")],
            id="a choice given twice, once as extension",
        ),
        pytest.param(
            {**PATIENT, "deceased": True}, [("Patient.deceased", "structure")], id="a choice without its type"
        ),
        pytest.param(
            {**OBSERVATION, "valueAddress": {"text": "x"}}, [("Observation.valueAddress", "structure")], id="no choice"
        ),
        pytest.param(
            {"resourceType": "Observation"},
            [("Observation.status", "required"), ("Observation.code", "required")],
            id="required elements",
        ),
        pytest.param(
            {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "subject": {"display": "x"}},
            [("MedicationRequest.medication", "required")],
            id="a required choice",
        ),
        pytest.param({**PATIENT, "gender": "Male"}, [("Patient.gender", "code-invalid")], id="a code not in the set"),
        pytest.param({**PATIENT, "gender": "m  e"}, [("Patient.gender", "value")], id="a code that can be none"),
        pytest.param(
            _clinical("condition-clinical", "x"), [("Condition.clinicalStatus", "code-invalid")], id="no such code"
        ),
        pytest.param(_clinical("other", "active"), [("Condition.clinicalStatus", "code-invalid")], id="another system"),
        pytest.param(
            {**CONDITION, "clinicalStatus": {"text": "x"}}, [("Condition.clinicalStatus", "code-invalid")], id="text"
        ),
        pytest.param({**PATIENT, "_gender": {"id": "x"}}, [("Patient.gender", "invariant")], id="an id alone: ele-1"),
        pytest.param({**PATIENT, "name": [{"id": "x"}]}, [("Patient.name[0]", "invariant")], id="the same, complex"),
        pytest.param({**PATIENT, "_gender": []}, [("Patient.gender", "structure")], id="an array beside a primitive"),
        pytest.param(
            {**PATIENT, "name": [{"given": ["A", None]}]}, [("Patient.name[0].given[1]", "structure")], id="null alone"
        ),
        pytest.param(
            {**PATIENT, "name": [{"_given": [None]}]}, [("Patient.name[0].given[0]", "structure")], id="null in a pair"
        ),
        pytest.param(
            {**PATIENT, "_birthDate": {"extension": [{"valueString": "x"}]}},
            [("Patient.birthDate.extension[0].url", "required")],
            id="an extension of a primitive without url",
        ),
        pytest.param(
            {**PATIENT, "extension": [{"url": "http://x"}]},
            [("Patient.extension[0]", "invariant")],
            id="ext-1: nothing",
        ),
        pytest.param(
            {**PATIENT, "extension": [{**EXTENSION, "extension": [EXTENSION]}]},
            [("Patient.extension[0]", "invariant")],
            id="ext-1: both",
        ),
        pytest.param(
            {**PATIENT, "name": [{"_id": {"id": "x"}, "text": "x"}]},
            [("Patient.name[0]._id", "structure")],
            id="_id in an element",
        ),
        pytest.param(
            {**OBSERVATION, "subject": {"reference": "#x"}}, [("Observation.subject", "invariant")], id="ref-1"
        ),
        pytest.param({**PATIENT, "contained": [BASIC]}, [("Patient.contained[0]", "invariant")], id="dom-3"),
        pytest.param(
            {**OBSERVATION, "valueString": "x", "component": [{"code": CODE}]},
            [("Observation", "invariant")],
            id="obs-7",
        ),
        pytest.param(
            {**OBSERVATION, "referenceRange": [{"low": {"value": 1, "comparator": "<"}}]},
            [("Observation.referenceRange[0].low", "invariant")],
            id="sqty-1, at the element",
        ),
        pytest.param(
            {**OBSERVATION, "effectivePeriod": {"start": "2024-02-01", "end": "2024-01-01"}},
            [("Observation.effective", "invariant")],
            id="per-1",
        ),
        pytest.param(
            {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {**PATIENT, "gender": "x"}}]},
            [("Bundle.entry[0].resource.gender", "code-invalid")],
            id="a resource in a Bundle",
        ),
        pytest.param(
            {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"resourceType": "X"}}]},
            [("Bundle.entry[0].resource", "not-supported")],
            id="an unknown resource in a Bundle",
        ),
        pytest.param(
            {**PATIENT, "text": {"status": "generated", "div": "<div>x</div>"}},
            [("Patient.text.div", "structure"), ("Patient.text.div", "invariant")],
            id="a narrative without namespace",
        ),
        pytest.param(
            {**PATIENT, "text": {"status": "empty", "div": DIV, "_div": {"extension": [EXTENSION]}}},
            [("Patient.text.div.extension", "structure")],
            id="an extension of a narrative",
        ),
        pytest.param(
            {"resourceType": "CareTeam", "participant": [{**MEMBER, "member": {"reference": "Patient/1"}}]},
            [("CareTeam.participant[0]", "invariant")],
            id="ctm-1: a patient on behalf of an organization",
        ),
    ],
)
def test_what_breaks_r4_is_reported_with_its_place(resource: Any, expected: list[tuple[str, str]]) -> None:
    assert _found(resource) == expected


def test_a_contained_resource_breaks_several_rules_at_once() -> None:
    meta = {"versionId": "1", "security": [{"code": "R"}]}
    inner = {**BASIC, "meta": meta, "contained": [{**BASIC, "id": "c"}]}
    texts = [i.text[:5] for i in validate({**PATIENT, "contained": [inner]}) if i.expression == "Patient.contained[0]"]
    assert texts == ["dom-2", "dom-4", "dom-5", "dom-3"]


def test_all_issues_are_reported_not_the_first_alone() -> None:
    resource = {**OBSERVATION, "status": "done", "effectiveDateTime": "yesterday", "note": [{"author": 1}], "x": 1}
    assert _found(resource) == [
        ("Observation.status", "code-invalid"),
        ("Observation.effective", "value"),
        ("Observation.note[0].author", "structure"),
        ("Observation.note[0].text", "required"),
        ("Observation.x", "structure"),
    ]


def test_no_more_than_100_issues_and_one_that_says_so() -> None:
    issues = validate({**PATIENT, "name": [{"x": 1} for _ in range(500)]})
    assert len(issues) == 101
    assert issues[99].expression == "Patient.name[99].x"
    assert issues[100] == Issue("structure", "There are more problems than the 100 that are shown.")


def test_a_resource_nested_beyond_all_bounds_is_refused() -> None:
    item: dict[str, Any] = {"linkId": "1", "type": "group"}
    for _ in range(2_000):
        item = {"linkId": "1", "type": "group", "item": [item]}
    questionnaire = {"resourceType": "Questionnaire", "status": "draft", "item": [item]}
    assert _found(questionnaire) == [("", "structure")]


def test_issues_have_codes_of_r4_expressions_that_run_and_no_values() -> None:
    secret = "DUPONT"
    resource = {
        **PATIENT,
        "gender": secret,
        "birthDate": secret,
        "active": secret,
        "name": [{"use": secret, "family": [secret], secret.lower(): secret}],
        "link": [{"other": {"reference": f"#{secret}"}, "type": secret}],
        "text": {"status": "generated", "div": secret},
        "contained": [{"resourceType": secret}],
    }
    issues = validate(resource)
    allowed = {code for _, code in codes("http://hl7.org/fhir/ValueSet/issue-type") or ()}
    assert len(issues) >= 9
    for issue in issues:
        assert issue.code in allowed
        assert issue.severity == "error"
        assert secret not in issue.text
        assert secret not in issue.expression
        fhirpath.compile(issue.expression)

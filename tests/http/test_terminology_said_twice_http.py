"""Parameters of terminology operations that say different things: each is heeded or refused, none is passed over.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/valueset-operation-validate-code.html ("one and only one")
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningHub

pytestmark = pytest.mark.every_store

GENDERS = "http://hl7.org/fhir/administrative-gender"
SET = "http://hl7.org/fhir/ValueSet/administrative-gender"
MAP = "http://hl7.org/fhir/ConceptMap/cm-administrative-gender-v3"
KINDS = {"coding": "valueCoding", "codingA": "valueCoding", "codingB": "valueCoding", "codeableConcept": "valueCodeableConcept"}  # fmt: skip


def ask(hub: RunningHub, path: str, sent: dict[str, Any]) -> Any:
    items = [
        {"name": name, "resource" if name in ("valueSet", "codeSystem") else KINDS.get(name, "valueString"): value}
        for name, value in sent.items()
    ]
    return hub.request("POST", f"/fhir/{path}", json={"resourceType": "Parameters", "parameter": items})


def coding(code: str = "male", **more: str) -> dict[str, str]:
    return {"system": GENDERS, "code": code, **more}


BARE = {"code": "male", "system": GENDERS}
ONE = {"coding": [coding()]}
OWN_SET = {"resourceType": "ValueSet", "status": "active", "url": "urn:own", "compose": {"include": [{"system": GENDERS}]}}  # fmt: skip
BY = {"url": SET}
REFUSED = [
    pytest.param("CodeSystem/$lookup", {"coding": coding(), **BARE}, id="a coding and a code to look up"),
    pytest.param("CodeSystem/$lookup", {"coding": coding(), "system": "urn:other"}, id="a coding and another system"),
    pytest.param("CodeSystem/$lookup", {"coding": coding(version="4.0.1"), "version": "3"}, id="a coding and another version"),
    pytest.param("ValueSet/$validate-code", {**BY, "coding": coding(), **BARE}, id="a coding and a code"),
    pytest.param("ValueSet/$validate-code", {**BY, "coding": coding(), "codeableConcept": ONE}, id="a coding and a concept"),
    pytest.param("ValueSet/$validate-code", {**BY, "codeableConcept": ONE, "code": "male"}, id="a concept and a code"),
    pytest.param("ValueSet/$validate-code", {**BY, "codeableConcept": ONE, "system": GENDERS}, id="a concept and a system"),
    pytest.param("ValueSet/$validate-code", {**BY, "coding": coding(display="Male"), "display": "Female"}, id="another display"),
    pytest.param("ValueSet/$validate-code", {"url": "urn:other", "valueSet": OWN_SET, **BARE}, id="a set and the url of another"),
    pytest.param("ValueSet/$validate-code", {"context": "Patient.gender", "valueSet": OWN_SET, **BARE}, id="a set and an element"),
    pytest.param("ValueSet/$expand", {**BY, "context": "Patient.gender"}, id="a url and an element"),
    pytest.param("ValueSet/$expand", {"url": "urn:other", "valueSet": OWN_SET}, id="a set to expand and the url of another"),
    pytest.param("ValueSet/$expand", {"valueSetVersion": "2", "valueSet": OWN_SET}, id="a set and another version"),
    pytest.param("ValueSet/$expand", {**BY, "system-version": GENDERS}, id="a system to pin without its version"),
    pytest.param("ValueSet/administrative-gender/$expand", {"valueSetVersion": "2"}, id="an instance and another version"),
    pytest.param("ValueSet/administrative-gender/$expand", {"url": f"{SET}|2"}, id="an instance and a url of another version"),
    pytest.param("CodeSystem/administrative-gender/$validate-code", {"code": "male", "version": "2"}, id="a code system and another version"),
    pytest.param("CodeSystem/administrative-gender/$subsumes", {"codeA": "male", "codeB": "male", "system": "urn:other"}, id="an instance and another system"),
    pytest.param("CodeSystem/administrative-gender/$subsumes", {"codeA": "male", "codeB": "male", "version": "2"}, id="an instance and another version of it"),
    pytest.param("CodeSystem/$subsumes", {"codingA": coding(), "codeA": "male", "codingB": coding()}, id="a coding and a code of A"),
    pytest.param("CodeSystem/$subsumes", {"codingA": coding(version="4.0.1"), "codingB": coding(version="3")}, id="codings of two versions"),
    pytest.param("ConceptMap/$translate", {"url": MAP, "coding": coding(), **BARE}, id="a coding and a code to translate"),
    pytest.param("ConceptMap/$translate", {"url": MAP, "coding": coding(), "codeableConcept": ONE}, id="a coding and a concept to translate"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "sent"), REFUSED)
def test_what_says_two_things_is_refused(hub: RunningHub, path: str, sent: dict[str, Any]) -> None:
    answer = ask(hub, path, sent)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "value"), answer.text


HEEDED = [
    pytest.param("CodeSystem/$lookup", {"coding": coding(), "system": GENDERS}, 200, id="the system of the coding"),
    pytest.param("CodeSystem/$lookup", {"coding": {"code": "male"}, "system": GENDERS}, 200, id="the system that the coding lacks"),
    pytest.param("CodeSystem/$lookup", {"coding": coding(), "version": "3"}, 404, id="the version that the coding lacks"),
    pytest.param("ValueSet/$expand", {"url": "urn:own", "valueSet": OWN_SET}, 200, id="the url of the set that is sent"),
    pytest.param("ValueSet/$expand", {"context": "Patient.gender", "valueSetVersion": "4.0.1"}, 200, id="the version of an element's set"),
    pytest.param("ValueSet/$expand", {"context": "Patient.gender", "valueSetVersion": "2"}, 404, id="a version of an element's set that nobody has"),
    pytest.param("CodeSystem/$subsumes", {"codingA": coding(), "codeB": "male"}, 200, id="a coding for A and a code for B"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "sent", "status"), HEEDED)
def test_what_fits_together_is_heeded(hub: RunningHub, path: str, sent: dict[str, Any], status: int) -> None:
    answer = ask(hub, path, sent)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("sent", "is_translated"),
    [
        pytest.param({}, True, id="the map alone"),
        pytest.param({"source": "urn:set:from"}, True, id="its source"),
        pytest.param({"target": "urn:set:to"}, True, id="its target"),
        pytest.param({"source": "urn:set:other"}, False, id="another source"),
        pytest.param({"target": "urn:set:other"}, False, id="another target"),
        pytest.param({"targetsystem": "urn:to"}, True, id="its target system"),
        pytest.param({"version": "1"}, True, id="the version that is mapped"),
        pytest.param({"version": "2"}, False, id="another version of the code"),
    ],
)
def test_a_map_that_is_named_is_narrowed(hub: RunningHub, sent: dict[str, Any], is_translated: bool) -> None:
    element = {"code": "a", "target": [{"code": "b", "equivalence": "equal"}]}
    group = {"source": "urn:from", "sourceVersion": "1", "target": "urn:to|5", "element": [element]}
    url = "urn:tests:said-twice"
    made = {"resourceType": "ConceptMap", "id": "said-twice", "url": url, "status": "active", "group": [group]}
    made |= {"sourceUri": "urn:set:from", "targetUri": "urn:set:to"}
    assert hub.request("PUT", "/fhir/ConceptMap/said-twice", json=made).status_code in (200, 201)
    answer = ask(hub, "ConceptMap/$translate", {"url": url, "code": "a", "system": "urn:from", **sent})
    assert answer.json()["parameter"][0] == {"name": "result", "valueBoolean": is_translated}

"""Resources that come with a terminology request: used though nobody stored them, refused where they are not R4's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningHub
from tests.terminology_world import SYSTEM, concept, include, system, value_set

pytestmark = pytest.mark.every_store


def post(hub: RunningHub, path: str, **parameters: Any) -> Any:
    """Post Parameters; a dict with a resourceType is sent as a resource."""
    sent = [
        {"name": name, "resource" if isinstance(value, dict) else "valueString": value}
        for name, value in parameters.items()
    ]
    return hub.request("POST", f"/fhir/{path}", json={"resourceType": "Parameters", "parameter": sent})


def test_a_code_system_that_comes_along_is_asked(hub: RunningHub) -> None:
    given = system(concept("a"))
    for code, expected in (("a", True), ("b", False)):
        answer = post(hub, "CodeSystem/$validate-code", codeSystem=given, code=code).json()
        assert answer["parameter"][0] == {"name": "result", "valueBoolean": expected}


def test_a_value_set_that_comes_along_is_asked(hub: RunningHub) -> None:
    answer = post(hub, "ValueSet/$validate-code", valueSet=value_set(include("a")), code="a", system=SYSTEM).json()
    assert answer["parameter"][0] == {"name": "result", "valueBoolean": True}


def test_a_map_that_comes_along_is_asked_even_without_a_status(hub: RunningHub) -> None:
    target = {"code": "b", "equivalence": "equivalent"}
    group = {"source": SYSTEM, "target": "http://t", "element": [{"code": "a", "target": [target]}]}
    given = {"resourceType": "ConceptMap", "group": [group]}
    answer = post(hub, "ConceptMap/$translate", conceptMap=given, code="a", system=SYSTEM).json()
    assert answer["parameter"][0] == {"name": "result", "valueBoolean": True}


BAD = [
    pytest.param("ValueSet/$expand", {"valueSet": {"resourceType": "ValueSet", "compose": {"include": [{"system": 5}]}}}, 422, id="a number for a system"),
    pytest.param("ValueSet/$expand", {"valueSet": {"resourceType": "ValueSet", "compose": {"include": {"a": 1}}}}, 422, id="an object for a list"),
    pytest.param("CodeSystem/$validate-code", {"code": "x", "codeSystem": {"resourceType": "CodeSystem", "concept": [7]}}, 422, id="a number for a concept"),
    pytest.param("ConceptMap/$translate", {"code": "x", "system": "s", "conceptMap": {"resourceType": "ConceptMap", "group": [5]}}, 422, id="a number for a group"),
    pytest.param("ValueSet/$expand", {"valueSet": {"resourceType": "ValueSet", "compose": {"include": [{"valueSet": [None], "_valueSet": [{"extension": [{"url": "urn:x", "valueString": "x"}]}]}]}}}, 422, id="a value set that is an extension alone"),
    pytest.param("ValueSet/$expand", {"valueSet": {"resourceType": "Patient"}}, 400, id="a resource of another type"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "sent", "status"), BAD)
def test_what_is_not_of_r4s_form_is_refused(hub: RunningHub, path: str, sent: dict[str, Any], status: int) -> None:
    answer = post(hub, path, **sent)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


GENDER = "http://hl7.org/fhir/ValueSet/administrative-gender"
NAMED = [
    pytest.param("ValueSet/administrative-gender/$expand", {"url": GENDER}, 200, id="the instance itself"),
    pytest.param("ValueSet/administrative-gender/$expand", {"url": f"{GENDER}|4.0.1"}, 200, id="in its version"),
    pytest.param("ValueSet/administrative-gender/$expand", {"url": "http://other"}, 400, id="another value set"),
    pytest.param("ValueSet/administrative-gender/$expand", {"context": "Observation.status"}, 400, id="an element's"),
    pytest.param("ValueSet/administrative-gender/$expand", {"valueSet": value_set(include("a"))}, 400, id="one sent"),
    pytest.param("ValueSet/administrative-gender/$validate-code", {"code": "male", "url": "http://other"}, 400, id="another value set to validate by"),
    pytest.param("CodeSystem/administrative-gender/$validate-code", {"code": "male", "url": "http://other"}, 400, id="another code system"),
    pytest.param("ConceptMap/101/$translate", {"code": "home", "system": "http://hl7.org/fhir/address-use", "url": "http://other"}, 400, id="another map"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "sent", "status"), NAMED)
def test_on_an_instance_the_parameters_name_no_other_one(
    hub: RunningHub, path: str, sent: dict[str, Any], status: int
) -> None:
    answer = post(hub, path, **sent)
    assert answer.status_code == status
    assert status == 200 or answer.json()["issue"][0]["code"] == "value"


@pytest.mark.parametrize(
    ("pinned", "asked", "expected"),
    [
        pytest.param("", "1", (200, True), id="the version that is here"),
        pytest.param("", "9", (422, None), id="a version that is not here: undecided"),
        pytest.param("1", "1", (200, True), id="the version that the value set names"),
        pytest.param("1", "9", (200, False), id="another version than the value set names"),
    ],
)
def test_a_code_is_looked_for_in_the_version_that_it_is_said_to_be_of(
    hub: RunningHub, pinned: str, asked: str, expected: tuple[int, bool | None]
) -> None:
    url = "https://versions.example/s"
    stored = system(concept("a"), id="versions-here", url=url, version="1")
    assert hub.request("PUT", "/fhir/CodeSystem/versions-here", json=stored).status_code in (200, 201)
    part = include(url=url) | ({"version": pinned} if pinned else {})
    answer = post(hub, "ValueSet/$validate-code", valueSet=value_set(part), code="a", system=url, systemVersion=asked)
    said = answer.json()["parameter"][0]["valueBoolean"] if answer.status_code == 200 else None
    assert (answer.status_code, said) == expected


@pytest.mark.parametrize(
    "path",
    [
        "ValueSet/administrative-gender/$expand?filter=ma",
        "ValueSet/administrative-gender/$validate-code?code=male",
        "CodeSystem/administrative-gender/$validate-code?code=male",
        "CodeSystem/$lookup?system=http://hl7.org/fhir/administrative-gender&code=male",
    ],
)
def test_a_date_is_answered_from_now_on_and_the_past_refused(hub: RunningHub, path: str) -> None:
    today = hub.search("metadata")["date"][:10]  # of the hub's clock, in UTC
    whole = hub.search(path)
    for date in (today, today[:4], "2999-12-31", "2999-12-31T10:00:00Z"):
        found = hub.request("GET", f"/fhir/{path}&date={date}")
        assert found.status_code == 200, found.text
        if "parameter" in whole:
            assert found.json() == whole
    answers = [hub.request("GET", f"/fhir/{path}&date={date}") for date in ("2020", "2020-01-01T00:00:00Z", "soon")]
    codes = [(answer.status_code, answer.json()["issue"][0]["code"]) for answer in answers]
    assert codes == [(400, "not-supported"), (400, "not-supported"), (400, "value")]


@pytest.mark.parametrize("name", ["designation", "designations"])
def test_designations_are_asked_for_by_either_name(hub: RunningHub, name: str) -> None:
    path = f"CodeSystem/$lookup?system=http://hl7.org/fhir/administrative-gender&code=male&property={name}"
    told = [parameter["name"] for parameter in hub.search(path)["parameter"]]
    assert "designation" in told
    assert "property" not in told

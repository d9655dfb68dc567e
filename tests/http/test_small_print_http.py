"""The small print of R4's RESTful API: what is empty, zero or no number of ASCII, and creates that others make true.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html and https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.http.test_bundle_entries_http import answered, patient, reading
from tests.http.test_empty_conditions_http import entry
from tests.running import RunningHub

pytestmark = pytest.mark.every_store
JSON, XML = "application/fhir+json", "application/fhir+xml"


@pytest.fixture
def name() -> str:
    """A value of an identifier that nothing else has."""
    return uuid.uuid4().hex


def statuses(entries: list[dict[str, Any]]) -> list[str]:
    return [one["response"]["status"][:3] for one in entries]


def test_a_create_finds_what_a_later_update_of_its_transaction_makes(hub: RunningHub, name: str) -> None:
    condition = f"identifier=urn:entries|{name}"
    update = entry("PUT", f"Patient?{condition}", patient(name))
    create = entry("POST", "Patient", patient(name), ifNoneExist=condition)
    made = answered(hub, "transaction", update, create)
    assert statuses(made) == ["201", "200"]
    assert made[0]["response"]["location"] == made[1]["response"]["location"]


def test_a_create_finds_what_waits_for_another_entry(hub: RunningHub, name: str) -> None:
    condition = f"identifier=urn:entries|{name}"
    observed = reading(f"Patient?{condition}", identifier=[{"system": "urn:entries", "value": name}])
    create = entry("POST", "Observation", observed, ifNoneExist=condition)
    made = answered(hub, "transaction", create, create, entry("POST", "Patient", patient(name)))
    assert statuses(made) == ["201", "200", "201"]
    assert made[0]["response"]["location"] == made[1]["response"]["location"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("GET", "Patient?_list=", id="a search over no list"),
        pytest.param("GET", "Patient/_history?_list=", id="a history of no list"),
        pytest.param("DELETE", "Patient?identifier=urn:none|x&_count=%C2%B2", id="a superscript is no number"),
    ],
)
def test_a_parameter_that_says_nothing_is_refused(hub: RunningHub, method: str, path: str) -> None:
    answer = hub.request(method, f"/fhir/{path}")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) in ((400, "value"), (400, "invalid"))


@pytest.mark.parametrize(("version", "status"), [("1", 200), ("01", 404), ("0", 404), ("²", 404)])
def test_a_version_has_one_name(hub: RunningHub, name: str, version: str, status: int) -> None:
    id = hub.create(patient(name))["id"]
    assert hub.request("GET", f"/fhir/Patient/{id}/_history/{version}").status_code == status


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        pytest.param(f"{JSON};q=0, */*", XML, id="anything but JSON"),
        pytest.param(f"*/*;q=0.5, {JSON}; q=0.0", XML, id="the same the other way round"),
        pytest.param(f"{JSON};q=0, {XML};q=0, */*", "", id="neither"),
        pytest.param(f"{JSON};q=0", "", id="no JSON, and nothing else"),
        pytest.param(f"application/json;q=0, {JSON}", JSON, id="by its own name"),
    ],
)
def test_a_format_of_no_quality_is_not_sent(hub: RunningHub, name: str, accept: str, kind: str) -> None:
    answer = hub.request("GET", f"/fhir/Patient/{hub.create(patient(name))['id']}", Accept=accept)
    told = answer.headers["content-type"].partition(";")[0]
    assert (answer.status_code, told) == ((200, kind) if kind else (406, JSON))


def test_what_is_read_is_allowed_to_head(hub: RunningHub) -> None:
    assert hub.request("POST", "/fhir/Patient/x").headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT"


def test_an_outcome_of_a_delete_has_the_entity_tag_too(hub: RunningHub, name: str) -> None:
    path = f"/fhir/Patient/{hub.create(patient(name))['id']}"
    answer = hub.request("DELETE", path, Prefer="return=OperationOutcome")
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')


def test_a_profile_of_an_odd_version_is_used(hub: RunningHub, name: str) -> None:
    url, base = f"http://x.example/StructureDefinition/{name}", "http://hl7.org/fhir/StructureDefinition/Basic"
    shape = {"status": "active", "kind": "resource", "abstract": False, "type": "Basic", "derivation": "constraint"}
    differential = {"element": [{"id": "Basic.subject", "path": "Basic.subject", "max": "0"}]}
    profile = {"name": "P", "url": url, "baseDefinition": base, "differential": differential, **shape}
    for version in ("1.²", "1.1"):
        hub.create({"resourceType": "StructureDefinition", **profile, "version": version})
    basic = {"resourceType": "Basic", "code": {"text": "x"}, "meta": {"profile": [url]}}
    subject = {"subject": {"reference": "Patient/x"}}
    answers = [hub.request("POST", "/fhir/Basic", json=basic | more).status_code for more in ({}, subject)]
    assert answers == [201, 422]


GENDER, RELATION = "http://hl7.org/fhir/administrative-gender", "http://hl7.org/fhir/document-relationship-type"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param(f"Patient?gender={GENDER}|", True, id="any code of the system that a code implies"),
        pytest.param("Patient?gender=urn:other|", False, id="any code of another system"),
        pytest.param(f"Patient?gender:not={GENDER}|", False, id="no code of it"),
        pytest.param(f"DocumentReference?relationship=DocumentReference/{{0}}${RELATION}|replaces", True, id="in a composite"),
        pytest.param(f"DocumentReference?relationship=DocumentReference/{{0}}${RELATION}|", True, id="any of them there"),
        pytest.param(f"DocumentReference?relationship=DocumentReference/{{0}}${RELATION}|signs", False, id="another code there"),
        pytest.param("DocumentReference?relationship=DocumentReference/{0}$urn:other|replaces", False, id="another system there"),
    ],
)  # fmt: skip
def test_a_system_that_a_code_implies(hub: RunningHub, name: str, query: str, found: bool) -> None:
    old = {"code": "replaces", "target": {"reference": f"DocumentReference/{name}"}}
    document = {"status": "current", "content": [{"attachment": {"title": "x"}}], "relatesTo": [old]}
    ids = [
        hub.create(patient(name, gender="male"))["id"],
        hub.create({"resourceType": "DocumentReference", **document})["id"],
    ]
    assert hub.search(f"{query.format(name)}&_id={','.join(ids)}")["total"] == found

"""A condition that says nothing about which resource is meant; transactions whose reads fail; where errors stand.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#cond-update and #trules
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.running import RunningHub

pytestmark = pytest.mark.every_store
BASIC = {"resourceType": "Basic", "code": {"text": "before"}}
MERGE_PATCH: dict[str, Any] = {"Content_Type": "application/merge-patch+json"}
SHAPING = [
    pytest.param("_format=json", id="a format"),
    pytest.param("_pretty=true", id="how it is laid out"),
    pytest.param("_sort=_id", id="an order"),
    pytest.param("_count=1", id="a number"),
    pytest.param("_summary=true&_elements=code", id="parts of the answer"),
    pytest.param("_include=Basic:subject&_total=none", id="what comes beside the answer"),
]


def bundle(*entries: dict[str, Any]) -> dict[str, Any]:
    """Return a transaction."""
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def entry(method: str, url: str, resource: dict[str, Any] | None = None, **more: str) -> dict[str, Any]:
    """Return an entry of a transaction."""
    made: dict[str, Any] = {"request": {"method": method, "url": url, **more}}
    return made if resource is None else {**made, "resource": resource}


def own_type(hub: RunningHub) -> dict[str, Any]:
    """Return the only resource of a type that no other test of this session uses."""
    for old in hub.search("VerificationResult").get("entry", []):
        hub.request("DELETE", f"/fhir/VerificationResult/{old['resource']['id']}")
    return hub.create({"resourceType": "VerificationResult", "status": "attested"})


@pytest.mark.parametrize("query", SHAPING)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_what_only_shapes_an_answer_is_no_condition(hub: RunningHub, method: str, query: str) -> None:
    only = own_type(hub)
    path = f"/fhir/VerificationResult?{query}"
    body = {"PUT": {**only, "status": "req-revalid"}, "PATCH": {"status": "req-revalid"}, "DELETE": None}[method]
    answer = hub.request(method, path, json=body, **(MERGE_PATCH if method == "PATCH" else {}))
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "invalid")
    assert hub.request("GET", f"/fhir/VerificationResult/{only['id']}").json() == only


@pytest.mark.parametrize("query", SHAPING)
def test_a_create_asks_nothing_of_a_condition_without_criteria(hub: RunningHub, query: str) -> None:
    only = own_type(hub)
    answer = hub.request("POST", "/fhir/VerificationResult", json=only, If_None_Exist=query)
    assert answer.status_code == 400


@pytest.mark.parametrize("query", ["", "_format=json"], ids=["nothing", "a format"])
def test_a_reference_to_anything_of_a_type_is_refused(hub: RunningHub, query: str) -> None:
    own_type(hub)
    basic = {**BASIC, "subject": {"reference": f"VerificationResult?{query}"}}
    answer = hub.request("POST", "/fhir", json=bundle(entry("POST", "Basic", basic)))
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[0]"]


def test_beside_a_criterion_they_harm_nothing(hub: RunningHub) -> None:
    value = uuid.uuid4().hex
    given = {**BASIC, "identifier": [{"system": "urn:test", "value": value}]}
    path = f"/fhir/Basic?identifier=urn:test%7C{value}&_format=json&_sort=_id&_count=3&_pretty=true"
    assert hub.request("PUT", path, json=given).status_code == 201
    assert hub.request("PUT", path, json={**given, "code": {"text": "after"}}).status_code == 200
    assert hub.request("DELETE", path).status_code == 204
    assert hub.search(f"Basic?identifier=urn:test%7C{value}")["total"] == 0


@pytest.mark.parametrize(
    ("url", "status"),
    [
        pytest.param("Basic/never-was", 404, id="what is not there"),
        pytest.param("Basic?colour=red", 400, id="a parameter that nobody knows"),
        pytest.param("Colour/1", 404, id="a type that R4 has not"),
    ],
)
def test_a_read_that_must_fail_fails_its_transaction_before_anything_is_written(
    hub: RunningHub, url: str, status: int
) -> None:
    id = uuid.uuid4().hex
    asked = bundle(entry("PUT", f"Basic/{id}", {**BASIC, "id": id}), entry("GET", url))
    answer = hub.request("POST", "/fhir", json=asked)
    assert answer.status_code == status
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]
    assert hub.request("GET", f"/fhir/Basic/{id}").status_code == 404


def test_a_transaction_reads_what_it_made(hub: RunningHub) -> None:
    id = uuid.uuid4().hex
    asked = bundle(entry("GET", f"Basic/{id}"), entry("PUT", f"Basic/{id}", {**BASIC, "id": id}))
    first = hub.request("POST", "/fhir", json=asked).json()["entry"][0]
    assert (first["resource"]["id"], first["response"]["status"]) == (id, "200 OK")
    assert first["response"]["lastModified"][:19] == first["resource"]["meta"]["lastUpdated"][:19]


def test_a_read_of_what_the_transaction_removed_is_answered_in_its_entry(hub: RunningHub) -> None:
    id = hub.create(BASIC)["id"]
    asked = bundle(entry("DELETE", f"Basic/{id}"), entry("GET", f"Basic/{id}"))
    answer = hub.request("POST", "/fhir", json=asked)
    assert answer.status_code == 200, "it is committed"
    removed, read = (one["response"] for one in answer.json()["entry"])
    assert removed["status"] == "204 No Content"
    assert (read["status"][:3], read["outcome"]["issue"][0]["code"]) == ("410", "deleted")


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(entry("PUT", "Basic/twice", {**BASIC, "id": "twice"}), id="a resource written twice"),
        pytest.param(entry("DELETE", "Basic?code=never&_count=0"), id="a number that is none"),
        pytest.param({**entry("POST", "Basic", BASIC), "fullUrl": "urn:uuid:1"}, id="a fullUrl that is there twice"),
    ],
)
def test_an_error_of_a_transaction_names_its_entry(hub: RunningHub, second: dict[str, Any]) -> None:
    first = {**entry("PUT", "Basic/twice", {**BASIC, "id": "twice"}), "fullUrl": "urn:uuid:1"}
    answer = hub.request("POST", "/fhir", json=bundle(first, second))
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]


@pytest.mark.parametrize("url", ["Basic/$validate", "$validate"])
def test_what_a_transaction_cannot_do_is_said(hub: RunningHub, url: str) -> None:
    answer = hub.request("POST", "/fhir", json=bundle(entry("POST", url, BASIC)))
    told = answer.json()["issue"][0]
    assert (answer.status_code, told["code"], told["expression"]) == (404, "not-supported", ["Bundle.entry[0]"])
    assert "in a batch" in told["diagnostics"]


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_no_page_of_a_history_is_empty(hub: RunningHub, count: int) -> None:
    id = hub.create(BASIC)["id"]
    for number in range(3):
        hub.request("PUT", f"/fhir/Basic/{id}", json={**BASIC, "id": id, "code": {"text": str(number)}})
    path, sizes = f"/fhir/Basic/{id}/_history?_count={count}", []
    while path:
        page = hub.request("GET", path).json()
        sizes.append(len(page.get("entry", [])))
        path = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    assert sum(sizes) == 4
    assert 0 not in sizes

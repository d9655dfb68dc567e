"""Entries of batches and transactions as clients write them: links, conditions beside deletions, what each is told.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#trules and https://hl7.org/fhir/R4/bundle.html#references
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.http.test_empty_conditions_http import entry
from tests.running import RunningHub

pytestmark = pytest.mark.every_store
WHOLE: dict[str, Any] = {"Prefer": "return=representation"}


def patient(value: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": "urn:entries", "value": value}], **more}


def reading(reference: str, **more: Any) -> dict[str, Any]:
    subject = {"reference": reference}
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": subject, **more}


def posted(hub: RunningHub, type: str, *entries: dict[str, Any], **headers: Any) -> Any:
    body = {"resourceType": "Bundle", "type": type, "entry": list(entries)}
    return hub.request("POST", "/fhir", json=body, **headers)


def answered(hub: RunningHub, type: str, *entries: dict[str, Any], **headers: Any) -> list[dict[str, Any]]:
    """Return the entries of the answer."""
    answer = posted(hub, type, *entries, **headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entry"]
    return found


@pytest.fixture
def name() -> str:
    """A value of an identifier that nothing else has."""
    return uuid.uuid4().hex


@pytest.mark.parametrize("by", ["id", "condition"])
def test_a_create_does_not_find_what_its_transaction_deletes(hub: RunningHub, name: str, by: str) -> None:
    old = hub.create(patient(name))["id"]
    url = f"Patient/{old}" if by == "id" else f"Patient?identifier=urn:entries|{name}"
    create = entry("POST", "Patient", patient(name), ifNoneExist=f"identifier=urn:entries|{name}")
    made, gone = answered(hub, "transaction", create, entry("DELETE", url), **WHOLE)
    assert (made["response"]["status"], gone["response"]["status"]) == ("201 Created", "204 No Content")
    found = [one["resource"]["id"] for one in hub.search(f"Patient?identifier=urn:entries|{name}")["entry"]]
    assert found == [made["resource"]["id"]] and found != [old]


@pytest.mark.parametrize(
    ("own", "reference", "replaced"),
    [
        pytest.param("http://x.example/fhir/Observation/1", "Patient/{0}", True, id="a relative one, below its base"),
        pytest.param("http://x.example/fhir/Observation/1", "http://x.example/fhir/Patient/{0}", True, id="the fullUrl"),
        pytest.param("http://y.example/fhir/Observation/1", "Patient/{0}", False, id="a relative one, below another base"),
        pytest.param("urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7", "Patient/{0}", False, id="a relative one, below none"),
    ],
)  # fmt: skip
def test_references_below_a_rest_base(hub: RunningHub, name: str, own: str, reference: str, replaced: bool) -> None:
    reference = reference.format(name)
    one = {**entry("POST", "Patient", patient(name)), "fullUrl": f"http://x.example/fhir/Patient/{name}"}
    two = {**entry("POST", "Observation", reading(reference)), "fullUrl": own}
    made, observed = answered(hub, "transaction", one, two, **WHOLE)
    assert observed["resource"]["subject"]["reference"] == (
        f"Patient/{made['resource']['id']}" if replaced else reference
    )


def test_an_identifier_that_reads_like_a_full_url_stays(hub: RunningHub) -> None:
    urn = f"urn:uuid:{uuid.uuid4()}"
    own = {"identifier": [{"system": "urn:ietf:rfc:3986", "value": urn}]}
    entries = (entry("POST", "Patient", patient(urn)), entry("POST", "Observation", reading(urn, **own)))
    made, observed = answered(hub, "transaction", {**entries[0], "fullUrl": urn}, entries[1], **WHOLE)
    assert made["resource"]["identifier"][0]["value"] == urn
    assert observed["resource"]["identifier"] == own["identifier"]
    assert observed["resource"]["subject"]["reference"] == f"Patient/{made['resource']['id']}"


def test_a_definition_keeps_its_url_though_its_full_url_is_the_same(hub: RunningHub) -> None:
    url = f"http://x.example/fhir/ValueSet/{uuid.uuid4()}"
    resource = {"resourceType": "ValueSet", "status": "active", "url": url}
    (made,) = answered(hub, "transaction", {**entry("POST", "ValueSet", resource), "fullUrl": url}, **WHOLE)
    assert made["resource"]["url"] == url


@pytest.mark.parametrize("way", ["create", "update", "batch"])
def test_a_conditional_reference_is_resolved_outside_of_transactions_too(hub: RunningHub, name: str, way: str) -> None:
    subject = f"Patient/{hub.create(patient(name))['id']}"
    given = reading(f"Patient?identifier=urn:entries|{name}", id=name)
    if way == "create":
        made = hub.create(given)
    elif way == "update":
        made = hub.request("PUT", f"/fhir/Observation/{name}", json=given).json()
        again = hub.request("PUT", f"/fhir/Observation/{name}", json=given)
        assert again.json()["meta"]["versionId"] == "1"
    else:
        made = answered(hub, "batch", entry("PUT", f"Observation/{name}", given))[0]["resource"]
    assert made["subject"]["reference"] == subject
    unmet = reading(f"Patient?identifier=urn:entries|{name}-none")
    assert hub.request("POST", "/fhir/Observation", json=unmet).status_code == 422
    kept = hub.create({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": unmet}]})
    assert kept["entry"][0]["resource"] == unmet, "what a Bundle holds is not asked for"


@pytest.mark.parametrize(
    ("path", "condition", "status"),
    [
        pytest.param("{id}", "{name}-none", 409, id="an id that another resource has"),
        pytest.param("{id}", "{name}", 200, id="the id of the match"),
        pytest.param("{name}-free", "{name}-none", 201, id="an id that is free"),
    ],
)
def test_a_conditional_update_overwrites_nothing_that_its_condition_does_not_find(
    hub: RunningHub, name: str, path: str, condition: str, status: int
) -> None:
    old = hub.create(patient(name))
    id, value = path.format(id=old["id"], name=name), condition.format(name=name)
    url = f"/fhir/Patient?identifier=urn:entries|{value}"
    answer = hub.request("PUT", url, json=patient(value, id=id, gender="male"))
    assert answer.status_code == status
    kept = hub.request("GET", f"/fhir/Patient/{old['id']}").json()
    assert ("gender" in kept) == (status == 200)


@pytest.mark.parametrize(("tag", "status"), [('W/"1"', 204), ('W/"2"', 412)])
@pytest.mark.parametrize("count", [1, 2])
def test_a_conditional_delete_heeds_if_match(hub: RunningHub, name: str, count: int, tag: str, status: int) -> None:
    for _ in range(count):
        hub.create(patient(name))
    url = f"/fhir/Patient?identifier=urn:entries|{name}&_count={count}"
    assert hub.request("DELETE", url, If_Match=tag).status_code == status
    left = hub.search(f"Patient?identifier=urn:entries|{name}")["total"]
    assert left == (0 if status == 204 else count)


def test_an_entry_of_a_batch_that_asks_nothing_harms_no_other(hub: RunningHub, name: str) -> None:
    bad: list[dict[str, Any]] = [
        {"resource": patient(name)},
        {"request": {"method": "GET"}},
        {"request": {"method": ["PUT"], "url": [7]}},
        {"request": {"method": "GET", "url": "Patient"}, "resource": "x"},
    ]
    told = answered(hub, "batch", *bad, entry("POST", "Patient", patient(name)))
    assert [one["response"]["status"][:3] for one in told] == ["400"] * 4 + ["201"]
    assert told[1]["response"]["outcome"]["issue"][0]["expression"] == ["Bundle.entry[1].request"]
    assert posted(hub, "transaction", *bad[:1]).status_code == 400


def test_the_entries_of_a_batch_that_are_about_one_resource_are_served_in_their_order(
    hub: RunningHub, name: str
) -> None:
    url = f"Patient/{name}"
    steps: list[tuple[str, Any, int]] = [
        ("GET", None, 404),
        ("PUT", patient("x", id=name), 201),
        ("PUT", patient("y", id=name), 200),
        ("GET", None, 200),
        ("DELETE", None, 204),
        ("GET", None, 410),
        ("PUT", patient("z", id=name), 201),
        ("GET", None, 200),
    ]
    told = answered(hub, "batch", *(entry(method, url, resource) for method, resource, _ in steps))
    assert [int(one["response"]["status"][:3]) for one in told] == [status for _, _, status in steps]
    assert [told[n]["resource"]["identifier"][0]["value"] for n in (3, 7)] == ["y", "z"]


@pytest.mark.parametrize(
    ("bundle", "place"),
    [
        pytest.param({"entries": []}, "Bundle.entries", id="its entries"),
        pytest.param({"entry": [{"body": {}, **entry("GET", "Patient/1")}]}, "Bundle.entry[0].body", id="a resource"),
        pytest.param(
            {"entry": [entry("POST", "Patient", patient("x"), ifNonExist="identifier=x")]},
            "Bundle.entry[0].request.ifNonExist",
            id="a condition",
        ),
    ],
)
def test_a_mistyped_element_of_a_bundle_is_refused(hub: RunningHub, bundle: dict[str, Any], place: str) -> None:
    answer = hub.request("POST", "/fhir", json={"resourceType": "Bundle", "type": "transaction", **bundle})
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, [place])


@pytest.mark.parametrize(
    ("query", "status"),
    [
        pytest.param("identifier=urn:entries|x", 400, id="a condition beside an id is not passed over"),
        pytest.param("_format=json", 200, id="a format is"),
    ],
)
def test_an_entry_that_deletes_by_id(hub: RunningHub, name: str, query: str, status: int) -> None:
    id = hub.create(patient(name))["id"]
    assert posted(hub, "transaction", entry("DELETE", f"Patient/{id}?{query}")).status_code == status
    assert hub.request("GET", f"/fhir/Patient/{id}").status_code == (200 if status == 400 else 410)


@pytest.mark.parametrize("type", ["batch", "transaction"])
def test_the_time_of_an_entry_is_that_of_its_resource(hub: RunningHub, name: str, type: str) -> None:
    old = hub.create(patient(name))["id"]
    told = answered(hub, type, entry("POST", "Patient", patient(name)), entry("GET", f"Patient/{old}"), **WHOLE)
    for one in told:
        assert one["response"]["lastModified"] == one["resource"]["meta"]["lastUpdated"]


def test_a_transaction_searches_by_post_after_its_writes(hub: RunningHub, name: str) -> None:
    search = entry("POST", f"Patient/_search?identifier=urn:entries|{name}")
    _, found = answered(hub, "transaction", entry("POST", "Patient", patient(name)), search)
    assert found["resource"]["type"] == "searchset" and found["resource"]["total"] == 1


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        pytest.param(entry("PUT", "Patient/a", patient("x", id="b")), ".resource.id", id="another id"),
        pytest.param(entry("POST", "Patient", reading("#p")), ".resource", id="another type"),
        pytest.param(entry("FETCH", "Patient"), ".request.method", id="a method that is none"),
    ],
)
def test_an_error_names_the_element_of_its_entry(hub: RunningHub, name: str, wrong: dict[str, Any], place: str) -> None:
    answer = posted(hub, "transaction", entry("POST", "Patient", patient(name)), wrong)
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, [f"Bundle.entry[1]{place}"])


def test_lenient_handling_leaves_out_what_history_does_not_know(hub: RunningHub, name: str) -> None:
    path = f"/fhir/Patient/{hub.create(patient(name))['id']}/_history?_sort=-date&_count=5"
    assert hub.request("GET", path).status_code == 400
    found = hub.request("GET", path, Prefer="handling=lenient").json()
    assert found["total"] == 1 and found["link"][0]["url"].endswith("/_history?_count=5")


@pytest.mark.parametrize("type", ["batch", "transaction"])
def test_an_entry_may_ask_what_the_server_can_do(hub: RunningHub, type: str) -> None:
    full, terminology = answered(hub, type, entry("GET", "metadata"), entry("GET", "metadata?mode=terminology"))
    assert full["resource"] == hub.request("GET", "/fhir/metadata").json()
    assert (full["response"]["status"], terminology["resource"]["resourceType"]) == (
        "200 OK",
        "TerminologyCapabilities",
    )


def test_an_entry_changes_nothing_of_what_the_server_can_do(hub: RunningHub) -> None:
    (made,) = answered(hub, "batch", entry("DELETE", "metadata"))
    assert made["response"]["status"].startswith("405")

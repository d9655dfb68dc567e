"""PATCH over real HTTP: each format, conditions, versions, bundles."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import pytest

from fhir_server import gate
from tests.http.test_fhir_http import patient
from tests.running import RunningHub

pytestmark = pytest.mark.every_store

JSON, MERGE, PATH = "application/json-patch+json", "application/merge-patch+json", "application/fhir+json"
RENAME: dict[str, Any] = {
    JSON: [{"op": "replace", "path": "/name/0/family", "value": "Autre"}],
    MERGE: {"name": [{"family": "Autre", "given": ["Zoé"]}]},
    PATH: {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "operation",
                "part": [
                    {"name": "type", "valueCode": "replace"},
                    {"name": "path", "valueString": "Patient.name[0].family"},
                    {"name": "value", "valueString": "Autre"},
                ],
            }
        ],
    },
}


def send(hub: RunningHub, path: str, document: Any, kind: str = JSON, **headers: str) -> Any:
    return hub.request("PATCH", f"/fhir/{path}", content=gate.write(document), Content_Type=kind, **headers)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["issue"][0]["code"]


@pytest.mark.parametrize("kind", RENAME)
def test_a_patch_makes_the_next_version(hub: RunningHub, kind: str) -> None:
    made = hub.create(patient())
    answer = send(hub, f"Patient/{made['id']}", RENAME[kind], kind)
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
    assert answer.json()["name"] == [{"family": "Autre", "given": ["Zoé"]}]
    assert hub.request("GET", f"/fhir/Patient/{made['id']}").json() == answer.json()
    entry = hub.search(f"Patient/{made['id']}/_history")["entry"][0]
    assert entry["request"]["method"] == "PATCH"
    again = send(hub, f"Patient/{made['id']}", RENAME[kind], kind, Prefer="return=minimal")
    assert (again.status_code, again.headers["etag"], again.content) == (200, 'W/"2"', b"")


def test_a_decimal_that_no_patch_touches_keeps_its_text(hub: RunningHub) -> None:
    body = (
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.10,"unit":"m"}}'
    )
    id = hub.request("POST", "/fhir/Observation", content=body).json()["id"]
    answer = send(hub, f"Observation/{id}", [{"op": "replace", "path": "/status", "value": "amended"}])
    assert b'"value":1.10' in answer.content


@pytest.mark.parametrize(
    ("document", "kind", "headers", "status", "issue"),
    [
        pytest.param(RENAME[JSON], JSON, {"If_Match": 'W/"7"'}, 412, "conflict", id="another version"),
        pytest.param(
            [{"op": "test", "path": "/birthDate", "value": "x"}], JSON, {}, 422, "invalid", id="a failing test"
        ),
        pytest.param([{"op": "remove", "path": "/gender"}], JSON, {}, 422, "invalid", id="a path that is not there"),
        pytest.param({}, JSON, {}, 400, "invalid", id="a patch that is none"),
        pytest.param({"birthDate": "soon"}, MERGE, {}, 422, "value", id="a result that is not valid"),
        pytest.param({"id": "other"}, MERGE, {}, 422, "invalid", id="another id"),
        pytest.param({}, "text/plain", {}, 415, "not-supported", id="another format"),
    ],
)
def test_a_patch_that_does_not_hold_changes_nothing(
    hub: RunningHub, document: Any, kind: str, headers: dict[str, str], status: int, issue: str
) -> None:
    made = hub.create(patient())
    answer = send(hub, f"Patient/{made['id']}", document, kind, **headers)
    assert code(answer) == (status, issue), answer.text
    assert hub.request("GET", f"/fhir/Patient/{made['id']}").headers["etag"] == 'W/"1"'


def test_a_patch_of_what_is_absent_or_deleted_finds_nothing(hub: RunningHub) -> None:
    assert code(send(hub, "Patient/never-there", RENAME[JSON])) == (404, "not-found")
    made = hub.create(patient())
    hub.request("DELETE", f"/fhir/Patient/{made['id']}")
    assert code(send(hub, f"Patient/{made['id']}", RENAME[JSON])) == (404, "not-found")


def test_a_patch_needs_the_scope_to_update(hub: RunningHub) -> None:
    made = hub.create(patient())
    for scope, status in (("system/*.crds", 403), ("system/*.ru", 200)):
        answer = hub.request(
            "PATCH",
            f"/fhir/Patient/{made['id']}",
            token=hub.token(scope),
            content=gate.write(RENAME[JSON]),
            Content_Type=JSON,
        )
        assert answer.status_code == status, answer.text


def test_a_conditional_patch_is_for_the_one_that_matches(hub: RunningHub) -> None:
    value = uuid.uuid4().hex
    query = f"Patient?identifier=urn:x|{value}"
    assert code(send(hub, query, RENAME[JSON])) == (404, "not-found")
    made = hub.create(patient(identifier=[{"system": "urn:x", "value": value}]))
    answer = send(hub, query, RENAME[JSON])
    assert (answer.status_code, answer.json()["id"]) == (200, made["id"])
    hub.create(patient(identifier=[{"system": "urn:x", "value": value}]))
    assert code(send(hub, query, RENAME[JSON])) == (412, "multiple-matches")


@pytest.mark.parametrize("type", ["batch", "transaction"])
@pytest.mark.parametrize("kind", RENAME)
def test_a_bundle_carries_patches(hub: RunningHub, type: str, kind: str) -> None:
    made = hub.create(patient())
    data = base64.b64encode(gate.write(RENAME[kind])).decode()
    binary = {"resourceType": "Binary", "contentType": kind, "data": data}
    request = {"method": "PATCH", "url": f"Patient/{made['id']}", "ifMatch": 'W/"1"'}
    resource = RENAME[kind] if kind == PATH else binary
    bundle = {"resourceType": "Bundle", "type": type, "entry": [{"resource": resource, "request": request}]}
    answer = hub.request("POST", "/fhir", json=bundle)
    assert answer.status_code == 200, answer.text
    assert answer.json()["entry"][0]["response"]["status"] == "200 OK"
    stored = hub.request("GET", f"/fhir/Patient/{made['id']}")
    assert (stored.headers["etag"], stored.json()["name"][0]["family"]) == ('W/"2"', "Autre")


def test_a_transaction_with_a_patch_that_fails_writes_nothing(hub: RunningHub) -> None:
    made, value = hub.create(patient()), uuid.uuid4().hex
    data = base64.b64encode(b'[{"op":"remove","path":"/gender"}]').decode()
    new = patient(identifier=[{"system": "urn:x", "value": value}])
    entries = [
        {"resource": new, "request": {"method": "POST", "url": "Patient"}},
        {
            "resource": {"resourceType": "Binary", "contentType": JSON, "data": data},
            "request": {"method": "PATCH", "url": f"Patient/{made['id']}"},
        },
    ]
    answer = hub.request("POST", "/fhir", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]
    assert hub.search(f"Patient?identifier=urn:x|{value}&_total=accurate")["total"] == 0


def test_an_xml_patch_changes_a_resource_alone_by_condition_and_in_a_bundle(hub: RunningHub) -> None:
    kind, mark = "application/xml-patch+xml", uuid.uuid4().hex

    def document(family: str) -> bytes:
        change = f'<replace sel="f:Patient/f:name/f:family/@value">{family}</replace>'
        return f'<diff xmlns:f="http://hl7.org/fhir">{change}</diff>'.encode()

    id = hub.create({**patient(), "identifier": [{"system": "urn:mark", "value": mark}]})["id"]
    alone = hub.request("PATCH", f"/fhir/Patient/{id}", content=document("Un"), Content_Type=kind)
    assert (alone.status_code, alone.json()["name"][0]["family"]) == (200, "Un")
    url = f"Patient?identifier=urn:mark|{mark}"
    found = hub.request("PATCH", f"/fhir/{url}", content=document("Deux"), Content_Type=kind, If_Match='W/"2"')
    assert (found.status_code, found.headers["etag"]) == (200, 'W/"3"')
    binary = {"resourceType": "Binary", "contentType": kind, "data": base64.b64encode(document("Trois")).decode()}
    entry = {"request": {"method": "PATCH", "url": f"Patient/{id}"}, "resource": binary}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert hub.request("POST", "/fhir", json=bundle).status_code == 200
    assert hub.request("GET", f"/fhir/Patient/{id}").json()["name"][0]["family"] == "Trois"
    stale = hub.request("PATCH", f"/fhir/Patient/{id}", content=document("Non"), Content_Type=kind, If_Match='W/"1"')
    assert stale.status_code == 412
    wrong = hub.request("PATCH", f"/fhir/Patient/{id}", content=b"<diff/", Content_Type=kind)
    assert code(wrong) == (400, "structure")

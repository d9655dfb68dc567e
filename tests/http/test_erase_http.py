"""$erase over HTTP: nothing of a person is left, and that is proved."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest

from tests.hl7_messages import adt, pid
from tests.running import PATIENCE_S, RunningHub

pytestmark = pytest.mark.durable_stores

HOLD = {"system": "urn:predmp:hold", "code": "legal-hold"}


class Person:
    """A patient whose name stands nowhere else, with a record."""

    def __init__(self, hub: RunningHub, **more: Any) -> None:
        self.hub, self.mark = hub, f"Zq{uuid.uuid4().hex[:10]}"
        name = [{"family": self.mark, "given": ["Anne"]}]
        patient = hub.create({"resourceType": "Patient", "name": name, **more})
        self.id = patient["id"]
        hub.request("PUT", f"/fhir/Patient/{self.id}", json={**patient, "gender": "female"})
        about = {"reference": f"Patient/{self.id}", "display": f"Anne {self.mark}"}
        text = {"text": f"of {self.mark}"}
        self.observation = hub.create(
            {"resourceType": "Observation", "status": "final", "code": text, "subject": about}
        )["id"]
        self.group = hub.create(
            {"resourceType": "Group", "type": "person", "actual": True, "member": [{"entity": about}, {"entity": {"reference": "Patient/other"}}]}
        )["id"]  # fmt: skip

    def erase(self, *, token: str = "", **parameters: Any) -> Any:
        items = [
            {"name": name.replace("_", "-"), "valueBoolean" if value is True else "valueString": value}
            for name, value in parameters.items()
        ]
        body = {"resourceType": "Parameters", "parameter": items}
        return self.hub.request("POST", f"/fhir/Patient/{self.id}/$erase", json=body, token=token)

    def is_in_the_file(self) -> bool:
        files = [path for path in self.hub.folder.iterdir() if path.name.startswith("hub.db")]
        return any(self.mark.encode() in path.read_bytes() for path in files)


def values(answer: Any) -> dict[str, Any]:
    return {
        item["name"]: next(v for k, v in item.items() if k != "name") for item in answer.json().get("parameter", [])
    }


def test_no_byte_of_an_erased_name_is_left(own_hub: RunningHub) -> None:
    hub = own_hub
    hub.create({"resourceType": "Patient", "id": "other"})
    person = Person(hub)
    in_a_file = hub.store.startswith("sqlite:")
    export = hub.request("GET", "/fhir/$export?_type=Patient,Observation", Prefer="respond-async").headers[
        "content-location"
    ]
    end = time.monotonic() + PATIENCE_S
    while (status := hub.request("GET", export).status_code) == 202 and time.monotonic() < end:
        time.sleep(0.05)
    assert status == 200
    assert person.is_in_the_file() or not in_a_file, "the check would find it"
    answer = person.erase(reason="asked for")
    assert answer.status_code == 200, answer.text
    report = values(answer)
    assert (report["after"], report["resources"]) == (0, 2)
    assert len(report["sha256"]) == len(report["signature"]) == 64
    kinds = {p["part"][0]["valueString"] for p in answer.json()["parameter"] if p["name"] == "rows"}
    assert "job" in kinds and "job-output" in kinds
    for path in (f"Patient/{person.id}", f"Patient/{person.id}/_history/1", f"Observation/{person.observation}"):
        assert hub.request("GET", f"/fhir/{path}").status_code == 404
    assert hub.request("GET", export).status_code == 404
    assert hub.request("GET", f"/fhir/Group/{person.group}").json()["member"][0] == {"entity": {"display": "erased"}}
    assert not person.is_in_the_file()
    hub.stop()
    assert not person.is_in_the_file()
    assert hub.run("audit", "verify", "--store", hub.store).returncode == 0


def test_what_rooms_keep_of_a_person_goes_too(own_hub: RunningHub) -> None:
    """HL7 v2 messages, a quarantined one among them, and events that a subscriber has not taken."""
    hub, mark = own_hub, f"Zq{uuid.uuid4().hex[:10]}"
    number = f"IPP{uuid.uuid4().hex[:8]}"
    person = pid(f"{number}^^^CHU&1.2.250.1.999.1&ISO^PI", f"{mark}^Anne^^^Mme^^L")
    channel = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "x",
        "criteria": "Patient?gender=female",
    }
    hub.create({**channel, "channel": {"type": "rest-hook", "endpoint": "http://127.0.0.1:9/none"}})
    kind = "application/hl7-v2; charset=utf-8"
    for control, event in (("E1", "A01"), ("E2", "A08"), ("E3", "A40")):
        body = adt(event, control, person=person).encode()
        assert hub.request("POST", "/hl7v2", content=body, Content_Type=kind).status_code == 200
    found = hub.search(f"Patient?family={mark}")["entry"]
    assert len(found) == 1
    files = [path for path in hub.folder.iterdir() if path.name.startswith("hub.db")]
    assert any(mark.encode() in path.read_bytes() for path in files) or not hub.store.startswith("sqlite:")
    answer = hub.request("POST", f"/fhir/Patient/{found[0]['resource']['id']}/$erase")
    assert answer.status_code == 200, answer.text
    rows = {
        item["part"][0]["valueString"]: item["part"][1]["valueInteger"]
        for item in answer.json()["parameter"]
        if item["name"] == "rows"
    }
    assert rows.get("hl7-inbox") == 3 and rows.get("outbox", 0) >= 1, rows
    log = json.loads(hub.run("hl7", "log", "--json", "--store", hub.store).stdout or "[]")
    assert log == []
    audited = (
        b"family=" + mark.encode(),
        mark.encode(),
    )  # the search of this test stands in the audit chain, which stays
    for path in files:
        body = path.read_bytes().replace(audited[0], b"") if path.exists() else b""
        assert audited[1] not in body


def test_a_dry_run_says_what_would_go_and_removes_nothing(hub: RunningHub) -> None:
    person = Person(hub)
    report = values(person.erase(dry_run=True))
    assert (report["resources"], report["shared"]) == (2, 1)
    assert hub.request("GET", f"/fhir/Patient/{person.id}").status_code == 200


def test_a_legal_hold_forbids_it(hub: RunningHub) -> None:
    person = Person(hub)
    held = hub.request("GET", f"/fhir/Observation/{person.observation}").json()
    held["meta"] = {"security": [HOLD]}
    assert hub.request("PUT", f"/fhir/Observation/{person.observation}", json=held).status_code == 200
    answer = person.erase()
    assert answer.status_code == 409
    assert f"Observation/{person.observation}" in answer.text
    assert hub.request("GET", f"/fhir/Patient/{person.id}").status_code == 200


def test_a_hold_is_lifted_by_taking_the_label_away_and_not_by_a_deletion(hub: RunningHub) -> None:
    person = Person(hub)
    path = f"/fhir/Observation/{person.observation}"
    kept = hub.request("GET", path).json()
    assert hub.request("PUT", path, json={**kept, "meta": {"security": [HOLD]}}).status_code == 200
    assert hub.request("DELETE", path).status_code == 204
    assert person.erase().status_code == 409
    assert hub.request("PUT", path, json={**kept, "meta": {"security": [HOLD]}}).status_code == 201
    label = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [HOLD]}}]}
    assert hub.request("POST", f"{path}/$meta-delete", json=label).status_code == 200
    assert person.erase().status_code == 200
    assert hub.request("GET", path).status_code == 404


def merged(kept: Person, gone: Person) -> None:
    """Merge one person's record into another's."""
    named = {"source-patient": gone.id, "target-patient": kept.id}
    items = [{"name": name, "valueReference": {"reference": f"Patient/{id}"}} for name, id in named.items()]
    answer = kept.hub.request("POST", "/fhir/Patient/$merge", json={"resourceType": "Parameters", "parameter": items})
    assert answer.status_code == 200, answer.text


def test_who_was_merged_into_the_person_goes_along(own_hub: RunningHub) -> None:
    own_hub.create({"resourceType": "Patient", "id": "other"})
    kept, second, first = Person(own_hub), Person(own_hub), Person(own_hub)
    stranger = own_hub.create(
        {"resourceType": "Patient", "link": [{"other": {"reference": f"Patient/{kept.id}"}, "type": "seealso"}]}
    )["id"]
    merged(second, first)
    merged(kept, second)
    plan = kept.erase(dry_run=True).json()["parameter"]
    people = [f"Patient/{second.id}", f"Patient/{first.id}"]
    assert [part["valueString"] for part in plan if part["name"] == "merged"] == people
    answer = kept.erase(reason="asked for")
    assert answer.status_code == 200, answer.text
    assert [part["valueString"] for part in answer.json()["parameter"] if part["name"] == "merged"] == people
    assert values(answer)["after"] == 0
    for person in (kept, second, first):
        for place in (f"Patient/{person.id}", f"Patient/{person.id}/_history", f"Observation/{person.observation}"):
            assert own_hub.request("GET", f"/fhir/{place}").status_code == 404, place
        assert person.id not in own_hub.request("GET", f"/fhir/Group/{person.group}").text
        assert own_hub.request("GET", "/fhir/Provenance?target=Patient/" + person.id).json()["total"] == 0
        assert not person.is_in_the_file()
    assert "erased" in own_hub.request("GET", f"/fhir/Patient/{stranger}").text, "who only sees also is somebody else"


def test_a_hold_on_who_was_merged_forbids_it(hub: RunningHub) -> None:
    kept, gone = Person(hub), Person(hub)
    merged(kept, gone)
    body = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [HOLD]}}]}
    assert hub.request("POST", f"/fhir/Patient/{gone.id}/$meta-add", json=body).status_code == 200
    refused = kept.erase()
    assert refused.status_code == 409
    assert f"Patient/{gone.id}" in refused.json()["issue"][0]["diagnostics"]


def test_what_was_written_about_the_wrong_patient_stays_with_the_right_one(hub: RunningHub) -> None:
    person, right = Person(hub), hub.create({"resourceType": "Patient", "name": [{"family": "Right"}]})["id"]
    path = f"/fhir/Observation/{person.observation}"
    moved = {**hub.request("GET", path).json(), "code": {"text": "x"}, "subject": {"reference": f"Patient/{right}"}}
    assert hub.request("PUT", path, json=moved).status_code == 200
    assert person.erase().status_code == 200
    assert hub.request("GET", path).json()["subject"] == {"reference": f"Patient/{right}"}
    assert hub.request("GET", f"{path}/_history").json()["total"] == 1, "the version of the erased one is gone"


def test_what_named_the_person_once_or_in_an_extension_names_them_no_more(hub: RunningHub) -> None:
    person = Person(hub)
    about = {"reference": f"Patient/{person.id}", "display": person.mark}
    other = {"resourceType": "Patient", "link": [{"other": about, "type": "seealso"}]}
    id = hub.create(other)["id"]
    assert hub.request("PUT", f"/fhir/Patient/{id}", json={"resourceType": "Patient", "id": id}).status_code == 200
    extension = [{"url": "http://example.org/about", "valueReference": about}]
    kept = hub.create({"resourceType": "Practitioner", "extension": extension})["id"]
    assert person.erase().status_code == 200
    for url in (f"/fhir/Patient/{id}", f"/fhir/Practitioner/{kept}"):
        assert person.mark not in hub.request("GET", f"{url}/_history").text
    assert not person.is_in_the_file()


def test_documents_and_files_of_the_record_go_along(hub: RunningHub) -> None:
    person = Person(hub)
    about = {"reference": f"Patient/{person.id}", "display": person.mark}
    itself = hub.request("GET", f"/fhir/Patient/{person.id}").json()
    other = {"resourceType": "Patient", "id": "other", "name": [{"family": "Other"}]}
    full = "http://hub.example/fhir/Patient"
    entries = [{"fullUrl": f"{full}/{person.id}", "resource": itself}, {"fullUrl": f"{full}/other", "resource": other}]
    alone = hub.create({"resourceType": "Bundle", "type": "collection", "entry": entries[:1]})["id"]
    both = hub.create({"resourceType": "Bundle", "type": "collection", "entry": entries})["id"]
    files = [hub.create({"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="})["id"] for _ in "ab"]
    for name, id in zip((about, {"reference": "Patient/other"}), files, strict=True):
        attachments = [{"attachment": {"url": f"Binary/{one}"}} for one in {id, files[1]}]
        hub.create({"resourceType": "DocumentReference", "status": "current", "subject": name, "content": attachments})
    assert person.erase().status_code == 200
    assert hub.request("GET", f"/fhir/Bundle/{alone}").status_code == 404
    kept = hub.request("GET", f"/fhir/Bundle/{both}").json()
    assert [entry["resource"]["id"] for entry in kept["entry"]] == ["other"]
    read = [hub.request("GET", f"/fhir/Binary/{id}", Accept="application/fhir+json").status_code for id in files]
    assert read == [404, 200], "one file is another patient's too"
    assert not person.is_in_the_file()


def test_the_operator_erases_any_resource(hub: RunningHub) -> None:
    id = hub.create({"resourceType": "Practitioner", "name": [{"family": "x"}]})["id"]
    assert hub.request("POST", f"/fhir/Practitioner/{id}/$erase").status_code == 200
    assert hub.request("GET", f"/fhir/Practitioner/{id}").status_code == 404
    assert hub.request("POST", f"/fhir/Practitioner/{id}/$erase").status_code == 404


@pytest.mark.parametrize(
    ("scope", "options"),
    [
        pytest.param("user/*.cruds", {"actor": "Practitioner/1"}, id="not a practitioner, even with every scope"),
        pytest.param("system/Patient.cruds", {}, id="not a token for Patients alone: a record is more than that"),
        pytest.param("system/*.r", {}, id="not a token that only reads"),
    ],
)
def test_only_the_operator_erases_a_record(hub: RunningHub, scope: str, options: dict[str, str]) -> None:
    person = Person(hub)
    assert person.erase(token=hub.token(scope, **options)).status_code == 403

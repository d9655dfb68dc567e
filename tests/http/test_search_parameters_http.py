"""Search parameters defined at run time, `$reindex`, and quantities in other units, over HTTP."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.http.test_subscriptions_http import Receiver, receiver, subscription
from tests.running import PATIENCE_S, PREDMP, RunningHub, free_port
from tests.telemetry import eventually

__all__ = ["receiver"]

UCUM = "http://unitsofmeasure.org"


def definition(code: str, expression: str, **more: Any) -> dict[str, Any]:
    """Return an active SearchParameter."""
    return {
        "resourceType": "SearchParameter",
        "url": f"http://x.org/sp/{code}",
        "name": code,
        "status": "active",
        "description": f"By {code}",
        "code": code,
        "base": ["Patient"],
        "type": "token",
        "expression": expression,
        **more,
    }


def by_extension(url: str) -> str:
    return f"Patient.extension.where(url = '{url}').value.ofType(code)"


def patient(url: str, value: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "extension": [{"url": url, "valueCode": value}]}


def wait_for(hub: RunningHub, query: str) -> list[str]:
    """Ask until the parameter answers, and return the ids."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        answer = hub.request("GET", f"/fhir/{query}")
        if answer.status_code == 200:
            return [entry["resource"]["id"] for entry in answer.json().get("entry", [])]
        assert answer.status_code == 400 and answer.json()["issue"][0]["code"] == "incomplete", answer.text
        time.sleep(0.1)
    raise AssertionError("the parameter does not answer")


def wait_for_job(hub: RunningHub, url: str) -> httpx.Response:
    """Ask for a job until it has ended."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        answer = hub.request("GET", httpx.URL(url).path)
        if answer.status_code != 202:
            return answer
        time.sleep(0.1)
    raise AssertionError("the job does not end")


@pytest.fixture
def mark() -> str:
    """A word that no other test uses."""
    return f"m{uuid4().hex[:12]}"


@pytest.fixture
def hub(hub: RunningHub) -> Iterator[RunningHub]:
    """The running hub; what tests define is taken away again."""
    yield hub
    for entry in hub.search("SearchParameter?url:below=http://x.org/sp&_count=100").get("entry", []):
        hub.request("DELETE", f"/fhir/SearchParameter/{entry['resource']['id']}")


@pytest.mark.every_store
def test_a_parameter_is_defined_indexed_declared_used_and_removed(hub: RunningHub, mark: str) -> None:
    url = f"http://x.org/{mark}"
    before = hub.create(patient(url, "blue"))["id"]
    hub.create(patient(url, "brown"))
    assert hub.request("GET", f"/fhir/Patient?{mark}=blue").status_code == 400
    made = hub.create(definition(mark, by_extension(url)))
    after = hub.create(patient(url, "blue"))["id"]
    assert sorted(wait_for(hub, f"Patient?{mark}=blue")) == sorted([before, after])
    assert sorted(wait_for(hub, f"Patient?{mark}:not=brown&{mark}:missing=false")) == sorted([before, after])
    (declared,) = (r for r in hub.search("metadata")["rest"][0]["resource"] if r["type"] == "Patient")
    assert {"name": mark, "type": "token", "definition": made["url"]} in declared["searchParam"]
    flag = hub.create(
        {
            "resourceType": "Flag",
            "status": "active",
            "code": {"text": "x"},
            "subject": {"reference": f"Patient/{before}"},
        }
    )
    found = hub.search(f"Flag?subject:Patient.{mark}=blue")["entry"]
    assert [entry["resource"]["id"] for entry in found] == [flag["id"]]
    assert hub.request("DELETE", f"/fhir/SearchParameter/{made['id']}").status_code == 204
    gone = hub.request("GET", f"/fhir/Patient?{mark}=blue")
    assert gone.status_code == 400 and gone.json()["issue"][0]["code"] == "not-supported"


@pytest.mark.durable_stores
def test_a_changed_definition_finds_by_its_new_meaning_only(hub: RunningHub, mark: str) -> None:
    eye, hair = f"http://x.org/{mark}/eye", f"http://x.org/{mark}/hair"
    both = {
        "resourceType": "Patient",
        "extension": [*patient(eye, "blue")["extension"], *patient(hair, "red")["extension"]],
    }
    id = hub.create(both)["id"]
    made = hub.create(definition(mark, by_extension(eye)))
    assert wait_for(hub, f"Patient?{mark}=blue") == [id]
    changed = made | {"expression": by_extension(hair)}
    assert hub.request("PUT", f"/fhir/SearchParameter/{made['id']}", json=changed).status_code == 200
    assert wait_for(hub, f"Patient?{mark}=blue") == []
    assert wait_for(hub, f"Patient?{mark}=red") == [id]


def test_a_reference_parameter_is_followed_by_includes(hub: RunningHub, mark: str) -> None:
    url = f"http://x.org/{mark}"
    target = hub.create({"resourceType": "Organization", "name": mark})["id"]
    source = hub.create(
        {
            "resourceType": "Patient",
            "extension": [{"url": url, "valueReference": {"reference": f"Organization/{target}"}}],
        }
    )["id"]
    expression = f"Patient.extension('{url}').value.ofType(Reference)"
    hub.create(definition(mark, expression, type="reference", target=["Organization"]))
    assert wait_for(hub, f"Patient?{mark}=Organization/{target}") == [source]
    for query, expected in (
        (f"Patient?_id={source}&_include=Patient:{mark}", target),
        (f"Organization?_id={target}&_revinclude=Patient:{mark}", source),
        (f"Organization?_id={target}&_revinclude=Patient:*", source),
        (f"Organization?_has:Patient:{mark}:_id={source}", target),
    ):
        assert expected in [entry["resource"]["id"] for entry in hub.search(query)["entry"]], query


@pytest.mark.parametrize(
    ("change", "place"),
    [
        pytest.param({"expression": "Patient.nmae"}, "SearchParameter.expression", id="an element that is not there"),
        pytest.param({"code": "gender"}, "SearchParameter.code", id="a code that R4 has"),
        pytest.param({"xpathUsage": "nearby"}, "SearchParameter.xpathUsage", id="a usage that is not evaluated"),
        pytest.param({"type": "special"}, "SearchParameter.type", id="a type that is not evaluated"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_place(
    hub: RunningHub, mark: str, change: dict[str, Any], place: str
) -> None:
    answer = hub.request("POST", "/fhir/SearchParameter", json=definition(mark, "Patient.language") | change)
    assert answer.status_code == 422
    assert place in answer.json()["issue"][0]["expression"]
    draft = definition(mark, "Patient.language") | change | {"status": "draft"}
    assert hub.request("POST", "/fhir/SearchParameter", json=draft).status_code == 201


def test_definitions_are_the_operators(hub: RunningHub, mark: str) -> None:
    doctor = hub.token("system/*.cruds", actor="Practitioner/x")
    for status in ("active", "draft"):
        sent = definition(mark, "Patient.language") | {"status": status}
        assert hub.request("POST", "/fhir/SearchParameter", json=sent, token=doctor).status_code == 403
    assert hub.request("POST", "/fhir/$reindex", token=doctor).status_code == 403
    assert hub.request("POST", "/fhir/Patient/x/$reindex", token=doctor).status_code == 403


def test_what_r4_says_itself_may_be_stored(hub: RunningHub) -> None:
    own = definition("gender", "Patient.gender", url="http://x.org/sp/again")
    made = hub.create(own)
    assert hub.request("GET", "/fhir/Patient?gender=female&_summary=count").status_code == 200
    assert hub.request("DELETE", f"/fhir/SearchParameter/{made['id']}").status_code == 204


@pytest.mark.every_store
def test_reindexing_is_a_job_with_progress_and_a_result(hub: RunningHub, mark: str) -> None:
    id = hub.create(patient(f"http://x.org/{mark}", "blue"))["id"]
    for path in ("$reindex?type=Basic", "Basic/$reindex"):
        answer = hub.request("POST", f"/fhir/{path}")
        assert answer.status_code == 202
        done = wait_for_job(hub, answer.headers["content-location"])
        assert done.status_code == 200 and done.json()["parameter"][0]["name"] == "resources"
    one = hub.request("POST", f"/fhir/Patient/{id}/$reindex")
    assert one.status_code == 200 and one.json()["parameter"] == [{"name": "resources", "valueInteger": 1}]
    assert hub.request("POST", f"/fhir/Patient/{mark}/$reindex").status_code == 404
    assert hub.request("POST", "/fhir/$reindex?type=Martian").status_code == 400
    assert hub.request("POST", "/fhir/$reindex?typo=Patient").status_code == 400
    assert hub.request("GET", "/fhir/$reindex").status_code == 405


def is_there(server: httpx.Client) -> bool:
    """Say whether a server answers."""
    with contextlib.suppress(httpx.TransportError):
        return server.get("/metadata").status_code == 200
    return False


def _check_that_both_agree(hub: RunningHub, beside: httpx.Client, mark: str) -> None:
    url = f"http://x.org/{mark}"
    eventually(lambda: is_there(beside))
    hub.create(definition(mark, by_extension(url)))
    written = beside.post("/Patient", json=patient(url, "blue")).json()["id"]
    assert written in wait_for(hub, f"Patient?{mark}=blue")
    eventually(lambda: beside.get(f"/Patient?{mark}=blue").status_code == 200)
    assert len(beside.get(f"/Patient?{mark}=blue").json()["entry"]) == 2


def test_two_servers_on_one_store_agree_on_what_is_defined(own_hub: RunningHub, mark: str) -> None:
    port = free_port()
    own_hub.create(patient(f"http://x.org/{mark}", "blue"))
    with subprocess.Popen(
        [str(PREDMP), "serve", "--http", f"127.0.0.1:{port}", "--mllp", f"127.0.0.1:{free_port()}", "--store", own_hub.store],
        env=own_hub.env, cwd=own_hub.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as other:  # fmt: skip
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}/fhir",
                headers={"Authorization": f"Bearer {own_hub.operator}"},
                timeout=PATIENCE_S,
                trust_env=False,
            ) as beside:
                _check_that_both_agree(own_hub, beside, mark)
        finally:
            other.terminate()


def test_the_commands_index_and_the_doctor_sees_it(own_hub: RunningHub, mark: str) -> None:
    url = f"http://x.org/{mark}"
    own_hub.create(patient(url, "blue"))
    own_hub.stop()
    file = own_hub.folder / "definition.json"
    file.write_text(json.dumps(definition(mark, by_extension(url)) | {"id": mark}), "utf-8")
    assert own_hub.run("load", "--store", own_hub.store, str(file)).returncode == 0
    doctor = own_hub.run("doctor", "--store", own_hub.store)
    assert f"not every resource is indexed by {mark}" in doctor.stdout and doctor.returncode == 1
    done = own_hub.run("reindex", "--json", "--store", own_hub.store)
    assert json.loads(done.stdout)["parameters"] == 1, done.stderr
    assert "complete" in own_hub.run("doctor", "--store", own_hub.store).stdout
    assert own_hub.run("reindex", "Martian", "--store", own_hub.store).returncode == 2
    elsewhere = own_hub.run("doctor", "--store", own_hub.store, "--zone", "Asia/Tokyo")
    assert "another zone" in elsewhere.stdout
    lines = own_hub.folder / "patients.ndjson"
    lines.write_text("".join(f"{json.dumps(patient(url, 'blue'))}\n" for _ in range(3)), "utf-8")
    assert own_hub.run("load", "--store", own_hub.store, str(lines)).returncode == 0
    own_hub.start()
    assert len(own_hub.search(f"Patient?{mark}=blue")["entry"]) == 4


@pytest.mark.every_store
def test_quantities_are_found_in_other_units(hub: RunningHub, mark: str) -> None:
    subject = {"reference": f"Patient/{hub.create({'resourceType': 'Patient'})['id']}"}

    def measured(code: str, value: float, unit: str) -> str:
        made = hub.create(
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
                "subject": subject,
                "identifier": [{"value": mark}],
                "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
            }
        )
        return str(made["id"])

    pounds, glucose = measured("29463-7", 154.3, "[lb_av]"), measured("2339-0", 97, "mg/dL")
    for query, expected in (
        (f"value-quantity=70|{UCUM}|kg", pounds),
        (f"value-quantity=70000|{UCUM}|g", None),
        (f"value-quantity=gt69.9|{UCUM}|kg", pounds),
        (f"code-value-quantity=29463-7$lt70|{UCUM}|kg", pounds),
        ("value-quantity=70||kg", None),
        (f"value-quantity=5.4|{UCUM}|mmol/L", glucose),
        (f"combo-code-value-quantity=http://loinc.org|2339-0$gt5|{UCUM}|mmol/L", glucose),
        (f"code-value-quantity=29463-7$5.4|{UCUM}|mmol/L", None),
    ):
        found = hub.http.get(
            f"/fhir/Observation?identifier={mark}&{query.replace('|', '%7C')}",
            headers={"Authorization": f"Bearer {hub.operator}"},
        ).json()
        assert [entry["resource"]["id"] for entry in found.get("entry", [])] == ([expected] if expected else []), query


def test_a_subscription_by_a_defined_parameter_misses_nothing_while_it_is_indexed(
    hub: RunningHub, receiver: Receiver, mark: str
) -> None:
    eye, hair = f"http://x.org/{mark}/eye", f"http://x.org/{mark}/hair"
    made = hub.create(definition(mark, by_extension(eye)))
    wait_for(hub, f"Patient?{mark}=blue")
    hub.create(subscription(receiver.url, f"Patient?{mark}=blue"))
    first = hub.create(patient(eye, "blue"))["id"]
    changed = made | {"expression": by_extension(hair)}
    assert hub.request("PUT", f"/fhir/SearchParameter/{made['id']}", json=changed).status_code == 200
    hub.create(patient(eye, "blue"))
    second = hub.create(patient(hair, "blue"))["id"]
    assert hub.request("DELETE", f"/fhir/SearchParameter/{made['id']}").status_code == 204
    hub.create(patient(hair, "blue"))
    told = [path.rpartition("/")[2] for _, path, _, _ in receiver.take(2)]
    assert told == [first, second]
    assert receiver.got.empty()
    assert "name a search parameter that is not defined any more" in hub.logged()

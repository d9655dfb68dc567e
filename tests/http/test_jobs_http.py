"""Long-running work over HTTP: asked for, looked at, cancelled, and gone on with after a crash."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from tests.running import PATIENCE_S, RunningHub

pytestmark = pytest.mark.durable_stores

ASYNC = "respond-async"


def where(answer: Any) -> str:
    """Return the status url of a request that was taken."""
    assert answer.status_code == 202, answer.text
    return str(answer.headers["content-location"])


def ended(hub: RunningHub, url: str, *, token: str = "", seconds: float = PATIENCE_S) -> Any:
    """Wait until a job has ended and return its last answer."""
    end = time.monotonic() + seconds
    while (answer := hub.request("GET", url, token=token)).status_code == 202 and time.monotonic() < end:
        assert answer.headers["retry-after"].isdigit()
        assert 0 < len(answer.headers["x-progress"]) <= 100
        time.sleep(0.05)
    return answer


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "type"),
    [
        pytest.param("GET", "Patient?_count=1", None, 200, "searchset", id="a search of a type"),
        pytest.param("GET", "?_type=Patient,Group&_count=1", None, 200, "searchset", id="a search of the system"),
        pytest.param("GET", "Patient/_history?_count=1", None, 200, "history", id="a history"),
        pytest.param("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient?_count=1"}}]}, 200, "batch-response", id="a batch"),
        pytest.param("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": {"method": "POST", "url": "Basic"}, "resource": {"resourceType": "Basic", "code": {"text": "x"}}}]}, 200, "transaction-response", id="a transaction"),
    ],
)  # fmt: skip
def test_a_request_is_answered_later_as_it_would_have_been_at_once(
    hub: RunningHub, method: str, path: str, body: Any, status: int, type: str
) -> None:
    url = where(hub.request(method, f"/fhir/{path}", json=body, Prefer=ASYNC))
    answer = ended(hub, url)
    assert (answer.status_code, answer.json()["type"]) == (status, type)
    assert "expires" in answer.headers


def test_a_request_that_fails_says_so_in_the_end(hub: RunningHub) -> None:
    bad = {"resourceType": "Patient", "gender": "nobody"}
    entry = {"request": {"method": "POST", "url": "Patient"}, "resource": bad}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    answer = ended(hub, where(hub.request("POST", "/fhir", json=bundle, Prefer=ASYNC)))
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[0].resource.gender"]


def test_an_operation_is_answered_later(hub: RunningHub) -> None:
    patient = hub.create({"resourceType": "Patient"})["id"]
    answer = ended(hub, where(hub.request("GET", f"/fhir/Patient/{patient}/$everything", Prefer=ASYNC)))
    assert answer.json()["entry"][0]["resource"]["id"] == patient


def test_what_holds_for_the_request_holds_for_its_job(hub: RunningHub) -> None:
    patient = hub.create({"resourceType": "Patient"})["id"]
    tag = {"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}
    path, body = f"/fhir/Patient/{patient}/$meta-add", {"resourceType": "Parameters", "parameter": [tag]}
    answer = ended(hub, where(hub.request("POST", path, json=body, Prefer=ASYNC, If_Match='W/"9"')))
    assert answer.status_code == 412
    answer = ended(hub, where(hub.request("POST", path, json=body, Prefer=ASYNC, If_Match='W/"1"')))
    assert answer.json()["parameter"][0]["valueMeta"]["tag"] == [{"code": "x"}]


def test_an_entry_asks_what_the_server_can_do_later_too(hub: RunningHub) -> None:
    entry = {"request": {"method": "GET", "url": "metadata"}}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    answer = ended(hub, where(hub.request("POST", "/fhir", json=bundle, Prefer=ASYNC)))
    assert answer.json()["entry"][0]["resource"]["resourceType"] == "CapabilityStatement"


def test_what_takes_no_time_is_answered_at_once(hub: RunningHub) -> None:
    made = hub.request("POST", "/fhir/Patient", json={"resourceType": "Patient"}, Prefer=ASYNC)
    assert made.status_code == 201
    assert hub.request("GET", f"/fhir/Patient/{made.json()['id']}", Prefer=ASYNC).status_code == 200


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        pytest.param("/fhir/Nothing?x=1", "", 404, id="a path that is not there"),
        pytest.param("/fhir/$nothing", "", 404, id="an operation that is not there"),
        pytest.param("/fhir/Patient", None, 401, id="a caller whom nobody knows"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(hub: RunningHub, path: str, token: str | None, status: int) -> None:
    assert hub.request("GET", path, token=token, Prefer=ASYNC).status_code == status


def test_only_its_owner_and_the_operator_know_a_job(hub: RunningHub) -> None:
    owner = hub.token("user/*.rs", actor="Practitioner/owner", sub="owner")
    other = hub.token("user/*.rs", actor="Practitioner/other", sub="other")
    url = where(hub.request("GET", "/fhir/Patient", token=owner, Prefer=ASYNC))
    assert ended(hub, url, token=owner).status_code == 200
    assert hub.request("GET", url).status_code == 200
    assert hub.request("GET", url, token=other).status_code == 404
    assert hub.request("DELETE", url, token=other).status_code == 404
    assert hub.request("GET", url, token=None).status_code == 401
    assert hub.request("GET", f"/fhir/_jobs/{'0' * 32}").status_code == 404


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        pytest.param("system/*.cruds", 200, id="all"),
        pytest.param("system/Patient.rs system/Basic.rs", 200, id="as far"),
        pytest.param("system/Patient.r system/Basic.rs", 403, id="reading without searching"),
        pytest.param("system/Basic.rs", 403, id="less far"),
    ],
)
@pytest.mark.parametrize("path", ["/fhir/Patient?_count=1", "/fhir/$export?_type=Basic"])
def test_what_a_job_read_is_for_scopes_that_reach_as_far(hub: RunningHub, path: str, scope: str, status: int) -> None:
    hub.create({"resourceType": "Basic", "code": {"text": "x"}})
    url = where(hub.request("GET", path, token=hub.token("system/Patient.rs system/Basic.rs", sub="one"), Prefer=ASYNC))
    answer = ended(hub, url)
    if "$export" in path:
        url = answer.json()["output"][0]["url"]
    assert hub.request("GET", url, token=hub.token(scope, sub="one")).status_code == status


def test_a_job_sees_what_its_caller_sees(hub: RunningHub) -> None:
    hub.create({"resourceType": "Patient", "name": [{"family": "Hidden"}]})
    stranger = hub.token("user/*.rs", actor="Practitioner/stranger", sub="stranger")
    url = where(hub.request("GET", "/fhir/Patient?name=hidden", token=stranger, Prefer=ASYNC))
    assert ended(hub, url, token=stranger).json()["total"] == 0


def test_a_cancelled_job_is_gone(hub: RunningHub) -> None:
    url = where(hub.request("GET", "/fhir/Patient", Prefer=ASYNC))
    assert hub.request("DELETE", url).status_code == 202
    assert hub.request("GET", url).status_code == 404
    assert hub.request("DELETE", url).status_code == 404


def test_a_job_takes_no_other_method(hub: RunningHub) -> None:
    url = where(hub.request("GET", "/fhir/Patient", Prefer=ASYNC))
    answer = hub.request("PUT", url, json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD")


def test_jobs_outlive_a_crash_and_are_bounded_listed_and_cancelled(own_hub: RunningHub) -> None:
    hub = own_hub
    hub.create({"resourceType": "Patient"})
    url = where(hub.request("GET", "/fhir/Patient", Prefer=ASYNC))
    assert ended(hub, url).status_code == 200
    hub.stop(signal.SIGKILL)
    hub.start()
    assert hub.request("GET", url).json()["total"] == 1
    id = url.rpartition("/")[2]
    listed = hub.run("jobs", "list", "--store", hub.store)
    assert id in listed.stdout and "done" in listed.stdout, listed.stderr
    assert hub.run("jobs", "cancel", id, "--store", hub.store).returncode == 0
    assert hub.request("GET", url).status_code == 404
    assert hub.run("jobs", "cancel", id, "--store", hub.store).returncode == 1

"""Subscriptions by rest-hook: each event once, in order, also through failures and restarts."""

from __future__ import annotations

import http.server
import json
import queue
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import PATIENCE_S, RunningHub

pytestmark = pytest.mark.every_store

IRCP = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}


class Receiver:
    """An HTTP server that keeps what it took, and answers `status`."""

    def __init__(self) -> None:
        self.got: queue.Queue[tuple[str, str, dict[str, str], bytes]] = queue.Queue()
        self.status = 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if outer.status < 300:
                    outer.got.put((self.command, self.path, dict(self.headers.items()), body))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_PUT = do_POST = _take

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, count: int, timeout: float = PATIENCE_S) -> list[tuple[str, str, dict[str, str], bytes]]:
        """Return the next deliveries."""
        return [self.got.get(timeout=timeout) for _ in range(count)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def subscription(url: str, criteria: str, **channel: Any) -> dict[str, Any]:
    return {
        "resourceType": "Subscription", "status": "requested", "reason": "test", "criteria": criteria,
        "channel": {"type": "rest-hook", "endpoint": url, "payload": "application/fhir+json", **channel},
    }  # fmt: skip


def basic(mark: str, number: int = 0) -> dict[str, Any]:
    return {"resourceType": "Basic", "code": {"text": str(number)}, "identifier": [{"system": "urn:s", "value": mark}]}


def test_a_match_is_delivered_with_its_version_and_number(hub: RunningHub, receiver: Receiver) -> None:
    mark = uuid.uuid4().hex
    made = hub.create(subscription(receiver.url, f"Basic?identifier={mark}", header=["X-Secret: abc"]))
    assert made["status"] == "requested"
    hub.create(basic("another"))
    sent = [hub.create(basic(mark, number)) for number in range(3)]
    got = receiver.take(3)
    assert [(m, p) for m, p, _, _ in got] == [("PUT", f"/hook/Basic/{one['id']}") for one in sent]
    assert [json.loads(body) for _, _, _, body in got] == sent
    assert [head["X-Event-Number"] for _, _, head, _ in got] == ["1", "2", "3"]
    assert got[0][2]["X-Secret"] == "abc"
    path = f"/fhir/Subscription/{made['id']}"
    while hub.request("GET", path).json()["status"] != "active":  # within a second or two
        time.sleep(0.1)
    assert hub.request("DELETE", path).status_code == 204
    hub.create(basic(mark))
    assert receiver.got.empty()


def test_without_a_payload_only_the_fact_is_told(hub: RunningHub, receiver: Receiver) -> None:
    mark = uuid.uuid4().hex
    asked = subscription(receiver.url, f"Basic?identifier={mark}")
    del asked["channel"]["payload"]
    hub.create(asked)
    hub.create(basic(mark))
    assert receiver.take(1)[0][::3] == ("POST", b"")


@pytest.mark.durable_stores
def test_what_was_missed_comes_after_failure_and_restart_in_order(own_hub: RunningHub, receiver: Receiver) -> None:
    own_hub.create(subscription(receiver.url, "Basic?identifier=urn:s|x"))
    receiver.status = 503
    sent = [own_hub.create(basic("x", number))["id"] for number in range(5)]
    own_hub.stop(signal.SIGKILL)
    receiver.status = 200
    own_hub.start()
    assert [path.rpartition("/")[2] for _, path, _, _ in receiver.take(5)] == sent


@pytest.mark.parametrize(
    ("change", "expression"),
    [
        pytest.param({"criteria": "Nonsense?x=1"}, "Subscription.criteria", id="criteria of no type"),
        pytest.param({"channel": {"type": "email", "endpoint": "mailto:x@example.org"}}, "Subscription.channel.type", id="another channel"),
        pytest.param({"channel": {"type": "rest-hook", "endpoint": "https://10.0.0.1/x"}}, "Subscription.channel.endpoint", id="a private address"),
        pytest.param({"channel": {"type": "rest-hook", "endpoint": "https://x.example/", "payload": "text/plain"}}, "Subscription.channel.payload", id="another payload"),
        pytest.param({"channel": {"type": "rest-hook", "endpoint": "https://x.example/", "header": ["Host: y"]}}, "Subscription.channel.header", id="a header that is ours"),
    ],
)  # fmt: skip
def test_a_subscription_that_cannot_be_served_is_refused(
    hub: RunningHub, change: dict[str, Any], expression: str
) -> None:
    answer = hub.request(
        "POST", "/fhir/Subscription", json={**subscription("https://x.example/", "Basic?code=x"), **change}
    )
    assert answer.status_code == 422, answer.text
    assert answer.json()["issue"][0]["expression"] == [expression]


def test_criteria_that_cannot_be_read_are_refused(hub: RunningHub) -> None:
    assert (
        hub.request(
            "POST", "/fhir/Subscription", json=subscription("https://x.example/", "Basic?nonsense=1")
        ).status_code
        == 400
    )


def test_only_what_its_author_may_see_is_delivered(hub: RunningHub, receiver: Receiver) -> None:
    vendor = hub.create({"resourceType": "Organization", "name": "Vendor"})["id"]
    token = hub.token("system/*.cruds", actor=f"Organization/{vendor}")
    answer = hub.request(
        "POST", "/fhir/Subscription", json=subscription(receiver.url, "Flag?status=active"), token=token
    )
    assert answer.status_code == 201
    patient = hub.create({"resourceType": "Patient"})["id"]
    flag = {
        "resourceType": "Flag",
        "status": "active",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
    }
    hub.create(flag)
    consent = {
        "resourceType": "Consent", "status": "active", "patient": {"reference": f"Patient/{patient}"},
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "dateTime": "2026-11-20T10:00:00+01:00",
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]},
        "provision": {"type": "permit", "actor": [{"role": IRCP, "reference": {"reference": f"Organization/{vendor}"}}]},
    }  # fmt: skip
    hub.create(consent)
    second = hub.create(flag)
    assert receiver.take(1)[0][1] == f"/hook/Flag/{second['id']}"
    assert receiver.got.empty()


def test_criteria_may_name_a_value_set_and_harm_no_write_once_it_is_gone(hub: RunningHub, receiver: Receiver) -> None:
    system, url = f"urn:codes:{uuid.uuid4()}", f"http://codes.example/ValueSet/{uuid.uuid4()}"

    def described(code: str) -> dict[str, Any]:
        return {"resourceType": "Basic", "code": {"coding": [{"system": system, "code": code}]}}

    refused = hub.request("POST", "/fhir/Subscription", json=subscription(receiver.url, f"Basic?code:in={url}"))
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (400, "value")
    members = {"include": [{"system": system, "concept": [{"code": "in"}]}]}
    value_set = hub.create({"resourceType": "ValueSet", "url": url, "status": "active", "compose": members})
    hub.create(subscription(receiver.url, f"Basic?code:in={url}"))
    hub.create(described("out"))
    wanted = hub.create(described("in"))
    assert json.loads(receiver.take(1)[0][3])["id"] == wanted["id"]
    assert hub.request("DELETE", f"/fhir/ValueSet/{value_set['id']}").status_code == 204
    hub.create(described("in"))

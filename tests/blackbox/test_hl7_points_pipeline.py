"""The durable pipeline of HL7 v2 over real sockets: what is acknowledged has its effect, once."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.test_mllp import END, VT, Line, code, person, resources
from tests.dying import POINTS
from tests.hl7_messages import adt, header, message, obx, oru, pid, pv1, segment
from tests.running import PATIENCE_S, RunningHub

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def one() -> str:
    """A number that no other test uses."""
    return uuid.uuid4().hex[:10].upper()


def result(control: str, number: str, value: str = "88", **more: str) -> str:
    """Return a result of a patient, in an order of its own."""
    return oru(obx(value=value, **more), control=control, person=person(number), order=f"OBR|1||{control}|X^Y^L")


def logged(hub: RunningHub, *options: str) -> list[dict[str, Any]]:
    """Return the message log, once what was acknowledged is applied."""
    hub.settle()
    done = hub.run("hl7", "log", "--store", hub.store, "--json", *options)
    return [json.loads(line) for line in done.stdout.splitlines()]


def observations(hub: RunningHub, number: str) -> list[dict[str, Any]]:
    """Return what is measured of a patient, once what was acknowledged is applied."""
    hub.settle()
    return resources(hub.search(f"Observation?patient:Patient.identifier={number}&_count=500"))


def send_and_see_it_end(hub: RunningHub, *texts: str) -> list[str]:
    """Send messages to a hub that ends on the way; return the answers that came."""
    answers = []
    with Line(hub) as line, contextlib.suppress(ConnectionError):
        for text in texts:
            answers.append(line.send(text))
        line.receive()
    assert hub.process is not None
    assert hub.process.wait(PATIENCE_S) == -9
    hub.process = None
    return answers


def wait_until_applied(hub: RunningHub, controls: set[str]) -> None:
    """Return once these messages are applied; on MongoDB a dead hub's lease must run out before."""
    end, seen = time.monotonic() + PATIENCE_S, set[str]()
    while not seen >= controls and time.monotonic() < end:
        seen = {row["control_id"] for row in logged(hub, "--state", "applied")}
    assert seen >= controls


@pytest.mark.parametrize("engine", [pytest.param("sqlite", id="SQLite"), pytest.param("mongo", id="the Mongo wire")])
def test_point_8_and_9_killed_at_any_point_what_was_acknowledged_has_its_effect_once(engine: str) -> None:
    """Point 8: kill -9 between store and ACK; point 9: between FHIR commit and state, which are one transaction."""
    points = list(POINTS) if engine == "sqlite" else ["written"]
    hub = RunningHub(env={"PYTHONPATH": str(ROOT)}, engine=engine)
    normal, acknowledged, sent = hub.command, set[str](), list[str]()
    try:
        for point in points:
            hub.command = [sys.executable, "-m", "tests.dying", point]
            hub.start()
            controls = [f"{point}-{n}" for n in range(3)]
            answers = send_and_see_it_end(hub, *(result(control, "K1") for control in controls))
            acknowledged |= {control for control, answer in zip(controls, answers, strict=False) if answer == "AA"}
            assert set(controls[:2]) <= acknowledged, "the third one ends the hub"
            sent += controls
        hub.command = normal
        hub.start()
        wait_until_applied(hub, acknowledged)
        with Line(hub) as line:
            assert {line.send(result(control, "K1")) for control in sent} == {"AA"}
        found = observations(hub, "K1")
        assert [row["meta"]["versionId"] for row in found] == ["1"] * len(sent)
        assert len({row["state"] for row in logged(hub)}) == 1
    finally:
        hub.__exit__(None, None, None)


def test_point_10_the_same_control_id_with_other_bytes_is_refused_and_kept(hub: RunningHub, one: str) -> None:
    with Line(hub) as line:
        assert line.send(result(one, one, "88")) == "AA"
        other = result(one, one, "99")
        line.sock.sendall(VT + other.encode() + END)
        answer = line.receive()
        assert (code(answer), "|205^" in answer) == ("AE", True)
        assert line.send(other) == "AE", "and again"
        assert line.send(result(one, one, "88")) == "AA", "the first one is answered as the first time"
    assert [row["valueQuantity"]["value"] for row in observations(hub, one)] == [88]
    states = sorted(row["state"] for row in logged(hub, "--control-id", one))
    assert states == ["applied", "quarantined"]


def test_the_same_message_is_answered_by_the_same_bytes(hub: RunningHub, one: str) -> None:
    with Line(hub) as line:
        answers = set()
        for _ in range(3):
            line.sock.sendall(VT + result(one, one).encode() + END)
            answers.add(line.receive())
        assert len(answers) == 1


def test_point_11_while_the_store_fails_nothing_is_accepted(own_hub: RunningHub) -> None:
    """The file may grow no more: each write of the store fails from here on."""
    assert own_hub.process is not None
    with Line(own_hub) as line:
        assert line.send(result("C1", "P1")) == "AA"
        resource.prlimit(own_hub.process.pid, resource.RLIMIT_FSIZE, (1, 1))
        for n in range(5):
            line.sock.sendall(VT + result(f"D{n}", "P1").encode() + END)
            answer = line.receive()
            assert (code(answer), "|207^" in answer) == ("AR", True)
    own_hub.stop(9)
    own_hub.start()
    assert {row["control_id"] for row in logged(own_hub)} == {"C1"}
    with Line(own_hub) as line:
        assert line.send(result("D0", "P1")) == "AA", "what was refused is sent again and taken"


def test_point_12_a_disk_that_is_nearly_full_takes_no_message() -> None:
    with RunningHub("--hl7-disk-low", str(1 << 60)) as hub:
        with Line(hub) as line:
            line.sock.sendall(VT + result("C1", "P1").encode() + END)
            answer = line.receive()
        assert (code(answer), "|207^" in answer) == ("AR", True)
        assert logged(hub) == []


def test_point_23_one_patient_s_messages_are_applied_in_order_however_many_are_sent_at_once(
    hub: RunningHub, one: str
) -> None:
    people = [f"{one}{letter}" for letter in "ABC"]
    texts = [
        adt(
            "A08",
            f"{number}-{n}",
            f"2026112{n // 10}12{n % 10:02}00",
            person=person(number, name=f"NAME{n}^X"),
            stay=pv1(f"V{number}"),
        )
        for n in range(20)
        for number in people
    ]
    with Line(hub) as line:
        line.sock.sendall(b"".join(VT + text.encode() + END for text in texts))
        assert {code(line.receive()) for _ in texts} == {"AA"}
    hub.settle()
    for number in people:
        (patient,) = resources(hub.search(f"Patient?identifier={number}"))
        assert (patient["name"][0]["family"], patient["meta"]["versionId"]) == ("NAME19", "20")


def test_point_38_a_poison_message_delays_no_other_patient(hub: RunningHub, one: str) -> None:
    """Two Patients have one identifier, so results for it cannot be applied; others in the same burst are."""
    twin = {"resourceType": "Patient", "identifier": [{"system": "urn:oid:1.2.250.1.999.1", "value": f"{one}X"}]}
    for _ in range(2):
        hub.create(twin)
    texts = [result(f"{one}-{n}", f"{one}X" if n % 3 == 0 else f"{one}P{n % 3}") for n in range(12)]
    with Line(hub) as line:
        line.sock.sendall(b"".join(VT + text.encode() + END for text in texts))
        assert {code(line.receive()) for _ in texts} == {"AA"}, "all are kept"
    assert [len(observations(hub, f"{one}P{n}")) for n in (1, 2)] == [4, 4]
    rows = [row for row in logged(hub, "--state", "quarantined") if row["control_id"].startswith(one)]
    assert ({row["error"]["code"] for row in rows}, len(rows)) == ({"207"}, 4)


def test_point_39_many_messages_are_replayed_after_a_change_of_maps_with_a_report_first(own_hub: RunningHub) -> None:
    """Codes that only the sender knew get a ConceptMap: the report says what changes, then nothing is there twice."""
    count = 60
    texts = [result(f"C{n}", f"P{n % 7}", code="GLY^Glycemie^L") for n in range(count)]
    with Line(own_hub) as line:
        line.sock.sendall(b"".join(VT + text.encode() + END for text in texts))
        assert {code(line.receive()) for _ in texts} == {"AA"}
    own_hub.settle()
    before = resources(own_hub.search("Observation?_count=500"))
    system = before[0]["code"]["coding"][0]["system"]
    own_hub.create(
        {
            "resourceType": "ConceptMap",
            "status": "active",
            "sourceUri": system,
            "targetUri": "http://loinc.org",
            "group": [
                {
                    "source": system,
                    "target": "http://loinc.org",
                    "element": [{"code": "GLY", "target": [{"code": "14749-6", "equivalence": "equivalent"}]}],
                }
            ],
        }
    )
    report = summary(own_hub, "--dry-run")
    unchanged = resources(own_hub.search("Observation?_count=500"))
    assert {row["meta"]["versionId"] for row in unchanged} == {"1"}, "a dry run writes nothing"
    done = summary(own_hub)
    assert (report, report["messages"]) == (done, count)
    assert {"type": "Observation", "action": "updated", "count": count} in report["actions"]
    after = resources(own_hub.search("Observation?code=http://loinc.org|14749-6&_count=500"))
    assert {row["id"] for row in after} == {row["id"] for row in before}
    assert summary(own_hub)["actions"] == [
        {"type": type, "action": "unchanged", "count": count} for type in ("Observation", "DiagnosticReport")
    ], "a second time it changes nothing"


def summary(hub: RunningHub, *options: str) -> dict[str, Any]:
    """Replay all messages and return the summary."""
    done = hub.run("hl7", "replay", "--store", hub.store, "--all", "--json", *options)
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made


def test_point_40_what_the_pipeline_says_of_a_message_holds_no_value_of_it(own_hub: RunningHub) -> None:
    number = "MARKEDNUMBER"
    for _ in range(2):
        own_hub.create(
            {"resourceType": "Patient", "identifier": [{"system": "urn:oid:1.2.250.1.999.1", "value": "MARKEDTWIN"}]}
        )
    answers = []
    with Line(own_hub) as line:
        for text in (
            result("C1", "MARKEDTWIN"),
            result("C2", number, "MARKEDVALUE"),
            result("C2", number, "MARKEDOTHER"),
            adt("A08", "C3", person=pid(id="", name="MARKEDNAME")),
            message(header("ADT^A01", "C4"), segment("NK1", f2="MARKEDKIN")),
        ):
            line.sock.sendall(VT + text.encode() + END)
            answers.append(line.receive())
    assert [code(answer) for answer in answers] == ["AA", "AA", "AE", "AE", "AE"]
    assert own_hub.search("Patient")["total"] >= 2
    assert "MARKED" not in "".join(answers)
    assert "MARKED" not in own_hub.logged()
    metrics = own_hub.request("GET", "/metrics").text
    assert "MARKED" not in metrics
    assert 'predmp_hl7_messages_total{answer="AA",state="quarantined"} 1' in metrics
    assert "predmp_hl7_waiting 0" in metrics


def test_a_hub_that_waits_for_the_effect_says_so_in_its_answer() -> None:
    with RunningHub("--hl7-ack-when", "applied") as hub:
        twin = {"resourceType": "Patient", "identifier": [{"system": "urn:oid:1.2.250.1.999.1", "value": "X"}]}
        for _ in range(2):
            hub.create(twin)
        with Line(hub) as line:
            texts = [result("C1", "P1"), result("C2", "X"), result("C3", "P1")]
            line.sock.sendall(b"".join(VT + text.encode() + END for text in texts))
            assert [code(line.receive()) for _ in texts] == ["AA", "AE", "AA"]
            assert line.send(result("C2", "X")) == "AE", "it is tried again, in vain"


def test_as_much_as_may_wait_is_taken_and_the_rest_stays_in_the_socket() -> None:
    """No more than two messages wait; a sender that writes far more is slowed, and none is refused or lost."""
    with RunningHub("--hl7-waiting", "2") as hub:
        texts = [result(f"C{n}", f"P{n % 5}") for n in range(40)]
        with Line(hub) as line:
            line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            line.sock.sendall(b"".join(VT + text.encode() + END for text in texts))
            assert {code(line.receive()) for _ in texts} == {"AA"}
        hub.settle()
        assert hub.search("DiagnosticReport?_summary=count")["total"] == 40

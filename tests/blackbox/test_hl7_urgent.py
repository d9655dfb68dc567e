"""Urgent messages go ahead of a long backlog, over real sockets; the order of each patient is kept, nothing is lost."""

from __future__ import annotations

import json
import signal
import socket
from typing import Any

from tests.blackbox.test_mllp import END, VT, Line, admission, code, person, resources
from tests.hl7_messages import obx, oru
from tests.running import RunningHub

CALM = 400
VITALS = "Task?code=urn:predmp:triage:family|vitals"


def calm(number: int) -> str:
    """Return a pulse nobody waits for, of one of forty patients."""
    control = f"calm-{number}"
    return oru(
        obx(value=str(66 + number % 9)),
        control=control,
        person=person(f"Q{number % 40}"),
        order=f"OBR|1||{control}|X^Y^L",
    )


def critical(control: str, number: str) -> str:
    """Return vital signs that open an alert at once."""
    results = obx("59408-5^SpO2^LN", "84", "%"), obx("9279-1^FR^LN", "30"), obx(value="135")
    return oru(*results, control=control, person=person(number), order=f"OBR|1||{control}|X^Y^L")


def flood(hub: RunningHub, count: int, *last: str) -> None:
    """Send calm messages and others after them, all at once: the hub is slowed by nothing but itself."""
    texts = [*(calm(number) for number in range(count)), *last]
    with Line(hub) as line:
        line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        line.sock.sendall(b"".join(VT + text.encode() + END for text in texts))
        assert {code(line.receive()) for _ in texts} == {"AA"}


def log_of(hub: RunningHub) -> dict[str, dict[str, Any]]:
    """Return the message log by control id, once all is applied."""
    hub.settle()
    done = hub.run("hl7", "log", "--store", hub.store, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["state"] for row in rows} == {"applied"}
    assert len({row["control_id"] for row in rows}) == len(rows)
    return {row["control_id"]: row for row in rows}


def waited(log: dict[str, dict[str, Any]], control: str) -> int:
    """Return how many calm messages waited for their effect when a message came."""
    came = log[control]["received"]
    return sum(row["received"] <= came < row["settled"] for name, row in log.items() if name.startswith("calm-"))


def later(log: dict[str, dict[str, Any]], when: str) -> int:
    """Return how many calm messages had their effect after a moment."""
    return sum(row["settled"] > when for control, row in log.items() if control.startswith("calm-"))


def test_an_alert_does_not_wait_for_a_backlog_of_calm_messages(own_hub: RunningHub) -> None:
    flood(own_hub, CALM // 2, admission("U1", "before"))
    flood(own_hub, CALM, critical("urgent", "U1"), admission("U1", "after"))  # its first half is known already
    log = log_of(own_hub)
    ahead = waited(log, "urgent")
    assert ahead > CALM // 4, "there was a backlog"
    assert later(log, log["urgent"]["settled"]) > ahead // 2
    assert log["before"]["settled"] <= log["urgent"]["settled"] <= log["after"]["settled"]
    assert (log["urgent"]["urgent"], "urgent" in log["calm-1"]) == ("OBX-5", False)
    (task,) = resources(own_hub.search(VITALS))
    assert later(log, task["meta"]["lastUpdated"].replace("Z", "+00:00")) > ahead // 2


def test_after_kill_9_the_urgent_message_still_goes_ahead_and_nothing_is_lost(own_hub: RunningHub) -> None:
    flood(own_hub, CALM, admission("U2", "before"), critical("urgent", "U2"))
    own_hub.stop(signal.SIGKILL)
    own_hub.start()
    log = log_of(own_hub)
    assert log.keys() == {*(f"calm-{number}" for number in range(CALM)), "before", "urgent"}
    assert later(log, log["urgent"]["settled"]) > waited(log, "urgent") // 2
    assert log["before"]["settled"] <= log["urgent"]["settled"]
    assert len(resources(own_hub.search(VITALS))) == 1

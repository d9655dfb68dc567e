"""A patient with a device, fed by whatever way: what the tests of device feeds share."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from tests.running import PATIENCE_S, RunningHub

SYSTEM = "urn:example:device"
AT = "2026-11-20T08:00:00+01:00"


class Bedside:
    """A patient who has a device of a new number."""

    def __init__(self, hub: RunningHub, *, system: str = SYSTEM, value: str = "") -> None:
        self.hub, self.system, self.value = hub, system, value or uuid.uuid4().hex
        self.patient = f"Patient/{hub.create({'resourceType': 'Patient', 'name': [{'family': 'Mesure'}]})['id']}"
        device = {
            "resourceType": "Device",
            "status": "active",
            "identifier": [{"system": system, "value": self.value}],
            "patient": {"reference": self.patient},
        }
        self.device = f"Device/{hub.create(device)['id']}"

    def message(self, number: int, **odd: Any) -> bytes:
        """Return the canonical JSON of one pulse, known by its number."""
        reading = {"code": "8867-4", "value": 60 + number % 40, "unit": "/min", "at": AT, "id": str(number), **odd}
        return json.dumps({"device": {"system": self.system, "value": self.value}, "readings": [reading]}).encode()

    def stored(self, query: str = "") -> list[dict[str, Any]]:
        """Return the patient's Observations, in the order in which they were stored."""
        found = self.hub.search(f"Observation?subject={self.patient}&_sort=_lastUpdated&_count=1000{query}")
        return [entry["resource"] for entry in found.get("entry", [])]

    def count(self) -> int:
        """Return how many Observations the patient has."""
        return int(self.hub.search(f"Observation?subject={self.patient}&_summary=count")["total"])


def kept_aside(hub: RunningHub) -> list[dict[str, Any]]:
    """Return all that is kept aside, oldest first."""
    rows: list[dict[str, Any]] = []
    while page := hub.request("GET", f"/devices/quarantine?after={rows[-1]['seq'] if rows else 0}").json()[
        "quarantined"
    ]:
        rows += page
    return rows


def metric(hub: RunningHub, name: str) -> float:
    """Return a number of /metrics by its name with labels; 0 where it is not there."""
    lines = hub.http.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)


def eventually(claim: Callable[[], Any], *, within_s: float = PATIENCE_S) -> Any:
    """Wait until a claim holds and return what it gave; fail where it never does."""
    end = time.monotonic() + within_s
    while not (found := claim()):
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.03)
    return found

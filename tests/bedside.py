"""A patient with a device, as tests of the device feed need one."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.running import RunningHub

SYSTEM = "urn:example:device"


def ago(seconds: float = 0, *, decimals: int = 0) -> str:
    """Return a FHIR dateTime of so many seconds ago, in UTC."""
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S") + (f".{at.microsecond:06}"[: decimals + 1] if decimals else "") + "+00:00"


def seconds_ago(text: str) -> float:
    """Return how long ago a dateTime is."""
    return (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()


class Bedside:
    """A patient, and a device that is the patient's unless it is said otherwise."""

    def __init__(self, hub: RunningHub, *, is_assigned: bool = True) -> None:
        self.hub, self.serial = hub, uuid.uuid4().hex
        self.ins = uuid.uuid4().hex
        identifier = [{"system": "urn:example:ins", "value": self.ins}]
        made = hub.create({"resourceType": "Patient", "name": [{"family": "Mesure"}], "identifier": identifier})
        self.patient = f"Patient/{made['id']}"
        self.device = self.add_device(self.serial, is_assigned=is_assigned)

    @property
    def name(self) -> dict[str, str]:
        """The device's identifier."""
        return {"system": SYSTEM, "value": self.serial}

    def add_device(self, serial: str, *, is_assigned: bool = True) -> str:
        """Create a device and return its reference."""
        identifier = [{"system": SYSTEM, "value": serial}]
        device: dict[str, Any] = {"resourceType": "Device", "status": "active", "identifier": identifier}
        if is_assigned:
            device["patient"] = {"reference": self.patient}
        return f"Device/{self.hub.create(device)['id']}"

    def send(self, *readings: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        """Send readings of the device and return the results."""
        body = {"device": self.name, "readings": list(readings), **more}
        answer = self.hub.request("POST", "/devices", json=body)
        assert answer.status_code == 200, answer.text
        results: list[dict[str, Any]] = answer.json()["results"]
        assert len(results) == len(readings)
        return results

    def stored(self, reading: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Send one reading, which must be stored, and return its resource."""
        (result,) = self.send(reading, **more)
        assert result["status"] == "stored", result
        return self.get(result["reference"])

    def get(self, reference: str) -> dict[str, Any]:
        """Return a resource."""
        answer = self.hub.request("GET", f"/fhir/{reference}")
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def found(self, query: str) -> list[dict[str, Any]]:
        """Return what a search finds."""
        return [entry["resource"] for entry in self.hub.search(query).get("entry", ())]

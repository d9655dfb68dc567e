"""A personal health gateway that speaks FHIR: what it writes by itself, and what it names as the guide has it."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import pytest

from adapters.devices.identity import EUI_64, PHD
from tests.bedside import Bedside, ago
from tests.running import RunningHub

MDC = "urn:iso:std:iso:11073:10101"
UCUM = "http://unitsofmeasure.org"


class Gateway:
    """A patient whose oximeter a gateway reads."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub, self.bed = hub, Bedside(hub, is_assigned=False)
        digits = uuid.uuid4().hex[:16].upper()
        self.number = "-".join(digits[n : n + 2] for n in range(0, 16, 2))
        patient = {"reference": self.bed.patient}
        identifier = [{"system": "urn:example:serial", "value": digits}, {"system": EUI_64, "value": self.number}]
        self.device = (
            f"Device/{hub.create({'resourceType': 'Device', 'identifier': identifier, 'patient': patient})['id']}"
        )
        self.at = ago(60)[:-6]

    def observation(self, **more: Any) -> dict[str, Any]:
        return {
            "resourceType": "Observation",
            "language": "en",
            "status": "final",
            "code": {"coding": [{"system": MDC, "code": "150456"}]},
            "subject": {"reference": self.bed.patient},
            "device": {"reference": self.device},
            "effectiveDateTime": f"{self.at}Z",
            "valueQuantity": {"value": 97, "unit": "%", "system": UCUM, "code": "%"},
            **more,
        }

    def send(self, observation: dict[str, Any]) -> dict[str, Any]:
        answer = self.hub.request("POST", "/devices", json=observation, Content_Type="application/fhir+json")
        assert answer.status_code == 200, answer.text
        (result,) = answer.json()["results"]
        return dict(result)

    def measure(self) -> dict[str, Any]:
        reading = {"system": "mdc", "code": "150456", "value": 97, "unit": "262688", "at": f"{self.at}Z"}
        body = {"device": {"system": EUI_64, "value": self.number}, "readings": [reading]}
        (result,) = self.hub.request("POST", "/devices", json=body).json()["results"]
        return dict(result)

    def write(self, suffix: str) -> str:
        """Write the Observation under the guide's identifier, if it is not there; return its id."""
        seconds = int(
            (
                datetime.fromisoformat(f"{self.at}+00:00") - datetime.fromisoformat("2000-01-01T00:00:00Z")
            ).total_seconds()
        )
        value = f"{self.number.replace('-', '')}-{self.bed.ins}-urn:example:ins-150456-{seconds}{suffix}"
        body = self.observation(identifier=[{"system": PHD, "value": value}])
        headers = {"If-None-Exist": f"identifier={PHD}|{value}".replace("+", "%2B"), "Prefer": "return=representation"}
        answer = self.hub.http.post(
            "/fhir/Observation", json=body, headers={**headers, "Authorization": f"Bearer {self.hub.operator}"}
        )
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def count(self) -> int:
        return len(self.bed.found(f"Observation?patient={self.bed.patient}&code=150456"))


@pytest.mark.parametrize("suffix", [pytest.param("", id="UTC"), pytest.param("+0", id="base-offset time")])
@pytest.mark.parametrize("is_first", [True, False], ids=["the gateway first", "the gateway last"])
def test_what_a_gateway_writes_itself_is_the_same_reading(hub: RunningHub, suffix: str, is_first: bool) -> None:
    gateway = Gateway(hub)
    written = gateway.write(suffix) if is_first else ""
    result = gateway.measure()
    assert result["status"] == ("duplicate" if is_first else "stored")
    assert result["reference"] == f"Observation/{written or gateway.write(suffix)}"
    assert gateway.count() == 1


def test_a_device_may_be_named_by_its_id_in_this_hub(hub: RunningHub) -> None:
    gateway = Gateway(hub)
    assert gateway.measure()["status"] == "stored"
    assert gateway.send(gateway.observation())["status"] == "duplicate", "the same device, whichever name it has"
    assert gateway.count() == 1


@pytest.mark.parametrize("device", ["Device/nobody", "Patient/nobody"])
def test_a_device_that_is_none_of_this_hub_is_not_known(hub: RunningHub, device: str) -> None:
    gateway = Gateway(hub)
    body = gateway.observation(device={"reference": device})
    if device.startswith("Device/"):
        assert gateway.send(body)["reason"] == "device-unknown"
    else:
        answer = hub.request("POST", "/devices", json=body, Content_Type="application/fhir+json")
        assert answer.status_code == 400

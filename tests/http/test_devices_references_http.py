"""References with the hub's own base before them, as many clients write them: they mean the same as relative ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bedside import SYSTEM, Bedside, ago
from tests.running import RunningHub
from tests.telemetry import eventually


def absolute(hub: RunningHub, reference: str) -> dict[str, str]:
    """Return the reference that this hub itself would write in a link."""
    (entry,) = hub.search(f"{reference.replace('/', '?_id=')}")["entry"]
    return {"reference": entry["fullUrl"]}


def pulse(**more: Any) -> dict[str, Any]:
    return {"code": "8867-4", "value": 71, "unit": "/min", "at": ago(5), **more}


def assign(bed: Bedside, patient: dict[str, str], device: dict[str, str], **more: Any) -> None:
    statement = {"resourceType": "DeviceUseStatement", "status": "active", "subject": patient, "device": device}
    bed.hub.create({**statement, "timingPeriod": {"start": "2026-11-01"}, **more})


def test_a_device_belongs_to_the_patient_whom_it_names_by_url(hub: RunningHub) -> None:
    bed = Bedside(hub, is_assigned=False)
    device = hub.request("GET", f"/fhir/{bed.device}").json()
    body = {**device, "patient": absolute(hub, bed.patient)}
    assert hub.request("PUT", f"/fhir/{bed.device}", json=body).status_code == 200
    assert bed.stored(pulse())["subject"] == {"reference": bed.patient}


def test_a_device_is_used_by_the_patient_whom_a_statement_names_by_url_and_what_waited_is_taken(
    hub: RunningHub,
) -> None:
    bed, reading = Bedside(hub, is_assigned=False), pulse(id="1")
    (result,) = bed.send(reading)
    assert result["reason"] == "patient-unassigned"
    assign(bed, absolute(hub, bed.patient), absolute(hub, bed.device))
    eventually(lambda: bed.found(f"Observation?patient={bed.patient}&code=8867-4"), within_s=20)


@pytest.mark.parametrize("other", ["http://elsewhere.example/fhir/", "urn:uuid:"])
def test_a_patient_of_another_server_is_none_of_this_one(hub: RunningHub, other: str) -> None:
    bed = Bedside(hub, is_assigned=False)
    id = "c757873d-ec9a-4326-a141-556f43239520" if other.startswith("urn") else bed.patient
    assign(bed, {"reference": f"{other}{id}"}, {"reference": bed.device})
    (result,) = bed.send(pulse())
    assert result["reason"] == "patient-unassigned"


def test_an_observation_that_names_another_patient_by_url_is_kept_aside(hub: RunningHub) -> None:
    bed, other = Bedside(hub), Bedside(hub)
    sent = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "device": {"identifier": {"system": SYSTEM, "value": bed.serial}},
        "effectiveDateTime": ago(5),
        "valueQuantity": {"value": 71, "code": "/min"},
    }
    found = []
    for patient in (other.patient, bed.patient):
        body = {**sent, "subject": absolute(hub, patient)}
        answer = hub.request("POST", "/devices", json=body)
        found += [(result["status"], result.get("reason")) for result in answer.json()["results"]]
    assert found == [("quarantined", "patient-mismatch"), ("stored", None)]

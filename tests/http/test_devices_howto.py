"""The how-to of devices, as its reader follows it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.running import RunningHub

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "devices.md"


def test_the_how_to_of_devices_leads_to_readings_at_their_true_time(hub: RunningHub) -> None:
    patient = hub.create({"resourceType": "Patient"})["id"]
    blocks = [str(text) for text in re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.S)]
    device, gateway = (hub.create(json.loads(block))["id"] for block in blocks[:2])
    for block in blocks[2:4]:
        hub.create(json.loads(block.replace("Patient/PATIENT", f"Patient/{patient}").replace("/DEVICE", f"/{device}")))
    sent: dict[str, Any] = hub.request("POST", "/devices", json=json.loads(blocks[4])).json()
    assert [result["status"] for result in sent["results"]] == ["stored", "stored"], sent
    found = hub.search(f"Observation?patient={patient}&_sort=code")["entry"]
    made = {entry["resource"]["code"]["coding"][-1]["code"]: entry["resource"] for entry in found}
    assert {code: str(one["valueQuantity"]["value"]) for code, one in made.items()} == {
        "150456": "97",
        "149530": "72.0",
    }
    assert {one["effectiveDateTime"] for one in made.values()} == {"2026-11-20T08:02:00+01:00"}
    assert made["150456"]["extension"][0]["valueReference"]["reference"] == f"Device/{gateway}"

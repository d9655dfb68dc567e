"""Copies of patients for the mix: the same resources under ids of their own, with references that hold."""

from __future__ import annotations

import bz2
import json
from pathlib import Path
from typing import Any

from bench.copies import write_copies

SHARED = "69176529-fd1f-3b3f-abce-a0a3626769e"
OWN = "11111111-fd1f-3b3f-abce-a0a3626769e"


def bundle(*resources: dict[str, Any]) -> bytes:
    entries = [{"fullUrl": f"urn:uuid:{one['id']}", "resource": one} for one in resources]
    return bz2.compress(json.dumps({"resourceType": "Bundle", "entry": entries}).encode())


def test_each_copy_refers_to_itself_and_to_what_all_share(tmp_path: Path) -> None:
    doctor = {"resourceType": "Practitioner", "id": SHARED + "0", "identifier": [{"system": "urn:x", "value": "7"}]}
    (tmp_path / "0-practitioners.json.bz2").write_bytes(bundle(doctor))
    visits = [
        {
            "resourceType": "Encounter",
            "id": f"{OWN}{number}",
            "subject": {"reference": f"urn:uuid:{OWN}0"},
            "participant": [{"individual": {"reference": "Practitioner?identifier=urn:x|7"}}],
            "partOf": {"reference": f"urn:uuid:{OWN}{number + 1}"},
        }
        for number in (1, 2, 3)
    ]
    (tmp_path / "Ann.json.bz2").write_bytes(bundle({"resourceType": "Patient", "id": OWN + "0"}, *visits))
    target = tmp_path / "copies.ndjson"
    assert write_copies(tmp_path, target, copies=2, each=3) == 2
    made = [json.loads(line) for line in target.read_text().splitlines()]
    assert [f"{one['resourceType']}/{one['id'][-3:]}" for one in made] == [
        "Practitioner/9e0",
        *("Patient/9e0", "Encounter/9e1", "Encounter/9e2"),
        *("Patient/0-1", "Encounter/1-1", "Encounter/2-1"),
    ]
    first, second = made[5], made[6]
    assert first["subject"] == second["subject"] == {"reference": f"Patient/{OWN}0-1"}
    assert first["partOf"] == {"reference": f"Encounter/{OWN}2-1"}
    assert second["partOf"] == {"reference": f"Encounter/{OWN}3"}, "it was not taken"
    assert first["participant"] == [{"individual": {"reference": f"Practitioner/{SHARED}0"}}]

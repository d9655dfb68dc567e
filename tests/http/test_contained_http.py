"""Searches for contained resources, on every store."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.running import RunningHub

pytestmark = pytest.mark.every_store


def request(drug: str, mark: str) -> dict[str, Any]:
    """Return a MedicationRequest that contains its Medication."""
    medication = {
        "resourceType": "Medication",
        "id": "drug",
        "identifier": [{"system": "urn:mark", "value": mark}],
        "code": {"coding": [{"system": "urn:drugs", "code": drug}]},
    }
    return {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "contained": [medication],
        "medicationReference": {"reference": "#drug"},
        "subject": {"display": "somebody"},
    }


def entries(bundle: dict[str, Any]) -> list[str]:
    return [entry["fullUrl"].split("/fhir/")[1] for entry in bundle.get("entry", ())]


def test_contained_resources_are_found(hub: RunningHub) -> None:
    mark = uuid.uuid4().hex
    asked = f"Medication?identifier=urn:mark|{mark}"
    held = [hub.create(request(drug, mark))["id"] for drug in ("a", "b", "a")]
    alone = hub.create(
        {"resourceType": "Medication", "identifier": [{"system": "urn:mark", "value": mark}], "status": "active"}
    )["id"]
    assert entries(hub.search(asked)) == [f"Medication/{alone}"]
    found = hub.search(f"{asked}&_contained=true")
    assert (found["total"], entries(found)) == (3, [f"MedicationRequest/{id}" for id in reversed(held)])
    assert entries(hub.search(f"{asked}&code=b&_contained=true")) == [f"MedicationRequest/{held[1]}"]
    itself = hub.search(f"{asked}&code=b&_contained=true&_containedType=contained")
    assert entries(itself) == [f"MedicationRequest/{held[1]}#drug"]
    assert itself["entry"][0]["resource"]["resourceType"] == "Medication"
    both = hub.search(f"{asked}&_contained=both")
    assert (both["total"], entries(both)[0], len(both["entry"])) == (4, f"Medication/{alone}", 4)
    assert hub.search(f"{asked}&_contained=both&_summary=count")["total"] == 4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_pages_give_each_once(hub: RunningHub, count: int) -> None:
    mark = uuid.uuid4().hex
    held = [hub.create(request("a", mark))["id"] for _ in range(3)]
    alone = hub.create({"resourceType": "Medication", "identifier": [{"system": "urn:mark", "value": mark}]})["id"]
    url: str | None = f"/fhir/Medication?identifier=urn:mark|{mark}&_contained=both&_count={count}"
    seen: list[str] = []
    while url:
        page = hub.request("GET", url).json()
        assert len(page.get("entry", ())) <= count
        assert page["total"] == 4
        seen += entries(page)
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    assert seen == [f"Medication/{alone}", *(f"MedicationRequest/{id}" for id in reversed(held))]


def test_what_may_not_be_seen_is_not_found(hub: RunningHub) -> None:
    mark = uuid.uuid4().hex
    patient = hub.create({"resourceType": "Patient"})["id"]
    hub.create({**request("a", mark), "subject": {"reference": f"Patient/{patient}"}})
    asked = f"Medication?identifier=urn:mark|{mark}&_contained=true"
    assert hub.search(asked)["total"] == 1
    stranger = hub.token("system/*.cruds", actor="Organization/stranger")
    assert hub.search(asked, token=stranger)["total"] == 0

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


def test_chains_go_into_contained_resources(hub: RunningHub) -> None:
    mark = uuid.uuid4().hex
    system = "urn:mark"
    maker = hub.create({"resourceType": "Organization", "name": f"Maker{mark}", "partOf": {"display": "x"}})["id"]
    inside = hub.create(request("a", mark))["id"]
    other = request("b", mark)
    other["contained"][0]["manufacturer"] = {"reference": f"Organization/{maker}"}
    made = hub.create(other)["id"]
    sibling = request("c", mark)
    sibling["contained"][0]["manufacturer"] = {"reference": "#maker"}
    sibling["contained"].append({"resourceType": "Organization", "id": "maker", "name": f"Within{mark}"})
    within = hub.create(sibling)["id"]
    drug: dict[str, Any] = {"resourceType": "Medication", "identifier": [{"system": system, "value": mark}]}
    drug |= {"code": {"coding": [{"system": "urn:drugs", "code": "a"}]}}
    outside = request("z", "other")
    del outside["contained"]
    outside["medicationReference"] = {"reference": f"Medication/{hub.create(drug)['id']}"}
    apart = hub.create(outside)["id"]
    note = {"resourceType": "Provenance", "target": [{"reference": f"MedicationRequest/{inside}"}]}
    agent = {"agent": [{"who": {"display": "x"}}], "recorded": "2026-01-01T00:00:00Z"}
    told = hub.create({**note, **agent})["id"]
    mine = f"medication.identifier={system}|{mark}"
    for query, expected in {
        f"MedicationRequest?{mine}": {inside, made, within, apart},
        f"MedicationRequest?{mine}&medication.code=urn:drugs|a": {inside, apart},
        f"MedicationRequest?{mine}&medication:Medication.code=b": {made},
        f"MedicationRequest?{mine}&medication.manufacturer.name=maker{mark}": {made},
        f"MedicationRequest?{mine}&medication.manufacturer.name=within{mark}": {within},
        f"MedicationRequest?{mine}&medication.manufacturer.name=nobody": set(),
        f"MedicationRequest?{mine}&medication.manufacturer:missing=true": {inside, apart},
        f'MedicationRequest?_filter=medication.identifier eq "{system}|{mark}" and not (medication.code eq a)': {
            made,
            within,
        },
        f"Provenance?target:MedicationRequest.medication.identifier={system}|{mark}": {told},
    }.items():
        found = hub.search(query)
        assert ({entry["resource"]["id"] for entry in found.get("entry", ())}, found["total"]) == (
            expected,
            len(expected),
        ), query


def test_a_chain_into_what_is_contained_shows_nothing_that_is_hidden(hub: RunningHub) -> None:
    mark = uuid.uuid4().hex
    patient = hub.create({"resourceType": "Patient"})["id"]
    hidden = hub.create({"resourceType": "Patient", "name": [{"family": f"Hidden{mark}"}]})["id"]
    order = {
        **request("a", mark),
        "subject": {"reference": f"Patient/{patient}"},
        "contained": [
            {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"}}
            | {"subject": {"reference": f"Patient/{hidden}"}}
        ],
        "encounter": {"reference": "#e"},
    }
    order["medicationReference"] = {"display": "x"}
    id = hub.create(order)["id"]
    asked = f"MedicationRequest?encounter.subject:Patient.name=hidden{mark}"
    assert [one["resource"]["id"] for one in hub.search(asked)["entry"]] == [id]
    themselves = hub.token("patient/*.rs", patient=patient)
    assert hub.search("MedicationRequest", token=themselves)["total"] == 1
    assert hub.search(asked, token=themselves)["total"] == 0

"""A small record on a running hub, for tests of operations: one patient, her care, and who took part."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from fhir_server.app import opened
from fhir_server.settings import Settings
from fhir_server.store.protocol import AuditRow
from tests.running import RunningHub


def concept(code: str, system: str = "http://loinc.org") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def vital(patient: str, code: str, value: float, at: str, unit: str = "/min", **more: Any) -> dict[str, Any]:
    """Return a vital sign."""
    category = concept("vital-signs", "http://terminology.hl7.org/CodeSystem/observation-category")
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [category],
        "code": concept(code),
        "subject": {"reference": patient},
        "effectiveDateTime": at,
        "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
        **more,
    }


@dataclass
class Record:
    """What was stored, as references."""

    hub: RunningHub
    patient: str
    doctor: str
    clinic: str
    medication: str
    encounter: str
    inside: set[str]  # the compartment
    support: set[str]  # what it refers to

    def add(self, resource: dict[str, Any]) -> str:
        return stored(self.hub, resource)


def stored(hub: RunningHub, resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{hub.create(resource)['id']}"


def make_record(hub: RunningHub, pulses: int = 3) -> Record:
    """Store a record: a patient, an encounter, pulses on the first days of January 2026, a prescription, a task."""
    clinic = stored(hub, {"resourceType": "Organization", "name": "Clinique d'essai"})
    doctor = stored(hub, {"resourceType": "Practitioner", "name": [{"family": "Essai"}]})
    medication = stored(hub, {"resourceType": "Medication", "code": concept("A10BA02", "http://www.whocc.no/atc")})
    patient = stored(
        hub,
        {
            "resourceType": "Patient",
            "name": [{"family": "Dossier", "given": ["Ève"]}],
            "gender": "female",
            "birthDate": "1951-04-23",
            "managingOrganization": {"reference": clinic},
        },
    )
    about = {"subject": {"reference": patient}}
    encounter = stored(
        hub,
        {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "period": {"start": "2026-01-01T08:00:00Z", "end": "2026-01-01T09:00:00Z"},
            "participant": [{"individual": {"reference": doctor}}],
            **about,
        },
    )
    inside = {patient, encounter}
    for day in range(1, pulses + 1):
        more: dict[str, Any] = {"encounter": {"reference": encounter}} if day == 1 else {}
        at = f"2026-01-{day:02}T00:00:00Z"
        more["performer"] = [{"reference": patient}]
        inside.add(stored(hub, vital(patient, "8867-4", 60 + day, at, **more)))
    inside.add(
        stored(
            hub,
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "intent": "order",
                "medicationReference": {"reference": medication},
                "authoredOn": "2026-01-02",
                **about,
            },
        )
    )
    inside.add(
        stored(hub, {"resourceType": "Task", "status": "ready", "intent": "order", "for": {"reference": patient}})
    )
    return Record(hub, patient, doctor, clinic, medication, encounter, inside, {doctor, clinic, medication})


_STRANGERS: dict[str, str] = {}  # tokens by the folder of a hub


def stranger(hub: RunningHub) -> str:
    """Return the token of a practitioner whom nothing lets see any patient."""
    if (key := str(hub.folder)) not in _STRANGERS:
        doctor = stored(hub, {"resourceType": "Practitioner", "name": [{"family": "Inconnu"}]})
        _STRANGERS[key] = hub.token("system/*.cruds", actor=doctor)
    return _STRANGERS[key]


def references(bundle: dict[str, Any], mode: str = "match") -> list[str]:
    """Return the references of a Bundle's entries of a mode, in order."""
    entries = [entry for entry in bundle.get("entry", ()) if entry["search"]["mode"] == mode]
    return [f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in entries]


def link(bundle: dict[str, Any], relation: str = "next") -> str:
    """Return a link as a path on the hub; "" where there is none."""
    found = next((each["url"] for each in bundle["link"] if each["relation"] == relation), "")
    return found[found.index("/fhir") :] if found else ""


def walk(hub: RunningHub, path: str, token: str = "", most: int = 200) -> list[dict[str, Any]]:
    """Return all pages of a search or operation."""
    pages: list[dict[str, Any]] = []
    while path and len(pages) < most:
        answer = hub.request("GET", path, token=token)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())
        path = link(pages[-1])
    return pages


def audited(hub: RunningHub, interaction: str, patient: str) -> list[str]:
    """Return the targets of the audit rows of an interaction that name a patient, oldest first."""
    if hub.store == "memory:":
        pytest.skip("what a store in memory keeps, no other process can read")
    stored(hub, {"resourceType": "Organization", "name": "x"})  # rows of reads go with the next commit
    rows = asyncio.run(_audits(hub.store, patient))
    return [row.target for row in rows if row.interaction == interaction]


async def _audits(store: str, patient: str) -> list[AuditRow]:
    """Read the audit rows of a patient beside the running hub, as `predmp audit verify` does."""
    async with opened(Settings(store=store, rooms=())) as composed, composed.store.view("default") as view:
        return [row for _, row in await view.audits(patient=patient, limit=1_000)]

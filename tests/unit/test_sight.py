"""What a caller may see is never learnt from a transaction that was undone."""

from __future__ import annotations

import pytest

from fhir_server.app import opened
from fhir_server.errors import NotFound
from fhir_server.model import Actor, Entry, Scope
from fhir_server.settings import Settings
from tests.unit.consent_cases import consent

SETTINGS = Settings(store="memory:", rooms=("consent.room",), zone="UTC")
VENDOR = Actor("default", "vendor", (Scope("system", "*", "cruds"),), reference="Organization/v")
OBSERVATION = {
    "resourceType": "Observation", "id": "o", "status": "final",
    "subject": {"reference": "Patient/p"}, "code": {"text": "x"},
}  # fmt: skip


async def test_a_refused_transaction_that_grants_itself_access_opens_nothing() -> None:
    async with opened(SETTINGS) as composed:
        hub = composed.hub
        patient = {"resourceType": "Patient", "id": "p"}
        stored = [Entry("PUT", "Patient/p", patient), Entry("PUT", "Observation/o", OBSERVATION)]
        await hub.submit(stored, actor=hub.internal("default", "test"))
        permit = {k: v for k, v in consent("permit", "Organization/v").items() if k not in ("id", "meta")}
        changed = {**OBSERVATION, "code": {"text": "y"}}
        with pytest.raises(NotFound):
            await hub.submit([Entry("POST", "Consent", permit), Entry("PUT", "Observation/o", changed)], actor=VENDOR)
        with pytest.raises(NotFound):
            await hub.read("Observation/o", actor=VENDOR)

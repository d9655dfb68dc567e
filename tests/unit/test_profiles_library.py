"""What is known of profiles is kept while definitions stay as they are, and read anew where they change."""

from __future__ import annotations

import pytest

from fhir_server.app import opened
from fhir_server.errors import Unprocessable
from fhir_server.interactions.core import Hub
from fhir_server.model import Entry, Resource
from fhir_server.settings import Settings
from tests.profiles import OWN, element, profile

PATIENT: Resource = {"resourceType": "Patient", "meta": {"profile": [OWN + "own"]}, "gender": "male"}
MAP: Resource = {"resourceType": "ConceptMap", "status": "active"}  # moves the epoch, and is no profile


async def write(hub: Hub, *resources: Resource) -> None:
    entries = [
        Entry("PUT", f"{one['resourceType']}/{one['id']}", one)
        if "id" in one
        else Entry("POST", one["resourceType"], one)
        for one in resources
    ]
    await hub.submit(entries, actor=hub.internal("default", "test"))


def asking_for(name: str) -> Resource:
    return {**profile("Patient", element(f"Patient.{name}", min=1)), "id": "own"}


@pytest.mark.parametrize("store", ["memory:", "sqlite"])
async def test_profiles_stay_known_until_a_definition_changes(
    store: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = store if store == "memory:" else f"sqlite:///{tmp_path_factory.mktemp('hub')}/hub.db"
    async with opened(Settings(store=place, rooms=())) as composed:
        hub = composed.hub
        await write(hub, asking_for("birthDate"))
        with pytest.raises(Unprocessable):
            await write(hub, PATIENT)
        kept = hub.profiles._library._shelves["default"]
        await write(hub, MAP)
        with pytest.raises(Unprocessable):
            await write(hub, PATIENT)
        assert hub.profiles._library._shelves["default"] is kept, "another write moved the epoch"
        await write(hub, asking_for("gender"))
        await write(hub, PATIENT)
        await write(hub, asking_for("active"))
        with pytest.raises(Unprocessable):
            await write(hub, PATIENT)

"""The clients that vendors use from Python, against the server: fhirpy and fhirclient."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from fhirclient import client as smart
from fhirclient.models.humanname import HumanName
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirpy import AsyncFHIRClient, SyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, OperationOutcome, ResourceNotFound

from tests.running import RunningHub

pytestmark = pytest.mark.every_store


@pytest.fixture
def fhirpy(hub: RunningHub) -> SyncFHIRClient:
    return SyncFHIRClient(f"{hub.http.base_url}/fhir", authorization=f"Bearer {hub.operator}")


@pytest.fixture
def fhirclient(hub: RunningHub) -> Iterator[Any]:
    made = smart.FHIRClient(settings={"app_id": "tests", "api_base": f"{hub.http.base_url}/fhir"})
    made.server.session.headers["Authorization"] = f"Bearer {hub.operator}"
    yield made.server
    made.server.session.close()


def test_fhirpy_saves_reads_searches_and_deletes(fhirpy: SyncFHIRClient) -> None:
    family = f"Exemple{uuid.uuid4().hex}"
    patient = fhirpy.resource("Patient", name=[{"family": family}], gender="female")
    patient.save()
    assert patient.id
    patient["gender"] = "other"
    patient.save(fields=["gender"])  # a patch
    found = fhirpy.resources("Patient").search(family=family)
    assert [one["gender"] for one in found.fetch()] == ["other"]
    assert found.fetch_raw()["total"] == found.count() == 1  # this asks by `_totalMethod`, which R4 does not have
    assert found.get().id == patient.id
    fhirpy.delete(patient)
    assert found.first() is None


def test_fhirpy_follows_pages_references_and_includes(fhirpy: SyncFHIRClient) -> None:
    patient = fhirpy.resource("Patient", name=[{"family": "Exemple"}])
    patient.save()
    for number in range(7):
        fhirpy.resource(
            "Observation",
            status="final",
            code={"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
            subject=patient.to_reference(),
            valueInteger=number,
        ).save()
    asked = fhirpy.resources("Observation").search(subject=patient.to_reference().reference).sort("-_id").limit(3)
    assert len(asked.fetch()) == 3
    assert sorted(one["valueInteger"] for one in asked.fetch_all()) == list(range(7))
    newest = asked.first()
    assert newest is not None
    assert newest["subject"].to_resource().id == patient.id
    bundle = asked.include("Observation", "subject").fetch_raw()
    assert {entry["search"]["mode"] for entry in bundle["entry"]} == {"match", "include"}


def test_fhirpy_creates_and_updates_by_condition(fhirpy: SyncFHIRClient) -> None:
    value = uuid.uuid4().hex
    body = {"resourceType": "Patient", "identifier": [{"system": "urn:mark", "value": value}]}
    asked = fhirpy.resources("Patient").search(identifier=f"urn:mark|{value}")
    first, is_new = asked.get_or_create(fhirpy.resource("Patient", **body))
    again, is_new_again = asked.get_or_create(fhirpy.resource("Patient", **body))
    assert (is_new, is_new_again, first.id) == (True, False, again.id)
    changed, is_new = asked.update(fhirpy.resource("Patient", **body, gender="male"))
    assert (is_new, changed.id, changed["gender"]) == (False, first.id, "male")
    assert asked.patch(gender="other")["gender"] == "other"
    fhirpy.resource("Patient", **body).save()
    with pytest.raises(MultipleResourcesFound):
        asked.patch(gender="male")


def test_fhirpy_validates_and_reads_errors(fhirpy: SyncFHIRClient) -> None:
    assert fhirpy.resource("Patient", gender="female").is_valid()
    assert not fhirpy.resource("Patient", gender="nonsense").is_valid()
    with pytest.raises(OperationOutcome):
        fhirpy.resource("Patient", gender="nonsense").save()
    with pytest.raises(ResourceNotFound):
        fhirpy.reference("Patient", "never-there").to_resource()


async def test_fhirpy_asynchronously(hub: RunningHub) -> None:
    client = AsyncFHIRClient(f"{hub.http.base_url}/fhir", authorization=f"Bearer {hub.operator}")
    patient = client.resource("Patient", name=[{"family": "Exemple"}])
    await patient.save()
    made = await client.resources("Patient").search(_id=patient.id).fetch_all()
    assert [one.id for one in made] == [patient.id]


def test_fhirclient_creates_reads_updates_and_deletes(fhirclient: Any) -> None:
    patient = Patient({"name": [{"family": "Exemple", "given": ["Zoé"]}], "birthDate": "1951-04-23"})
    answer = patient.create(fhirclient)
    read = Patient.read(answer["id"], fhirclient)
    assert read.birthDate.isostring == "1951-04-23"
    read.name = [HumanName({"family": "Autre"})]
    read.update(fhirclient)
    assert Patient.read(answer["id"], fhirclient).name[0].family == "Autre"
    read.delete(fhirclient)
    assert list(Patient.where({"_id": answer["id"]}).perform_resources_iter(fhirclient)) == []


def test_fhirclient_searches(fhirclient: Any) -> None:
    subject = Patient({"name": [{"family": "Exemple"}]}).create(fhirclient)["id"]
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    for number in range(3):
        Observation(
            {"status": "final", "code": code, "subject": {"reference": f"Patient/{subject}"}, "valueInteger": number}
        ).create(fhirclient)
    found = Observation.where({"subject": f"Patient/{subject}", "code": "8867-4"}).perform_resources_iter(fhirclient)
    assert sorted(one.valueInteger for one in found) == [0, 1, 2]

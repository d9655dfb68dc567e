"""`_summary` and `_elements`, which every interaction takes, and what becomes of the parts that they leave."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.running import RunningHub

NARRATIVE = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Exemple</div>'}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "text": NARRATIVE,
    "name": [{"family": "Exemple"}],
    "gender": "female",
}


def tags(resource: dict[str, Any]) -> list[str]:
    return [tag["code"] for tag in resource.get("meta", {}).get("tag", ())]


@pytest.mark.parametrize("path", ["Patient/{id}", "Patient/{id}/_history/1", "Patient/{id}/_history", "metadata"])
def test_what_is_given_whole_is_not_tagged_as_a_part(hub: RunningHub, path: str) -> None:
    path = path.format(id=hub.create(PATIENT)["id"])
    plain, asked = hub.search(path), hub.search(f"{path}?_summary=false")
    for given in (plain, asked):
        given.pop("link", None)
    assert asked == plain


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("Patient/{id}?_summary=count", 400, id="a read counts nothing"),
        pytest.param("Patient/{id}?_elements=gendre", 400, id="a read refuses an element that the type does not have"),
        pytest.param("Patient/{id}?_elements=", 400, id="a read refuses no element"),
        pytest.param("Patient/{id}?_elements=name&_elements=gender", 400, id="a read takes one list of elements"),
        pytest.param("Patient/{id}/_history/1?_elements=gendre", 400, id="so does a read of a version"),
        pytest.param("Patient/{id}/_history?_elements=gendre", 400, id="so does a history"),
        pytest.param("_history?_elements=code,gender&_count=1", 200, id="a history of all types takes any type's"),
        pytest.param("Patient/{id}?_elements=Patient.name.family", 200, id="a read takes paths with the type"),
        pytest.param("metadata?_elements=rest.mode", 200, id="so does metadata"),
        pytest.param("metadata?_elements=gender", 400, id="metadata has no gender"),
        pytest.param("metadata?_summary=some", 400, id="metadata knows what a summary is"),
        pytest.param("metadata?nonsense=1", 400, id="metadata ignores no parameter"),
        pytest.param("metadata?mode=full&_format=json&_pretty=true", 200, id="metadata takes what it has"),
        pytest.param("Patient/{id}/$everything?_elements=gendre", 400, id="an operation refuses what no type has"),
        pytest.param("Patient/{id}/$everything?_summary=count", 400, id="an operation counts nothing"),
    ],
)
def test_no_part_is_asked_in_vain(hub: RunningHub, path: str, status: int) -> None:
    path = path.format(id=hub.create(PATIENT)["id"])
    assert hub.request("GET", f"/fhir/{path}").status_code == status
    assert hub.request("GET", "/fhir/metadata?nonsense=1", Prefer="handling=lenient").status_code == 200


def test_operations_give_the_part_that_is_asked_for_on_every_page(hub: RunningHub) -> None:
    id = hub.create(PATIENT)["id"]
    for _ in range(2):
        observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "note": [{"text": "n"}]}
        hub.create({**observation, "subject": {"reference": f"Patient/{id}"}})
    path, seen = f"/fhir/Patient/{id}/$everything?_count=1&_elements=gender,name.family", []
    while path:
        page = hub.request("GET", path).json()
        seen += [entry["resource"] for entry in page["entry"]]
        path = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    assert [resource["resourceType"] for resource in seen] == ["Patient", "Observation", "Observation"]
    assert all(tags(resource) == ["SUBSETTED"] for resource in seen)
    assert seen[0].keys() == {"resourceType", "id", "meta", "gender", "name"}
    assert seen[1].keys() == {"resourceType", "id", "meta", "status", "code"}


def test_an_operation_without_a_bundle_gives_a_part_too(hub: RunningHub) -> None:
    path = "ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender"
    whole, part = hub.search(path), hub.search(f"{path}&_elements=expansion.contains")
    assert part["expansion"]["contains"] == whole["expansion"]["contains"]
    assert "name" in whole
    assert "name" not in part


@pytest.mark.parametrize("way", ["by id", "by condition", "in a transaction"])
def test_a_part_does_not_overwrite_the_whole(hub: RunningHub, way: str) -> None:
    value = uuid.uuid4().hex
    whole = hub.create({**PATIENT, "identifier": [{"system": "urn:part", "value": value}]})
    part = hub.search(f"Patient/{whole['id']}?_elements=gender") | {"gender": "other"}
    url = f"Patient?identifier=urn:part|{value}" if way == "by condition" else f"Patient/{whole['id']}"
    if way == "in a transaction":
        entry = {"resource": part, "request": {"method": "PUT", "url": url}}
        answer = hub.request("POST", "/fhir", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    else:
        answer = hub.request("PUT", f"/fhir/{url}", json=part)
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"][0].endswith(".meta.tag")
    assert hub.search(f"Patient/{whole['id']}") == whole

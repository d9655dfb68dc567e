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


@pytest.mark.parametrize(
    ("asked", "drugs"),
    [
        pytest.param("code:in={url}/some", "b", id="in a value set"),
        pytest.param("code:not-in={url}/some", "a, c", id="not in it"),
        pytest.param("code:below=urn:drugs|a", None, id="a hierarchy that is not here"),
        pytest.param("code:in={url}/none", None, id="a value set that is not here"),
        pytest.param("_content=drug", None, id="full text"),
    ],
)
def test_value_sets_are_asked_of_what_is_contained(hub: RunningHub, asked: str, drugs: str | None) -> None:
    mark = uuid.uuid4().hex
    url = f"http://codes.example/{mark}"
    concepts = [{"system": "urn:drugs", "concept": [{"code": "b"}]}]
    hub.create({"resourceType": "ValueSet", "status": "active", "url": f"{url}/some", "compose": {"include": concepts}})
    held = {hub.create(request(drug, mark))["id"]: drug for drug in ("a", "b", "c")}
    query = f"/fhir/Medication?identifier=urn:mark|{mark}&_contained=true&{asked.format(url=url)}"
    answer = hub.request("GET", query)
    if drugs is None:
        assert answer.status_code == 400
    else:
        assert sorted(held[entry["resource"]["id"]] for entry in answer.json()["entry"]) == drugs.split(", ")


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


def test_what_containers_and_what_they_contain_refer_to_is_included(hub: RunningHub) -> None:
    mark = uuid.uuid4().hex
    maker = hub.create({"resourceType": "Organization", "name": "Maker"})["id"]
    patient = hub.create({"resourceType": "Patient"})["id"]
    order = {**request("a", mark), "subject": {"reference": f"Patient/{patient}"}}
    order["contained"][0]["manufacturer"] = {"reference": f"Organization/{maker}"}
    held = hub.create(order)["id"]
    asked = f"Medication?identifier=urn:mark|{mark}&_contained=true"
    of_containers = hub.search(f"{asked}&_include=MedicationRequest:subject")
    assert entries(of_containers) == [f"MedicationRequest/{held}", f"Patient/{patient}"]
    of_contained = hub.search(f"{asked}&_containedType=contained&_include=Medication:manufacturer")
    assert entries(of_contained) == [f"MedicationRequest/{held}#drug", f"Organization/{maker}"]
    assert [one["search"]["mode"] for one in of_contained["entry"]] == ["match", "include"]


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


def bundle(kind: str, first: dict[str, Any], *others: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a document or a message; the resources after its first entry have their fullUrl."""
    identified = {"identifier": {"system": "urn:bundles", "value": uuid.uuid4().hex}} if kind == "document" else {}
    entry = [{"fullUrl": f"urn:uuid:{uuid.uuid4()}", "resource": first}]
    entry += [{"fullUrl": url, "resource": resource} for url, resource in others]
    return {"resourceType": "Bundle", "type": kind, "timestamp": "2026-03-01T00:00:00Z", "entry": entry, **identified}


def composition(title: str, subject: str) -> dict[str, Any]:
    return {
        "resourceType": "Composition",
        "status": "final",
        "type": {"text": "letter"},
        "date": "2026-03-01",
        "author": [{"display": "somebody"}],
        "title": title,
        "subject": {"reference": subject},
    }


@pytest.fixture(scope="module")
def bundles(hub: RunningHub) -> dict[str, str]:
    """Ids of Bundles that are alike but for what is in them, by a word; a tag marks them."""
    alone = hub.create({"resourceType": "Patient", "name": [{"family": "Dehors"}]})["id"]
    by_urn, by_url = f"urn:uuid:{uuid.uuid4()}", "http://elsewhere.example/fhir/Patient/q9"
    patient = {"resourceType": "Patient", "name": [{"family": "Dedans"}]}
    header = {
        "resourceType": "MessageHeader",
        "eventUri": "urn:event",
        "source": {"endpoint": "urn:lab", "name": "Labo"},
    }
    made = {
        "urn": bundle("document", composition("Lettre", by_urn), (by_urn, patient)),
        "url": bundle("document", composition("Courrier", "Patient/q9"), (by_url, {**patient, "id": "q9"})),
        "outside": bundle("document", composition("Lettre", f"Patient/{alone}")),
        "message": bundle("message", header),
        "collection": bundle("collection", composition("Lettre", by_urn), (by_urn, patient)),
    }
    mark = {"meta": {"tag": [{"system": "urn:bundles", "code": "chained"}]}}
    return {hub.create({**one, **mark})["id"]: word for word, one in made.items()}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("composition.title=lettre", {"urn", "outside"}, id="what the first entry of a document says"),
        pytest.param("composition.patient.name=dedans", {"urn", "url"}, id="what it refers to inside"),
        pytest.param("composition.patient.name=dehors", {"outside"}, id="what it refers to outside"),
        pytest.param("composition.patient=Patient/q9", {"url"}, id="its references as they are written"),
        pytest.param("message.source=labo", {"message"}, id="the first entry of a message"),
        pytest.param("composition.title=labo", set(), id="nothing that is not there"),
    ],
)
def test_chains_go_into_the_first_entry_of_a_bundle(
    hub: RunningHub, bundles: dict[str, str], query: str, expected: set[str]
) -> None:
    found = entries(hub.search(f"Bundle?_tag=chained&{query}"))
    assert {bundles[name.removeprefix("Bundle/")] for name in found} == expected

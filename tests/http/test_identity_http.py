"""$match, $merge and $unmerge over HTTP."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.http.test_search_parameters_http import wait_for_job
from tests.running import RunningHub

pytestmark = pytest.mark.durable_stores

INS = "urn:oid:1.2.250.1.213.1.4.10"
RELIABILITY = {
    "url": "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability",
    "extension": [{"url": "identityStatus", "valueCoding": {"code": "VALI"}}],
}


def person(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "name": [{"family": "Lefèvre-Dubois", "given": ["Hélène", "Marie"]}],
        "gender": "female",
        "birthDate": "1951-04-03",
        **more,
    }


def match(hub: RunningHub, resource: dict[str, Any], *, token: str = "", **parameters: Any) -> list[dict[str, Any]]:
    body = [{"name": "resource", "resource": resource}]
    body += [
        {"name": name, "valueBoolean" if value is True else "valueInteger": value} for name, value in parameters.items()
    ]
    answer = hub.request(
        "POST", "/fhir/Patient/$match", json={"resourceType": "Parameters", "parameter": body}, token=token
    )
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json().get("entry", [])
    return found


@pytest.fixture(scope="module")
def own(hub: RunningHub) -> tuple[RunningHub, str]:
    """A hub with one person whom only this module knows."""
    mark = uuid.uuid4().hex[:8]
    id = hub.create(
        person(
            name=[{"family": f"Lefèvre-{mark}", "given": ["Hélène", "Marie"]}],
        )
    )["id"]
    return hub, f"{id} {mark}"


@pytest.mark.parametrize(
    ("changed", "grade"),
    [
        pytest.param({}, "probable", id="the same name, gender and birth date are probable"),
        pytest.param({"name": [{"family": "LEFEVRE {}", "given": ["helene"]}]}, "probable", id="accents, case and hyphens do not matter"),
        pytest.param({"name": [{"family": "Hélène", "given": ["Lefèvre-{}"]}]}, "probable", id="family and given name swapped are probable"),
        pytest.param({"birthDate": "1951-03-04"}, "probable", id="day and month swapped are probable with an equal name"),
        pytest.param({"name": [{"family": "Lefèvre-{}", "given": ["Marie", "Hélène"]}]}, "probable", id="given names in another order are probable"),
        pytest.param({"name": [{"family": "Martin", "given": ["Hélène"]}, {"use": "maiden", "family": "Lefèvre-{}"}]}, "probable", id="a birth name beside a married name is probable"),
    ],
)  # fmt: skip
def test_a_person_is_found_though_written_otherwise(
    own: tuple[RunningHub, str], changed: dict[str, Any], grade: str
) -> None:
    hub, known = own
    id, mark = known.split()
    asked = person(name=[{"family": f"Lefèvre-{mark}", "given": ["Hélène", "Marie"]}])
    for name, value in changed.items():
        asked[name] = [{k: _filled(v, mark) for k, v in item.items()} for item in value] if name == "name" else value
    found = match(hub, asked)
    entry = next(e for e in found if e["resource"]["id"] == id)
    assert entry["search"]["extension"] == [
        {"url": "http://hl7.org/fhir/StructureDefinition/match-grade", "valueCode": grade}
    ]
    assert 0.9 < entry["search"]["score"] <= 1


def _filled(value: Any, mark: str) -> Any:
    return [v.format(mark) for v in value] if isinstance(value, list) else value.format(mark)


def test_another_person_of_the_same_birth_date_is_not_offered(own: tuple[RunningHub, str]) -> None:
    hub, known = own
    found = match(hub, person(name=[{"family": "Zimmermann", "given": ["Otto"]}], gender="male"))
    assert known.split()[0] not in {entry["resource"]["id"] for entry in found}


def test_only_a_qualified_ins_is_certain(hub: RunningHub) -> None:
    number, name = f"2{uuid.uuid4().int % 10**14:014}", [{"family": f"Ins{uuid.uuid4().hex[:6]}"}]
    ins = [{"system": INS, "value": number}]
    plain = hub.create(person(name=name, identifier=ins))["id"]
    sure = hub.create(person(name=name, identifier=ins, extension=[RELIABILITY]))["id"]
    found = match(hub, {"resourceType": "Patient", "identifier": ins}, onlyCertainMatches=True)
    assert [entry["resource"]["id"] for entry in found] == [sure]
    bare = hub.request("POST", "/fhir/Patient/$match?onlyCertainMatches=true", json=person(name=name, identifier=ins))
    assert [entry["resource"]["id"] for entry in bare.json()["entry"]] == [sure], "the Patient alone is the body"
    assert hub.request("POST", "/fhir/Patient/$match?certain=true", json=person(name=name)).status_code == 400
    every = match(hub, person(name=name, identifier=ins))
    assert every[0]["resource"]["id"] == sure
    assert {entry["resource"]["id"] for entry in every} >= {plain, sure}
    assert len(match(hub, person(name=name, identifier=ins), count=1)) == 1


def test_a_hidden_patient_is_not_matched(own: tuple[RunningHub, str]) -> None:
    hub, known = own
    stranger = hub.token("user/*.cruds", actor="Organization/stranger")
    mark = known.split()[1]
    assert match(hub, person(name=[{"family": f"Lefèvre-{mark}", "given": ["Hélène"]}]), token=stranger) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"resourceType": "Parameters"}, 400, id="nothing to match is refused"),
        pytest.param({"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": {"resourceType": "Group"}}]}, 400, id="a Group is refused"),
        pytest.param({"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": {"resourceType": "Patient", "gender": "x"}}]}, 422, id="an invalid Patient is refused"),
    ],
)  # fmt: skip
def test_a_match_without_a_patient_is_refused(hub: RunningHub, body: dict[str, Any], status: int) -> None:
    assert hub.request("POST", "/fhir/Patient/$match", json=body).status_code == status


# --- merge -----------------------------------------------------------------------------------------------------------


def merge(hub: RunningHub, source: str, target: str, name: str = "$merge", token: str = "", **more: Any) -> Any:
    parameters = [{"name": "source-patient", "valueReference": {"reference": f"Patient/{source}"}}]
    if target:
        parameters.append({"name": "target-patient", "valueReference": {"reference": f"Patient/{target}"}})
    parameters += [{"name": key.replace("_", "-"), **value} for key, value in more.items()]
    body = {"resourceType": "Parameters", "parameter": parameters}
    return hub.request("POST", f"/fhir/Patient/{name}", json=body, token=token)


class Two:
    """Two records of one person, with what refers to the first."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub = hub
        self.source = hub.create(person(identifier=[{"system": "urn:ipp:a", "value": uuid.uuid4().hex}]))["id"]
        self.target = hub.create(person(identifier=[{"system": "urn:ipp:b", "value": uuid.uuid4().hex}]))["id"]
        about = {"reference": f"Patient/{self.source}"}
        pressure = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": about}
        team = {"resourceType": "CareTeam", "status": "active", "subject": about}
        task = {"resourceType": "Flag", "status": "active", "code": {"text": "y"}, "subject": about}
        self.moved = [f"{r['resourceType']}/{hub.create(r)['id']}" for r in (pressure, team, task)]

    def read(self, reference: str) -> dict[str, Any]:
        found: dict[str, Any] = self.hub.request("GET", f"/fhir/{reference}").json()
        return found

    def bodies(self) -> dict[str, Any]:
        every = (f"Patient/{self.source}", f"Patient/{self.target}", *self.moved)
        return {reference: {k: v for k, v in self.read(reference).items() if k != "meta"} for reference in every}


@pytest.fixture
def two(hub: RunningHub) -> Two:
    return Two(hub)


def test_a_merge_moves_the_record_and_links_both(two: Two) -> None:
    answer = merge(two.hub, two.source, two.target)
    assert answer.status_code == 200, answer.text
    source, target = two.read(f"Patient/{two.source}"), two.read(f"Patient/{two.target}")
    assert source["active"] is False
    assert source["link"] == [{"other": {"reference": f"Patient/{two.target}"}, "type": "replaced-by"}]
    assert target["link"] == [{"other": {"reference": f"Patient/{two.source}"}, "type": "replaces"}]
    given = {part["name"]: part["resource"] for part in answer.json()["parameter"]}
    assert given["result"] == target, "as it is stored, its version too"
    assert [i.get("use") for i in target["identifier"]] == [None, "old"]
    for reference in two.moved:
        assert two.read(reference)["subject"]["reference"] == f"Patient/{two.target}"
    found = two.hub.search(f"Provenance?target=Patient/{two.source}")["entry"][0]["resource"]
    assert len(found["target"]) == len(found["entity"]) == 5
    assert found["activity"]["coding"][0]["code"] == "merge"


def test_who_was_merged_is_matched_as_who_stands_for_them(two: Two) -> None:
    birth, mark = "1938-11-30", uuid.uuid4().hex[:8]
    described = person(name=[{"family": f"Avant-{mark}", "given": ["Zoé"]}], birthDate=birth)
    source = two.hub.create(described)["id"]
    assert [entry["resource"]["id"] for entry in match(two.hub, described)] == [source]
    assert merge(two.hub, source, two.source).status_code == 200
    assert merge(two.hub, two.source, two.target).status_code == 200
    found = match(two.hub, described)
    assert [entry["resource"]["id"] for entry in found] == [two.target], "the merged record must no longer be used"
    assert found[0]["fullUrl"].endswith(f"Patient/{two.target}")
    assert found[0]["search"]["score"] > 0.9
    assert merge(two.hub, two.source, "", "$unmerge").status_code == 200
    assert [entry["resource"]["id"] for entry in match(two.hub, described)] == [two.source]
    assert two.hub.request("DELETE", f"/fhir/Patient/{two.source}").status_code == 204
    assert [entry["resource"]["id"] for entry in match(two.hub, described)] == [source], "as far as it can be followed"


def test_a_preview_changes_nothing(two: Two) -> None:
    before = two.bodies()
    answer = merge(two.hub, two.source, two.target, preview={"valueBoolean": True})
    result = {p["name"]: p["resource"] for p in answer.json()["parameter"]}
    assert "1 Observation" in result["outcome"]["issue"][0]["diagnostics"]
    assert result["result"]["link"][0]["type"] == "replaces"
    assert two.bodies() == before


@pytest.mark.parametrize("name", ["$merge", "$unmerge"])
def test_a_merge_that_the_caller_does_not_wait_for_is_one_job(two: Two, name: str) -> None:
    if name == "$unmerge":
        assert merge(two.hub, two.source, two.target).status_code == 200
    named = {"source-patient": two.source} | ({"target-patient": two.target} if name == "$merge" else {})
    parameters = [{"name": key, "valueReference": {"reference": f"Patient/{id}"}} for key, id in named.items()]
    asked = {"resourceType": "Parameters", "parameter": parameters}
    begun = two.hub.request("POST", f"/fhir/Patient/{name}", json=asked, Prefer="respond-async")
    assert begun.status_code == 202
    done = wait_for_job(two.hub, begun.headers["content-location"])
    assert done.status_code == 200
    assert [part["name"] for part in done.json()["parameter"]] == ["input", "outcome", "result"]
    assert done.json()["parameter"][0]["resource"] == asked
    about = two.read(two.moved[0])["subject"]["reference"]
    assert about == f"Patient/{two.target if name == '$merge' else two.source}"


def test_an_unmerge_restores_every_resource_exactly(two: Two) -> None:
    before = two.bodies()
    assert merge(two.hub, two.source, two.target).status_code == 200
    assert two.bodies() != before
    answer = merge(two.hub, two.source, "", "$unmerge")
    assert answer.status_code == 200, answer.text
    assert two.bodies() == before
    assert merge(two.hub, two.source, "", "$unmerge").status_code == 409
    assert merge(two.hub, two.source, two.target).status_code == 200, "what was taken apart can be merged again"
    assert merge(two.hub, two.source, "", "$unmerge").status_code == 200
    assert two.bodies() == before


def test_an_alert_goes_with_its_patient_and_comes_back(two: Two) -> None:
    vital = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
    two.hub.create(
        {
            "resourceType": "Observation",
            "status": "final",
            "category": [{"coding": [vital]}],
            "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
            "subject": {"reference": f"Patient/{two.source}"},
            "effectiveDateTime": "2026-01-01T10:00:00Z",
            "valueQuantity": {"value": 180, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
        }
    )
    task = two.hub.search(f"Task?patient={two.source}")["entry"][0]["resource"]
    other = {**task, "for": {"reference": f"Patient/{two.target}"}}
    by_hand = two.hub.request("PUT", f"/fhir/Task/{task['id']}", json=other)
    assert by_hand.status_code == 409, "alone, an alert stays with its patient"
    for name, owner in (("$merge", two.target), ("$unmerge", two.source)):
        answer = merge(two.hub, two.source, two.target if name == "$merge" else "", name)
        assert answer.status_code == 200, answer.text
        assert two.read(f"Task/{task['id']}")["for"]["reference"] == f"Patient/{owner}"


def test_what_changed_after_the_merge_stays_when_it_is_undone(two: Two) -> None:
    assert merge(two.hub, two.source, two.target).status_code == 200
    target, moved = two.read(f"Patient/{two.target}"), two.read(two.moved[0])
    target["telecom"] = [{"system": "phone", "value": "0612345678"}]
    two.hub.request("PUT", f"/fhir/Patient/{two.target}", json=target)
    two.hub.request("PUT", f"/fhir/{two.moved[0]}", json={**moved, "status": "amended"})
    assert merge(two.hub, two.source, "", "$unmerge").status_code == 200
    target, moved = two.read(f"Patient/{two.target}"), two.read(two.moved[0])
    assert target["telecom"] and "link" not in target and len(target["identifier"]) == 1
    assert (moved["status"], moved["subject"]["reference"]) == ("amended", f"Patient/{two.source}")


def test_the_caller_may_say_what_comes_of_the_target(two: Two) -> None:
    wanted = person(id=two.target, name=[{"family": "Result"}])
    assert merge(two.hub, two.source, two.target, result_patient={"resource": wanted}).status_code == 200
    assert two.read(f"Patient/{two.target}")["name"] == [{"family": "Result"}]


def test_a_merge_by_identifiers_needs_them_to_name_one_patient(two: Two) -> None:
    value = two.read(f"Patient/{two.source}")["identifier"][0]
    parameters = [
        {"name": "source-patient-identifier", "valueIdentifier": value},
        {"name": "target-patient", "valueReference": {"reference": f"Patient/{two.target}"}},
    ]
    body = {"resourceType": "Parameters", "parameter": parameters}
    assert two.hub.request("POST", "/fhir/Patient/$merge", json=body).status_code == 200


@pytest.mark.parametrize(
    ("which", "status"),
    [
        pytest.param("same", 422, id="a patient with itself"),
        pytest.param("absent", 404, id="into one that is not there"),
        pytest.param("again", 409, id="one that is merged already"),
        pytest.param("cycle", 409, id="back into the one that was merged into it"),
        pytest.param("hidden", 404, id="for a caller who sees neither"),
    ],
)
def test_a_merge_is_refused(two: Two, which: str, status: int) -> None:
    hub, source, target, token = two.hub, two.source, two.target, ""
    if which == "same":
        target = source
    elif which == "absent":
        target = "nobody"
    elif which == "hidden":
        token = hub.token("user/*.cruds", actor="Practitioner/stranger")
    else:
        assert merge(hub, source, target).status_code == 200
        if which == "cycle":
            source, target = target, source
    assert merge(hub, source, target, token=token).status_code == status

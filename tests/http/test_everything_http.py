"""`$everything` over real HTTP: the whole record, nothing of others, page by page."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from tests.http.record import Record, audited, link, make_record, references, stranger, vital, walk
from tests.running import RunningHub


@pytest.fixture
def record(hub: RunningHub) -> Record:
    return make_record(hub)


def everything(record: Record, query: str = "", token: str = "") -> dict[str, Any]:
    answer = record.hub.request("GET", f"/fhir/{record.patient}/$everything{query}", token=token)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.mark.every_store
def test_the_whole_record_comes_with_what_it_refers_to(record: Record) -> None:
    make_record(record.hub)  # of another patient
    found = everything(record)
    assert (found["type"], found["total"]) == ("searchset", len(record.inside))
    assert references(found)[0] == record.patient
    assert set(references(found)) == record.inside
    assert set(references(found, "include")) == record.support


@pytest.mark.every_store
def test_pages_give_each_match_once_and_are_bound_to_the_caller(record: Record) -> None:
    pages = walk(record.hub, f"/fhir/{record.patient}/$everything?_count=2")
    assert [len(references(page)) <= 2 for page in pages] == [True] * len(pages)
    matches = [reference for page in pages for reference in references(page)]
    assert sorted(matches) == sorted(record.inside)
    assert {reference for page in pages for reference in references(page, "include")} == record.support
    other = record.hub.token("system/*.cruds", sub="another")
    assert record.hub.request("GET", link(pages[0]), token=other).status_code == 400
    stretched = link(pages[0]).replace("_count=2", "_count=3")
    assert record.hub.request("GET", stretched).status_code == 400


@pytest.mark.every_store
@pytest.mark.parametrize("query", ["_count=1", "_count=2", "_count=7", "_count=1&_type=Observation"])
def test_no_page_is_empty(record: Record, query: str) -> None:
    pages = walk(record.hub, f"/fhir/{record.patient}/$everything?{query}")
    assert all(references(page) for page in pages)
    assert all(page["link"][0]["relation"] == "self" for page in pages)


def test_a_walk_keeps_its_format(record: Record) -> None:
    path, pages = f"/fhir/{record.patient}/$everything?_count=3&_format=xml", 0
    while path:
        answer = record.hub.request("GET", path)
        assert answer.headers["content-type"].startswith("application/fhir+xml")
        path = html.unescape("".join(re.findall(r'<relation value="next"/><url value="([^"]*)"', answer.text)))
        pages += 1
    assert pages > 1


@pytest.mark.every_store
@pytest.mark.parametrize(
    ("query", "pulses"),
    [
        pytest.param("?start=2026-01-02", {62, 63}, id="from a day on"),
        pytest.param("?end=2026-01-02", {61, 62}, id="up to a day"),
        pytest.param("?start=2026-01-02&end=2026-01-02", {62}, id="one day"),
        pytest.param("?_since=2020-01-01T00:00:00Z", {61, 62, 63}, id="changed since long ago"),
        pytest.param("?_type=Observation", {61, 62, 63}, id="one type"),
        pytest.param("?_type=Patient,Encounter", set(), id="other types"),
    ],
)
def test_a_part_of_the_record_is_asked_for(record: Record, query: str, pulses: set[int]) -> None:
    entries = everything(record, query)["entry"]
    found = [entry["resource"] for entry in entries if entry["resource"]["resourceType"] == "Observation"]
    assert {pulse["valueQuantity"]["value"] for pulse in found} == pulses


def test_what_has_no_date_of_care_stays_in_a_part_by_date(record: Record) -> None:
    found = set(references(everything(record, "?start=2026-01-03")))
    assert record.patient in found and record.encounter not in found


def test_nothing_changed_since_the_future(record: Record) -> None:
    assert "entry" not in everything(record, "?_since=2999-01-01T00:00:00Z")


def test_types_outside_of_the_compartment_are_found_by_what_refers_to_them(record: Record) -> None:
    found = everything(record, "?_type=Practitioner,Medication")
    assert references(found) == []
    assert set(references(found, "include")) == {record.doctor, record.medication}


def test_a_provenance_comes_with_what_it_vouches_for(record: Record) -> None:
    pulse = next(reference for reference in record.inside if reference.startswith("Observation/"))
    provenance = record.add(
        {
            "resourceType": "Provenance",
            "target": [{"reference": pulse}],
            "recorded": "2026-01-01T00:00:00Z",
            "agent": [{"who": {"reference": record.doctor}}],
        }
    )
    assert provenance in references(everything(record), "include")


def test_what_belongs_to_another_patient_is_not_included(record: Record) -> None:
    other = make_record(record.hub)
    record.add(vital(record.patient, "8867-4", 70, "2026-01-09", focus=[{"reference": other.patient}]))
    found = everything(record)
    assert other.patient not in references(found) + references(found, "include")


@pytest.mark.every_store
def test_an_encounter_comes_with_its_compartment_and_its_patient(record: Record) -> None:
    answer = record.hub.request("GET", f"/fhir/{record.encounter}/$everything").json()
    assert references(answer)[0] == record.encounter
    assert {reference.partition("/")[0] for reference in references(answer)} == {"Encounter", "Observation"}
    assert {record.patient, record.doctor, record.clinic} == set(references(answer, "include"))


def test_a_patient_gets_the_own_record_without_an_id(record: Record) -> None:
    token = record.hub.token("patient/*.rs", patient=record.patient.removeprefix("Patient/"))
    answer = record.hub.request("GET", "/fhir/Patient/$everything", token=token).json()
    assert set(references(answer)) == record.inside


@pytest.mark.every_store
def test_the_operator_walks_all_patients(own_hub: RunningHub) -> None:
    records = [make_record(own_hub, 1) for _ in range(3)]
    matches = [r for page in walk(own_hub, "/fhir/Patient/$everything?_count=4") for r in references(page)]
    assert sorted(matches) == sorted(reference for record in records for reference in record.inside)


@pytest.mark.every_store
def test_without_consent_there_is_no_patient(record: Record) -> None:
    token = stranger(record.hub)
    hidden = record.hub.request("GET", f"/fhir/{record.patient}/$everything", token=token)
    absent = record.hub.request("GET", "/fhir/Patient/nobody/$everything", token=token)
    assert (hidden.status_code, hidden.json()) == (absent.status_code, absent.json())
    assert record.hub.request("GET", "/fhir/Patient/$everything", token=token).status_code == 403


def test_scopes_narrow_what_is_given(record: Record) -> None:
    token = record.hub.token("system/Patient.rs system/Observation.rs")
    found = everything(record, token=token)
    given = {r.partition("/")[0] for r in references(found) + references(found, "include")}
    assert given == {"Patient", "Observation"}


@pytest.mark.parametrize(
    ("query", "word"),
    [
        pytest.param("?start=yesterday", "start", id="a start that is no date"),
        pytest.param("?start=2026-02-01&end=2026-01-31", "before", id="an end before the start"),
        pytest.param("?_type=Nonsense", "_type", id="a type that is none"),
        pytest.param("?_since=", "_since", id="a time that is left empty"),
        pytest.param("?_count=0", "_count", id="a page of nothing"),
        pytest.param("?name=x", "name", id="an unknown parameter"),
        pytest.param("?_cursor=AAAA", "page link", id="a forged page link"),
    ],
)
def test_a_bad_question_is_refused_by_name(record: Record, query: str, word: str) -> None:
    answer = record.hub.request("GET", f"/fhir/{record.patient}/$everything{query}")
    assert answer.status_code == 400
    assert word in answer.json()["issue"][0]["diagnostics"]


def test_a_page_beyond_the_bound_is_as_large_as_one_may_be_and_says_so(record: Record) -> None:
    asked = record.hub.request("GET", f"/fhir/{record.patient}/$everything?_count=5000").json()
    bound = record.hub.request("GET", f"/fhir/{record.patient}/$everything?_count=1000").json()
    assert asked == bound
    assert asked["link"][0]["url"].endswith("$everything?_count=1000")


@pytest.mark.durable_stores
def test_each_page_is_audited_with_the_patients_it_told_of(record: Record) -> None:
    everything(record)
    assert audited(record.hub, "$everything", record.patient.removeprefix("Patient/")) == [record.patient]

"""`Composition/$document` and `Patient/$summary` over real HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server import gate
from fhir_server.validation import validate
from tests.http.record import Record, audited, concept, make_record, stored, stranger, vital
from tests.running import RunningHub


@pytest.fixture(scope="module")
def record(hub: RunningHub) -> Record:
    return make_record(hub, 2)


def get(record: Record, path: str, token: str = "", language: str = "fr") -> dict[str, Any]:
    answer = record.hub.request("GET", f"/fhir/{path}", token=token, Accept_Language=language)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = gate.parse_resource(answer.content)
    assert [issue for issue in validate(found) if issue.severity in ("error", "fatal")] == []
    return found


def urls(bundle: dict[str, Any]) -> list[str]:
    """Return the places of a Bundle's entries below the base."""
    return [entry["fullUrl"].partition("/fhir/")[2] for entry in bundle["entry"]]


def composition(record: Record, *entries: str, **more: Any) -> str:
    section = {"title": "S", "entry": [{"reference": reference} for reference in entries]}
    made = {
        "resourceType": "Composition",
        "status": "final",
        "type": concept("11503-0"),
        "subject": {"reference": record.patient},
        "date": "2026-01-01",
        "author": [{"reference": record.doctor}],
        "title": "T",
        **({"section": [section]} if entries else {}),
        **more,
    }
    return stored(record.hub, made)


# --- $document --------------------------------------------------------------------------------------------


@pytest.mark.every_store
def test_a_document_holds_all_that_its_composition_refers_to(record: Record) -> None:
    root = composition(record, record.encounter)
    bundle = get(record, f"{root}/$document")
    assert (bundle["type"], bundle["entry"][0]["resource"]["resourceType"]) == ("document", "Composition")
    assert set(urls(bundle)) == {root, record.patient, record.doctor, record.encounter, record.clinic}
    by_parameter = get(record, f"Composition/$document?id={root.removeprefix('Composition/')}")
    assert urls(by_parameter) == urls(bundle)
    assert by_parameter["identifier"] != bundle["identifier"]


@pytest.mark.every_store
def test_a_document_is_stored_where_that_is_asked_for(record: Record) -> None:
    root = composition(record)
    answer = record.hub.request("POST", f"/fhir/{root}/$document?persist=true")
    assert answer.status_code == 200
    location = answer.headers["location"]
    assert location.endswith(f"/fhir/Bundle/{answer.json()['id']}")
    kept = record.hub.request("GET", location[location.index("/fhir") :])
    assert kept.content == answer.content
    reader = record.hub.token("system/*.rs")
    assert record.hub.request("GET", f"/fhir/{root}/$document?persist=true", token=reader).status_code == 403


def test_a_reference_to_nothing_makes_no_document(record: Record) -> None:
    root = composition(record, record.encounter, "Observation/nobody")
    answer = record.hub.request("GET", f"/fhir/{root}/$document")
    assert answer.status_code == 422
    (issue,) = answer.json()["issue"]
    assert (issue["code"], issue["expression"]) == ("not-found", ["Composition.section[0].entry[1]"])


def test_contained_resources_are_where_they_are(record: Record) -> None:
    device = {"resourceType": "Device", "id": "d", "deviceName": [{"name": "x", "type": "model-name"}]}
    root = composition(record, contained=[device], author=[{"reference": "#d"}])
    assert set(urls(get(record, f"{root}/$document"))) == {root, record.patient, record.clinic}


def test_a_stranger_gets_no_document(record: Record) -> None:
    root = composition(record)
    token = stranger(record.hub)
    assert record.hub.request("GET", f"/fhir/{root}/$document", token=token).status_code == 404
    assert record.hub.request("GET", f"/fhir/{record.patient}/$summary", token=token).status_code == 404


def test_what_is_hidden_is_as_what_is_not_there(record: Record) -> None:
    """Who sees one patient gets no document that leads to another."""
    other = make_record(record.hub, 1)
    member = {"member": {"reference": record.doctor}}
    record.add({"resourceType": "CareTeam", "status": "active", "subject": {"reference": record.patient}, "participant": [member]})  # fmt: skip
    token = record.hub.token("system/*.cruds", actor=record.doctor)
    assert set(urls(get(record, f"{composition(record)}/$document", token))) >= {record.patient}
    hidden, absent = (
        record.hub.request("GET", f"/fhir/{composition(record, entry)}/$document", token=token).json()
        for entry in (other.encounter, "Encounter/nobody")
    )
    assert hidden == absent and hidden["issue"][0]["code"] == "not-found"


@pytest.mark.parametrize(
    ("path", "word"),
    [
        pytest.param("Composition/$document", "id", id="no id"),
        pytest.param("Composition/1/$document?graph=x", "graph", id="a graph"),
        pytest.param("Composition/1/$document?persist=perhaps", "persist", id="a flag that is none"),
        pytest.param("Patient/$summary", "identifier", id="a summary of nobody"),
        pytest.param("Patient/1/$summary?profile=x", "profile", id="a profile"),
    ],
)
def test_a_bad_question_is_refused_by_name(record: Record, path: str, word: str) -> None:
    root = composition(record).removeprefix("Composition/")
    answer = record.hub.request("GET", f"/fhir/{path.replace('/1/', f'/{root}/')}")
    assert answer.status_code == 400 and word in answer.json()["issue"][0]["diagnostics"]


# --- $summary ---------------------------------------------------------------------------------------------


def sections(bundle: dict[str, Any]) -> dict[str, dict[str, Any]]:
    made = bundle["entry"][0]["resource"]
    return {section["code"]["coding"][0]["code"]: section for section in made["section"]}


def test_a_summary_says_what_it_does_not_know(hub: RunningHub) -> None:
    patient = stored(hub, {"resourceType": "Patient", "name": [{"family": "Vide"}]})
    record = Record(hub, patient, "", "", "", "", set(), set())
    bundle = get(record, f"{patient}/$summary", language="en")
    found = sections(bundle)
    assert list(found) == ["10160-0", "48765-2", "11450-4"]
    for section in found.values():
        assert section["emptyReason"]["coding"][0]["code"] == "unavailable"
        assert "Nothing is available here." in section["text"]["div"]
    made = bundle["entry"][0]["resource"]
    assert (made["status"], made["type"]["coding"][0]["code"]) == ("preliminary", "60591-5")
    assert "certified" in made["text"]["div"] and "profile" not in bundle.get("meta", {})


def test_a_summary_is_one_of_ips_or_none(hub: RunningHub) -> None:
    patient = stored(hub, {"resourceType": "Patient", "name": [{"family": "Vide"}]})
    ips = "http://hl7.org/fhir/uv/ips/StructureDefinition"
    for profile, status in ((f"{ips}/Bundle-uv-ips", 200), (f"{ips}/Composition-uv-ips|1.1.0", 200), ("urn:x", 400)):
        assert hub.request("GET", f"/fhir/{patient}/$summary?profile={profile}").status_code == status


@pytest.mark.every_store
def test_a_summary_shows_what_counts_now(hub: RunningHub) -> None:
    record = make_record(hub, 3)
    about = {"subject": {"reference": record.patient}}
    status = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    for text, code in (("Asthme", "active"), ("Grippe <b>", "resolved")):
        record.add({"resourceType": "Condition", "clinicalStatus": concept(code, status), "code": {"text": text}, **about})  # fmt: skip
    record.add({"resourceType": "Condition", "code": {"text": "Erreur"}, "verificationStatus": concept("entered-in-error", "http://terminology.hl7.org/CodeSystem/condition-ver-status"), **about})  # fmt: skip
    record.add({"resourceType": "AllergyIntolerance", "patient": {"reference": record.patient}, "code": {"text": "Pénicilline"}, "clinicalStatus": concept("active", "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical")})  # fmt: skip
    record.add(vital(record.patient, "8310-5", 37, "2026-01-01", "Cel"))
    bundle = get(record, f"{record.patient}/$summary")
    found = sections(bundle)
    assert list(found) == ["10160-0", "48765-2", "11450-4", "8716-3", "11348-0"]
    texts = {code: section["text"]["div"] for code, section in found.items()}
    assert "Asthme" in texts["11450-4"] and "Grippe" not in texts["11450-4"]
    assert "Grippe &lt;b&gt;" in texts["11348-0"] and "Erreur" not in str(texts)
    assert "Pénicilline" in texts["48765-2"] and "Allergies" in found["48765-2"]["title"]
    assert len(found["8716-3"]["entry"]) == 2 and "63 /min" in texts["8716-3"]
    assert {record.patient, record.medication, record.clinic} <= set(urls(bundle))
    full = {entry["fullUrl"] for entry in bundle["entry"]}
    assert all(entry["reference"] in full for section in found.values() for entry in section.get("entry", ()))


def test_a_patient_is_found_by_identifier_or_by_the_token(hub: RunningHub) -> None:
    patient = stored(hub, {"resourceType": "Patient", "identifier": [{"system": "urn:sum", "value": "1"}]})
    record = Record(hub, patient, "", "", "", "", set(), set())
    assert patient in urls(get(record, "Patient/$summary?identifier=urn:sum|1"))
    token = hub.token("patient/*.rs", patient=patient.removeprefix("Patient/"))
    assert patient in urls(get(record, "Patient/$summary", token=token))
    assert hub.request("GET", "/fhir/Patient/$summary?identifier=urn:sum|2").status_code == 404


@pytest.mark.durable_stores
def test_documents_are_audited_with_the_patient(record: Record) -> None:
    patient = record.patient.removeprefix("Patient/")
    get(record, f"{record.patient}/$summary")
    root = composition(record)
    get(record, f"{root}/$document")
    assert record.patient in audited(record.hub, "$summary", patient)
    assert root in audited(record.hub, "$document", patient)

"""The document of a record: whole, valid, honest about what it leaves out; and the record's fingerprint."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.dmp.document import Making, build_document
from adapters.dmp.narrative import clean
from adapters.dmp.operations import check_format, check_parameters
from adapters.dmp.record import CLINICAL, LIVE, Record, fingerprint
from adapters.dmp.sections import KINDS, MOST_ENTRIES, REST, fill
from adapters.dmp.validation import composition_of, is_physician, may_validate, provenance_of
from fhir_server import gate
from fhir_server.definitions import resource_types
from fhir_server.errors import BadParameter, NotAcceptable, UnknownParameter
from fhir_server.interface import OperationCall
from fhir_server.model import Actor, Scope
from fhir_server.validation import validate

BASE = "http://hub.example/fhir"
NOW = 1_795_158_000_000_000  # 2026-11-20T07:00:00Z
ID = "0b6f9a5e-6f0b-4a6d-9c1e-000000000001"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def made(type: str, id: str, version: str = "1", **elements: Any) -> dict[str, Any]:
    meta = {"versionId": version, "lastUpdated": "2026-11-20T07:00:00Z"}
    return {"resourceType": type, "id": id, "meta": meta, **elements}


PATIENT = made("Patient", "p", name=[{"family": "Épreuve"}], gender="female", birthDate="1951-04-23")
SUBJECT = {"reference": "Patient/p"}


def sign(id: str, day: int, value: int = 70, code: str = "8867-4", category: str = "vital-signs") -> dict[str, Any]:
    return made(
        "Observation",
        id,
        status="final",
        category=[{"coding": [{"system": CATEGORY, "code": category}]}],
        code={"coding": [{"system": "http://loinc.org", "code": code}]},
        subject=SUBJECT,
        effectiveDateTime=f"2026-11-{day:02}T08:00:00+01:00",
        valueQuantity={"value": value, "unit": "/min"},
    )


def condition(id: str, text: str, **elements: Any) -> dict[str, Any]:
    state = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}
    return made("Condition", id, subject=SUBJECT, code={"text": text}, clinicalStatus=state, **elements)


def flag(id: str, status: str = "active") -> dict[str, Any]:
    return made("Flag", id, status=status, code={"text": "Alerte"}, subject=SUBJECT)


def record(*resources: dict[str, Any], total: int | None = None, withheld: tuple[str, ...] = ()) -> Record:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for resource in resources:
        grouped.setdefault(resource["resourceType"], []).append(resource)
    clinical = sum(len(found) for type, found in grouped.items() if type in CLINICAL)
    whole = {type: tuple(found) for type, found in grouped.items()}
    return Record(PATIENT, whole, total if total is not None else clinical, frozenset(withheld), {}, ())


def document(made_of: Record, *, language: str = "fr", **more: Any) -> dict[str, Any]:
    return build_document(made_of, Making(BASE, ID, NOW, language, **more))


def composition(bundle: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = bundle["entry"][0]["resource"]
    return first


def section(bundle: dict[str, Any], title: str) -> dict[str, Any]:
    return next(s for s in composition(bundle)["section"] if s["title"] == title)


HEART = condition("c1", "Insuffisance cardiaque")
FULL = record(
    HEART,
    sign("o1", 1, 88),
    sign("o2", 2, 72),
    sign("o3", 2, 12, code="718-7", category="laboratory"),
    flag("f1"),
    flag("f2", "inactive"),
    made("CareTeam", "t", status="active", subject=SUBJECT, participant=[{"member": {"display": "Dr Martin"}}]),
    made("FamilyMemberHistory", "h", status="completed", patient=SUBJECT, relationship={"text": "père"}),
)
VALIDATED = made("Composition", "v") | composition_of(FULL, fingerprint(FULL), "Practitioner/1", NOW)
DOCTOR = made("Practitioner", "1", name=[{"family": "Martin"}])


def errors(resource: dict[str, Any]) -> list[str]:
    found = validate(gate.parse_resource(gate.write(resource)))
    return [f"{i.expression} {i.text}" for i in found if i.severity in ("error", "fatal")]


@pytest.mark.parametrize(
    "bundle",
    [
        pytest.param(document(FULL), id="a full record"),
        pytest.param(document(FULL, language="en"), id="in English"),
        pytest.param(document(record()), id="an empty record"),
        pytest.param(document(FULL, validated=VALIDATED, attester=DOCTOR), id="a validated record"),
        pytest.param(document(record(condition("c", "<script> & ]]>"))), id="texts that would break XML"),
        pytest.param(document(record(total=9_999, withheld=CLINICAL + LIVE)), id="nothing but what is withheld"),
    ],
)
def test_the_document_is_valid_r4(bundle: dict[str, Any]) -> None:
    assert errors(bundle) == []


def test_what_a_validation_writes_is_valid_r4() -> None:
    assert errors(composition_of(FULL, fingerprint(FULL), "Practitioner/1", NOW)) == []
    assert errors(provenance_of("Practitioner/1", NOW)) == []


def test_a_document_begins_with_its_composition_and_every_entry_has_its_address() -> None:
    bundle = document(FULL)
    assert (bundle["type"], bundle["timestamp"]) == ("document", "2026-11-20T07:00:00.000Z")
    assert bundle["identifier"]["value"] == f"urn:uuid:{ID}"
    first = composition(bundle)
    assert (first["resourceType"], first["status"]) == ("Composition", "preliminary")
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(set(urls)) == len(urls)
    referred = [entry["reference"] for part in first["section"] for entry in part.get("entry", ())]
    assert referred and {*referred, first["subject"]["reference"]} <= set(urls)


def test_vital_signs_are_the_newest_of_each_code_and_say_what_is_older() -> None:
    part = section(document(FULL), "Constantes et scores")
    assert [entry["reference"] for entry in part["entry"]] == [f"{BASE}/Observation/o2"]
    assert "Valeurs plus anciennes dans le dossier : 1." in part["text"]["div"] and "72 /min" in part["text"]["div"]


def test_other_observations_are_results() -> None:
    assert [e["reference"] for e in section(document(FULL), "Résultats")["entry"]] == [f"{BASE}/Observation/o3"]


def test_only_open_alerts_are_shown() -> None:
    assert [e["reference"] for e in section(document(FULL), "Alertes en cours")["entry"]] == [f"{BASE}/Flag/f1"]


def test_an_empty_section_says_so_and_claims_nothing() -> None:
    part = section(document(record()), "Allergies et intolérances")
    assert part["emptyReason"]["coding"][0]["code"] == "unavailable"
    assert "nilknown" not in str(document(record()))


def test_what_the_scopes_do_not_cover_is_said_to_be_withheld() -> None:
    part = section(document(record(withheld=("Immunization",))), "Vaccinations")
    assert part["emptyReason"]["coding"][0]["code"] == "withheld"


def test_a_section_is_bounded_and_counts_what_it_leaves_out() -> None:
    many = [condition(f"c{n}", "x", recordedDate=f"{1900 + n}") for n in range(MOST_ENTRIES + 7)]
    part = section(document(record(*many)), "Antécédents et problèmes")
    assert len(part["entry"]) == MOST_ENTRIES and "non repris ici : 7." in part["text"]["div"]
    assert part["entry"][0]["reference"].endswith(f"/c{MOST_ENTRIES + 6}"), "the newest first"


def test_what_is_going_on_comes_before_what_is_newer_and_over() -> None:
    def drug(id: str, status: str, year: int) -> dict[str, Any]:
        return made("MedicationStatement", id, status=status, subject=SUBJECT, dateAsserted=str(year))

    drugs = [drug("old", "active", 1980), *(drug(f"d{n}", "completed", 1990 + n) for n in range(MOST_ENTRIES))]
    part = section(document(record(*drugs)), "Traitements")
    assert part["entry"][0]["reference"].endswith("/old") and "non repris ici : 1." in part["text"]["div"]


def test_what_was_entered_in_error_is_counted_and_not_shown() -> None:
    wrong = {"coding": [{"code": "entered-in-error"}]}
    part = section(document(record(HEART, condition("c2", "Faux", verificationStatus=wrong))), KINDS[1].fr)
    assert (
        len(part["entry"]) == 1
        and "Faux" not in part["text"]["div"]
        and "saisis par erreur, non repris : 1." in str(part)
    )


def test_what_has_no_section_is_counted() -> None:
    part = section(document(FULL), "Autres éléments du dossier, non repris")
    assert "FamilyMemberHistory : 1" in part["text"]["div"]
    cut = section(document(record(total=5_003)), "Autres éléments du dossier, non repris")
    assert "non relus pour ce document : 3" in cut["text"]["div"]


def test_every_clinical_type_is_shown_or_counted() -> None:
    shown = {type for kind in KINDS for type in kind.types}
    assert shown | set(REST) == {*CLINICAL, *LIVE}
    assert {*CLINICAL, *LIVE} <= resource_types()


def test_texts_of_resources_are_escaped() -> None:
    text = section(document(record(condition("c", '<img src=x onerror="1">'))), KINDS[1].fr)["text"]["div"]
    assert "<img" not in text and "&lt;img" in text
    assert clean("a\x00\x0b\ufffeb<") == "ab&lt;"


def test_a_final_document_names_its_attester_and_says_what_is_not_validated() -> None:
    bundle = document(FULL, validated=VALIDATED, attester=DOCTOR)
    first = composition(bundle)
    assert first["status"] == "final" and "(validé)" in first["title"]
    assert first["attester"][0]["mode"] == "legal"
    assert first["attester"][0]["party"]["reference"] == f"{BASE}/Practitioner/1"
    assert f"{BASE}/Practitioner/1" in [entry["fullUrl"] for entry in bundle["entry"]]
    assert "ne fait pas partie" in section(bundle, "Alertes en cours")["text"]["div"]


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        pytest.param(record(HEART, sign("o1", 1)), True, id="the same"),
        pytest.param(record(sign("o1", 1), HEART), True, id="in another order"),
        pytest.param(record(HEART, sign("o1", 1), flag("f")), True, id="an alert more: work, not the record"),
        pytest.param(record(HEART, sign("o1", 1), sign("o2", 2)), False, id="a measurement more"),
        pytest.param(record(HEART), False, id="a measurement less"),
        pytest.param(record(HEART | {"meta": {"versionId": "2"}}, sign("o1", 1)), False, id="another version"),
        pytest.param(record(HEART, sign("o1", 1), total=9), False, id="another number beyond what was read"),
    ],
)
def test_the_fingerprint_changes_with_the_clinical_record(other: Record, is_same: bool) -> None:
    assert (fingerprint(other) == fingerprint(record(HEART, sign("o1", 1)))) is is_same


def test_sections_are_filled_whatever_the_record_holds() -> None:
    assert [part.kind for part in fill(record())] == list(KINDS)


def actor(reference: str = "Practitioner/1", actions: str = "cruds", patient: str = "") -> Actor:
    return Actor("default", "x", (Scope("user", "*", actions),), reference, patient)


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        pytest.param(actor(), True, id="a physician"),
        pytest.param(actor("PractitionerRole/1"), True, id="a physician in a role"),
        pytest.param(actor(actions="rs"), False, id="a physician who may only read"),
        pytest.param(actor("Organization/1"), False, id="an organisation"),
        pytest.param(actor(""), False, id="the operator"),
        pytest.param(actor("", patient="p"), False, id="the patient"),
    ],
)
def test_who_may_validate(who: Actor, allowed: bool) -> None:
    assert may_validate(who) is allowed
    assert is_physician(actor(actions="rs"))


@pytest.mark.parametrize(
    ("accept", "format", "is_fine"),
    [
        pytest.param("", "", True, id="no wish"),
        pytest.param("text/html, */*;q=0.8", "", True, id="a browser"),
        pytest.param("application/fhir+json; fhirVersion=4.0", "", True, id="FHIR JSON"),
        pytest.param("application/pdf", "", False, id="PDF"),
        pytest.param("application/cda+xml", "", False, id="CDA"),
        pytest.param("application/pdf", "json", True, id="_format goes before Accept"),
        pytest.param("*/*", "application/pdf", False, id="_format alone"),
    ],
)
def test_which_formats_there_are(accept: str, format: str, is_fine: bool) -> None:
    parameters = {"_format": [format]} if format else {}
    if is_fine:
        check_format(accept, parameters)
    else:
        with pytest.raises(NotAcceptable, match=r"application/fhir\+json"):
            check_format(accept, parameters)


def call(parameters: dict[str, list[str]], body: dict[str, Any] | None = None) -> OperationCall:
    return OperationCall(actor(), "Patient", "p", "POST", parameters, body, "", "fr")


def test_parameters_are_read_and_never_ignored() -> None:
    known = frozenset({"fingerprint"})
    body = {"resourceType": "Parameters", "parameter": [{"name": "fingerprint", "valueString": "x"}]}
    assert check_parameters(call({"_format": ["json"]}, body), known) == {"fingerprint": "x"}
    assert check_parameters(call({"fingerprint": ["y"]}), known) == {"fingerprint": "y"}
    for bad, error in (
        (call({"other": ["1"]}), UnknownParameter),
        (call({"fingerprint": ["1", "2"]}), BadParameter),
        (call({}, {"resourceType": "Patient"}), BadParameter),
        (
            call({}, {"resourceType": "Parameters", "parameter": [{"name": "fingerprint", "valueBoolean": True}]}),
            BadParameter,
        ),
    ):
        with pytest.raises(error):
            check_parameters(bad, known)

"""Results: documents in them, parents, laboratories, and fields of OBX that other tests do not name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hl7_messages import WHEN, arrive, observations, obx, oru, resources, rules, segment, wanted


def reports(text: str) -> list[dict[str, Any]]:
    return [one for one in resources(arrive(text)) if one["resourceType"] == "DiagnosticReport"]


def test_what_was_found_on_a_result_is_its_member() -> None:
    culture = segment("OBR", f1="1", f3="L1", f4="CULT^Culture^L", f7=WHEN, f25="F")
    grown = obx("634-6^Bacteria^LN", "ECOLI^E. coli^L", "", "CWE", f4="1")
    test = segment(
        "OBR", f1="2", f3="L2", f4="SUSC^Susceptibility^L", f7=WHEN, f25="F", f26="634-6&Bacteria&LN^1", f29="^L1"
    )
    text = oru(grown, test, obx("18862-3^Amoxicillin^LN", "R", "", "ST"), order=culture)
    found, tested = observations(text)
    assert found["hasMember"] == [{"reference": f"Observation/{tested['id']}"}]
    assert "parent-not-in-message" in rules(text.replace("|^L1", "|^L9"))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param("^IM^JPEG^Base64^JVBERi0xLjQK", "application/pdf", id="a PDF that is called JPEG"),
        pytest.param("^^^Base64^/9j/4AAQ", "image/jpeg", id="a picture without a type"),
        pytest.param("^TEXT^XML^A^<ClinicalDocument/>", "application/xml", id="XML is what its sender says"),
    ],
)
def test_the_media_type_is_what_the_data_begin_with(sent: str, expected: str) -> None:
    (report,) = reports(oru(obx("CR^Report^L", sent, "", "ED")))
    assert report["presentedForm"][0]["contentType"] == expected


def test_a_large_document_is_stored_beside_the_report_for_those_who_see_the_patient() -> None:
    text = oru(obx("CR^Report^L", "^AP^PDF^Base64^JVBERi0x" + "A" * 300_000, "", "ED"))
    (form,) = reports(text)[0]["presentedForm"]
    (binary,), (document,) = wanted(text, "Binary"), wanted(text, "DocumentReference")
    assert form["url"] == document["content"][0]["attachment"]["url"] == f"Binary/{binary['id']}"
    assert binary["securityContext"] == {"reference": "Patient/1"} and "data" not in form


@pytest.mark.parametrize(
    ("field", "element", "expected"),
    [
        pytest.param("f32", ("dataAbsentReason", "text"), "hemolysed", id="OBX-32 says why there is no value"),
        pytest.param("f29", ("category", 1, "coding", 0, "code"), "hemolysed", id="OBX-29 is a category"),
        pytest.param("f33", ("specimen", "identifier", "value"), "hemolysed", id="OBX-33 names the specimen"),
        pytest.param("f21", ("identifier", 0, "value"), "hemolysed", id="OBX-21 is the identifier"),
        pytest.param("f17", ("method", "coding", 0, "code"), "hemolysed", id="OBX-17 is the method"),
        pytest.param("f20", ("bodySite", "coding", 0, "code"), "hemolysed", id="OBX-20 is the site"),
        pytest.param("f15", ("performer", 0, "identifier", "value"), "hemolysed", id="OBX-15 is who produced it"),
    ],
)
def test_a_field_of_a_result(field: str, element: tuple[Any, ...], expected: str) -> None:
    found: Any = observations(oru(obx(value="", **{field: "hemolysed"})))[0]
    for step in element:
        found = found[step]
    assert found == expected


def test_the_laboratory_and_its_director_are_inside_the_result() -> None:
    row = obx(f23="Lab^L^77", f24="1 rue^^Paris^^75001^^H", f25="8^DIRECTOR^A")
    (made,) = observations(oru(row))
    laboratory, director = made["contained"]
    assert laboratory["identifier"][0]["value"] == "77" and laboratory["address"][0]["city"] == "Paris"
    assert director["code"][0]["coding"][0]["code"] == "MDIR"
    assert made["performer"] == [{"reference": "#director", "identifier": {
        "system": "urn:predmp:facility:CHU-TEST:people", "value": "8"}, "display": "A DIRECTOR"}]  # fmt: skip


def test_a_result_with_a_number_stays_the_same_one_when_its_time_is_corrected() -> None:
    def id_of(**fields: str) -> str:
        (made,) = observations(oru(obx(**fields)))
        return str(made["id"])

    later = "20261120093000"
    assert id_of(f21="X1") == id_of(f21="X1", f14=later) != id_of(f21="X2")
    assert id_of() != id_of(f14=later)

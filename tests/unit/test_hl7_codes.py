"""A sender's own codes become what its ConceptMaps say, no more; the sender's coding stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapters.hl7.arrival import Arrival, read
from adapters.hl7.codes import Codes, is_for_senders
from adapters.hl7.codes import read as read_maps
from adapters.hl7.local import Local
from fhir_server.model import Resource
from tests.hl7_messages import CHANNEL, adt, obx, oru, pid, pv1, resources

ROOT = "urn:predmp:facility:CHU-TEST"
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
GENDER = "http://hl7.org/fhir/administrative-gender"
CLASS = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def concept_map(
    source: str = f"{ROOT}:codes", code: str = "FC", target: str = LOINC, to: str = "8867-4",
    equivalence: str = "equivalent", **more: Any,
) -> Resource:  # fmt: skip
    """A ConceptMap of one row."""
    element = {"code": code, "target": [{"code": to, "display": "Heart rate", "equivalence": equivalence}]}
    group = {"source": source, "target": target, "element": [element]}
    return {"resourceType": "ConceptMap", "id": f"{code}-{to}", "status": "active", "group": [group], **more}


def arrive(text: str, *maps: Resource) -> Arrival:
    return read(replace(CHANNEL, local=Local(read_maps(maps))), text.encode())


def observation(text: str, *maps: Resource) -> Resource:
    (made,) = [one for one in resources(arrive(text, *maps)) if one["resourceType"] == "Observation"]
    return made


def codings(text: str, *maps: Resource) -> list[tuple[str, str]]:
    return [(c.get("system", ""), c["code"]) for c in observation(text, *maps)["code"]["coding"]]


OWN = (f"{ROOT}:codes", "FC")
HEART = (LOINC, "8867-4")


@pytest.mark.parametrize(
    ("field", "source", "expected"),
    [
        pytest.param("FC^x^L", f"{ROOT}:codes", [OWN, HEART], id="by the sender's code system"),
        pytest.param("FC^x^L", ROOT, [OWN, HEART], id="by the sender itself, whatever its code system"),
        pytest.param("FC^x^L", "L", [OWN, HEART], id="by the coding system as the message names it"),
        pytest.param("FC^x^99LAB", "99LAB", [(f"{ROOT}:codes:99LAB", "FC"), HEART], id="by the name of a local system"),
        pytest.param("FC^x^99LAB", f"{ROOT}:codes:99LAB", [(f"{ROOT}:codes:99LAB", "FC"), HEART], id="by its urn"),
        pytest.param("FC^x^1.2.3.4", "urn:oid:1.2.3.4", [("urn:oid:1.2.3.4", "FC"), HEART], id="by an OID"),
        pytest.param("FC", f"{ROOT}:codes", [("", "FC"), HEART], id="a code that names no system at all"),
        pytest.param("FC^x^L", "urn:predmp:facility:OTHER:codes", [OWN], id="another sender's map says nothing"),
        pytest.param("FC^x^99LAB", f"{ROOT}:codes:99XYZ", [(f"{ROOT}:codes:99LAB", "FC")], id="nor another system's"),
        pytest.param("FC^x^L^8867-4^y^LN", f"{ROOT}:codes", [OWN, HEART], id="what the message says already"),
    ],
)
def test_a_local_code_gains_its_target(field: str, source: str, expected: list[tuple[str, str]]) -> None:
    assert codings(oru(obx(field)), concept_map(source)) == expected


@pytest.mark.parametrize(
    ("equivalence", "added", "rule"),
    [
        pytest.param("equal", True, "", id="equal"),
        pytest.param("equivalent", True, "", id="equivalent"),
        pytest.param("wider", True, "", id="wider: the target says less"),
        pytest.param("subsumes", True, "", id="subsumes: the target says less"),
        pytest.param("inexact", True, "code-mapped-inexactly", id="inexact is added, and noted"),
        pytest.param("relatedto", True, "code-mapped-inexactly", id="related is added, and noted"),
        pytest.param("narrower", False, "code-map-narrower", id="narrower: the target says more than was sent"),
        pytest.param("specializes", False, "code-map-narrower", id="specializes: the same"),
        pytest.param("unmatched", False, "", id="unmatched: the map says that there is nothing"),
        pytest.param("disjoint", False, "", id="disjoint: the same"),
    ],
)
def test_equivalence_decides(equivalence: str, added: bool, rule: str) -> None:
    arrival = arrive(oru(obx("FC^x^L")), concept_map(equivalence=equivalence))
    (one,) = [r for r in resources(arrival) if r["resourceType"] == "Observation"]
    assert (len(one["code"]["coding"]) == 2) is added
    assert [p.rule for p in arrival.problems] == ([rule] if rule else [])


def test_a_local_code_mapped_to_a_vital_sign_is_a_vital_sign() -> None:
    one = observation(oru(obx("FC^Fréquence^L", "130", "bpm")), concept_map())
    assert one["category"][0]["coding"][0]["code"] == "vital-signs"
    assert observation(oru(obx("FC^x^L")))["category"][0]["coding"][0]["code"] == "laboratory"


def test_two_local_pressures_mapped_become_one() -> None:
    maps = [concept_map(code="PAS", to="8480-6"), concept_map(code="PAD", to="8462-4")]
    one = observation(oru(obx("PAS^x^L", "120", "mm[Hg]"), obx("PAD^x^L", "80", "mm[Hg]")), *maps)
    assert [c["valueQuantity"]["value"] for c in one["component"]] == [120, 80]


def test_a_code_may_have_two_targets() -> None:
    both = concept_map(code="SAT", to="2708-6")
    both["group"][0]["element"][0]["target"].append({"code": "59408-5", "equivalence": "equivalent"})
    assert codings(oru(obx("SAT^x^L")), both)[1:] == [(LOINC, "2708-6"), (LOINC, "59408-5")]


def test_two_maps_that_contradict_each_other_are_not_followed() -> None:
    arrival = arrive(oru(obx("FC^x^L")), concept_map(), concept_map(to="8889-8", url="urn:x:2"))
    assert [p.rule for p in arrival.problems] == ["code-map-ambiguous"]
    assert len(codings(oru(obx("FC^x^L")), concept_map(), concept_map(to="8889-8", url="urn:x:2"))) == 1
    assert len(codings(oru(obx("FC^x^L")), concept_map(), concept_map(url="urn:x:2"))) == 2, "two that agree"


def test_a_message_that_gives_another_code_of_that_system_wins() -> None:
    arrival = arrive(oru(obx("FC^x^L^8889-8^y^LN")), concept_map())
    assert [p.rule for p in arrival.problems] == ["code-map-differs"]
    assert codings(oru(obx("FC^x^L^8889-8^y^LN")), concept_map()) == [OWN, (LOINC, "8889-8")]


@pytest.mark.parametrize("source", [f"{ROOT}:units", ROOT, "L"], ids=["its units", "the sender", "a name"])
def test_a_local_unit_becomes_ucum(source: str) -> None:
    text = oru(obx("718-7^Hb^LN", "12", "g_L^^L"))
    assert "code" not in observation(text)["valueQuantity"]
    made = observation(text, concept_map(source, "g_L", UCUM, "g/L"))["valueQuantity"]
    assert (made["unit"], made["system"], made["code"]) == ("g_L", UCUM, "g/L")


def test_a_unit_that_is_ucum_already_is_not_mapped() -> None:
    text = oru(obx("718-7^Hb^LN", "12", "g/L^^UCUM"))
    assert observation(text, concept_map("UCUM", "g/L", UCUM, "mg/L"))["valueQuantity"]["code"] == "g/L"


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("http://terminology.hl7.org/CodeSystem/v2-0001", id="by the table"),
        pytest.param("urn:oid:2.16.840.1.113883.12.1", id="by the table's OID"),
        pytest.param("HL70001", id="by its name in messages"),
        pytest.param(ROOT, id="by the sender"),
    ],
)
def test_a_table_of_hl7_is_overridden(source: str) -> None:
    text = adt(person=pid(f8="2"))
    (patient,) = [r for r in resources(arrive(text)) if r["resourceType"] == "Patient"]
    assert "gender" not in patient
    (patient,) = [
        r for r in resources(arrive(text, concept_map(source, "2", GENDER, "female"))) if r["resourceType"] == "Patient"
    ]
    assert patient["gender"] == "female"


def test_only_the_named_sender_uses_an_override() -> None:
    table = "http://terminology.hl7.org/CodeSystem/v2-0004"
    text = adt(stay=pv1(f2="H"))
    for facility, expected in (("CHU-TEST", "HH"), ("OTHER", None)):
        only = concept_map(table, "H", CLASS, "HH", sourceUri=f"urn:predmp:facility:{facility}")
        stays = [r for r in resources(arrive(text, only)) if r["resourceType"] == "Encounter"]
        assert [s["class"].get("code") for s in stays if s["class"].get("code") == "HH"] == (
            [expected] if expected else []
        )


def test_a_map_of_another_table_with_the_same_code_says_nothing() -> None:
    other = concept_map(ROOT, "M", "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "M")
    (patient,) = [r for r in resources(arrive(adt(person=pid(f8="M")), other)) if r["resourceType"] == "Patient"]
    assert patient["gender"] == "male"


def test_what_no_map_knows_is_counted() -> None:
    arrival = arrive(oru(obx("FC^x^L"), obx("FC^x^L", f4="2"), obx("K^x^99LAB", unit="zz")))
    assert set(arrival.unmapped) == {
        ("OBX-3", f"{ROOT}:codes", "FC", 2), ("OBX-3", f"{ROOT}:codes:99LAB", "K", 1), ("OBX-6", "", "zz", 1),
        ("OBR-4", f"{ROOT}:codes", "VITALS", 1),
    }  # fmt: skip
    mapped = arrive(oru(obx("FC^x^L")), concept_map(), concept_map(code="VITALS", equivalence="unmatched"))
    assert mapped.unmapped == (), "a code that is declared to have no target is not missing"


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        pytest.param(concept_map(), True, id="a sender's codes"),
        pytest.param(concept_map(status="draft"), False, id="a draft"),
        pytest.param(concept_map(status="retired"), False, id="a retired one"),
        pytest.param(concept_map("http://snomed.info/sct"), False, id="between public code systems"),
        pytest.param(concept_map("http://snomed.info/sct", sourceUri=ROOT), True, id="the same for one sender"),
        pytest.param({"resourceType": "ConceptMap", "status": "active"}, False, id="one without rows"),
    ],
)
def test_which_maps_are_used(resource: Resource, expected: bool) -> None:
    assert is_for_senders(resource) is expected


def test_a_text_in_the_place_of_a_code_is_counted_and_not_kept() -> None:
    for text in ("x" * 33, "a b c d"):
        rows = arrive(oru(obx(f"{text}^x^L"))).unmapped
        assert ("OBX-3", f"{ROOT}:codes", "…", 1) in rows


def test_what_cannot_be_used_is_said() -> None:
    depends = concept_map(url="urn:x:depends")
    depends["group"][0]["element"][0]["target"][0]["dependsOn"] = [{"property": "urn:p", "value": "v"}]
    bare = concept_map(target="", url="urn:x:bare")
    other = concept_map(url="urn:x:other")
    other["group"][0]["unmapped"] = {"mode": "other-map", "url": "urn:x"}
    found = read_maps([depends, bare, other])
    assert [name for name, _ in found.unused] == ["urn:x:depends", "urn:x:bare", "urn:x:other"]
    assert len(found.rows) == 1


def test_a_fixed_target_stands_for_every_code_without_a_row() -> None:
    fixed = concept_map(code="OTHER")
    fixed["group"][0]["unmapped"] = {"mode": "fixed", "code": "74465-6"}
    assert codings(oru(obx("FC^x^L")), fixed)[1:] == [(LOINC, "74465-6")]


def test_without_maps_nothing_is_looked_up() -> None:
    assert not Codes() and Codes().answer("X", ("L",), "FC").targets == ()

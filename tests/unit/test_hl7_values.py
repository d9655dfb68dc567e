"""Numbers, units and every type of OBX-5: digits stay as written, nothing that was sent is dropped."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from adapters.hl7.numbers import bounds, decimal
from adapters.hl7.units import CODES, SPELLINGS, ucum
from fhir_server import gate
from tests.hl7_messages import arrive, observations, obx, oru, rules

UCUM = "http://unitsofmeasure.org"
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"


def value(kind: str, text: str, unit: str = "") -> dict[str, Any]:
    """Return what OBX-5 becomes: value[x], component or dataAbsentReason."""
    (found,) = observations(oru(obx("718-7^Hb^LN", text, unit, kind)))
    wanted = ("value", "component", "dataAbsentReason")
    return {key: item for key, item in found.items() if key.startswith(wanted)}


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        pytest.param("12.40", "12.40", id="a trailing zero stays"),
        pytest.param("0.00", "0.00", id="zeros stay"),
        pytest.param("-0.5", "-0.5", id="negative"),
        pytest.param("+5", "5", id="JSON has no plus sign"),
        pytest.param(".5", "0.5", id="JSON has no leading point"),
        pytest.param("5.", "5", id="JSON has no closing point"),
        pytest.param("007", "7", id="JSON has no leading zeros"),
        pytest.param("-0", "-0", id="minus zero stays"),
    ],
)
def test_a_number_is_printed_as_it_was_written(written: str, printed: str) -> None:
    found = decimal(written)
    assert found is not None
    assert gate.write(found) == printed.encode()


@pytest.mark.parametrize("written", ["", "-", ".", "1,5", "1 000", "POS", "1e5", "NaN", "٣", "9" * 61])
def test_what_is_no_number_is_none(written: str) -> None:
    assert decimal(written) is None


MMHG = {"unit": "mmHg", "system": UCUM, "code": "mm[Hg]"}


@pytest.mark.parametrize(
    ("kind", "text", "unit", "expected"),
    [
        pytest.param("NM", "120", "mmHg", {"valueQuantity": {"value": 120, **MMHG}}, id="NM is a Quantity with its UCUM code"),
        pytest.param("NM", "<0.10", "mmHg", {"valueQuantity": {"value": Decimal("0.10"), "comparator": "<", **MMHG}}, id="NM with a comparator"),
        pytest.param("NM", "1:80", "", {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 80}}}, id="NM with a titre"),
        pytest.param("NM", "1,5", "mmHg", {"valueString": "1,5"}, id="a decimal comma is not guessed"),
        pytest.param("NM", "POS", "", {"valueString": "POS"}, id="NM that is no number is a text"),
        pytest.param("NM", "1~2", "", {"component": [{"valueQuantity": {"value": 1}}, {"valueQuantity": {"value": 2}}]}, id="repetitions are components"),
        pytest.param("SN", ">^100", "", {"valueQuantity": {"value": 100, "comparator": ">"}}, id="SN with a comparator"),
        pytest.param("SN", "=^5", "", {"valueQuantity": {"value": 5}}, id="equal is no comparator"),
        pytest.param("SN", "^2^-^5", "", {"valueRange": {"low": {"value": 2}, "high": {"value": 5}}}, id="SN range"),
        pytest.param("SN", "^5^-^2", "", {"valueString": "5 - 2"}, id="a range the wrong way round is a text"),
        pytest.param("SN", "^1^:^128", "", {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 128}}}, id="SN ratio"),
        pytest.param("SN", "^1^/^2", "", {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 2}}}, id="SN quotient"),
        pytest.param("SN", "<>^5", "", {"valueString": "<> 5"}, id="unequal is a text"),
        pytest.param("SN", "^2^+", "", {"valueString": "2 +"}, id="plus is a text"),
        pytest.param("SN", "\"^1^:^3", "", {"valueString": "\" 1 : 3"}, id="an unknown comparator makes a text"),
        pytest.param("ST", "Normal", "", {"valueString": "Normal"}, id="ST"),
        pytest.param("ST", "A^B", "", {"valueString": "A^B"}, id="a bare component delimiter in ST is text"),
        pytest.param("TX", "a~b", "", {"valueString": "a\nb"}, id="repetitions of TX are lines"),
        pytest.param("FT", "a\\.br\\b", "", {"valueString": "a\nb"}, id="FT with a line break"),
        pytest.param("CWE", "10828004^Positive^SCT", "", {"valueCodeableConcept": {"coding": [{"system": "http://snomed.info/sct", "code": "10828004", "display": "Positive"}]}}, id="CWE"),
        pytest.param("CE", "^Growth", "", {"valueCodeableConcept": {"text": "Growth"}}, id="CE without a code is its text"),
        pytest.param("IS", "POS", "", {"valueCodeableConcept": {"coding": [{"code": "POS"}]}}, id="IS"),
        pytest.param("DT", "20261120", "", {"valueDateTime": "2026-11-20"}, id="DT"),
        pytest.param("TS", "202611200830", "", {"valueDateTime": "2026-11-20T08:30:00+01:00"}, id="TS"),
        pytest.param("DT", "yesterday", "", {"valueString": "yesterday"}, id="DT that is no date is a text"),
        pytest.param("TM", "0830", "", {"valueTime": "08:30:00"}, id="TM"),
        pytest.param("DR", "20261101^20261120", "", {"valuePeriod": {"start": "2026-11-01", "end": "2026-11-20"}}, id="DR"),
        pytest.param("NR", "2^5", "", {"valueRange": {"low": {"value": 2}, "high": {"value": 5}}}, id="NR"),
        pytest.param("VR", "a^b", "", {"valueString": "a-b"}, id="VR"),
        pytest.param("XPN", "DUPOND^Amélie^^^Mme", "", {"valueString": "Mme Amélie DUPOND"}, id="XPN is readable"),
        pytest.param("CX", "123^^^CHU", "", {"valueString": "123 CHU"}, id="a type without an element is readable"),
        pytest.param("", "7", "", {"valueString": "7"}, id="no type"),
    ],
)  # fmt: skip
def test_every_type_of_value(kind: str, text: str, unit: str, expected: dict[str, Any]) -> None:
    found = value(kind, text, unit)
    for component in found.get("component", []):
        assert component.pop("code")["coding"][0]["code"] == "718-7"
    assert found == expected


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        pytest.param("", "F", "unknown", id="empty"),
        pytest.param('""', "F", "unknown", id="null"),
        pytest.param("", "N", "not-asked", id="not asked"),
        pytest.param("", "X", "not-performed", id="cannot be obtained"),
        pytest.param("", "I", "temp-unknown", id="in the laboratory"),
    ],
)
def test_a_missing_value_has_its_reason(text: str, status: str, reason: str) -> None:
    (found,) = observations(oru(obx(value=text, f11=status)))
    assert found["dataAbsentReason"]["coding"][0]["code"] == reason
    assert not [key for key in found if key.startswith("value")]


@pytest.mark.parametrize(
    ("result", "rule", "path"),
    [
        pytest.param(obx(value="POS"), "number-malformed", "OBX[1]-5", id="a number that is none"),
        pytest.param(obx(unit="furlong"), "unit-unknown", "OBX[1]-6", id="a unit without UCUM code"),
        pytest.param(obx(unit="G/L"), "unit-ambiguous", "OBX[1]-6", id="giga, or gram in capitals"),
        pytest.param(obx(kind="CX"), "value-type-as-text", "OBX[1]-2", id="a type made a text"),
        pytest.param(obx(f11="Ä"), "code-not-mapped", "OBX[1]-11", id="a status that is none"),
        pytest.param(obx(f14="yesterday"), "time-malformed", "OBX[1]-14", id="a time that is none"),
        pytest.param(obx(code="GLU^Glucose^LOCAL"), "code-system-unknown", "OBX[1]-3", id="a code system that is none"),
    ],
)
def test_what_is_lost_or_changed_is_told_with_its_place(result: str, rule: str, path: str) -> None:
    assert rules(oru(result))[rule] == path


def test_a_problem_never_holds_the_value() -> None:
    marked = "GEHEIM7"
    problems = arrive(oru(obx(value=marked), obx(value=marked, kind="DT"), obx(kind="ST", f14=marked))).problems
    assert len(problems) >= 3
    assert marked not in str(problems)


@pytest.mark.parametrize(
    ("written", "code"),
    [
        pytest.param("/min", "/min", id="a UCUM code"),
        pytest.param("mmHg", "mm[Hg]", id="millimetres of mercury"),
        pytest.param("bpm", "/min", id="beats a minute"),
        pytest.param("°C", "Cel", id="degrees"),
        pytest.param("µg/L", "ug/L", id="micro sign"),
        pytest.param("μg/L", "ug/L", id="Greek mu"),
        pytest.param("10^9/L", "10*9/L", id="a power"),
        pytest.param("MG/DL", "mg/dL", id="a quotient in capitals"),
        pytest.param("ml/mn/1,73m²", "mL/min/{1.73_m2}", id="a French clearance"),
        pytest.param("UFC/mL", "[CFU]/mL", id="colonies in French"),
        pytest.param("fl", "fL", id="the volume of a cell in small letters"),
        pytest.param("U/ml", "U/mL", id="a unit in mixed case"),
        pytest.param("x10E3/uL", "10*3/uL", id="thousands in a microlitre"),
        pytest.param("10^6/mm3", "10*6/uL", id="millions in a cubic millimetre"),
        pytest.param("mm/hr", "mm/h", id="a sedimentation rate"),
        pytest.param("µmol/24h", "umol/(24.h)", id="what is passed in a day"),
        pytest.param("S", None, id="siemens is no second"),
        pytest.param("mS", None, id="millisiemens is no millisecond"),
        pytest.param("M", None, id="molar is no metre"),
        pytest.param("", None, id="none"),
    ],
)  # fmt: skip
def test_units(written: str, code: str | None) -> None:
    assert ucum(written) == code


def test_every_spelling_leads_to_a_code_of_the_table() -> None:
    assert {code for code in SPELLINGS.values() if code not in CODES} == set()
    assert {spelling for spelling in SPELLINGS if spelling != spelling.lower()} == set()


@pytest.mark.parametrize(
    ("field", "unit", "code"),
    [
        pytest.param("mm[Hg]^millimetres^UCUM", "millimetres", "mm[Hg]", id="declared as UCUM"),
        pytest.param("10^9/L", "10^9/L", "10*9/L", id="a power whose circumflex was not escaped"),
        pytest.param("10^3/µL", "10^3/µL", "10*3/uL", id="a power of a micro unit, not escaped"),
        pytest.param("^g/dL", "g/dL", "g/dL", id="only its text"),
        pytest.param("G/L", "G/L", "10*9/L", id="giga per litre, as French laboratories write it"),
        pytest.param("g/L", "g/L", "g/L", id="gram per litre"),
    ],
)
def test_the_unit_of_a_quantity(field: str, unit: str, code: str) -> None:
    quantity = value("NM", "5", field)["valueQuantity"]
    assert (quantity["unit"], quantity["code"]) == (unit, code)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("3.5-5.0", {"low": "3.5", "high": "5.0"}, id="both ends"),
        pytest.param("-2--1", {"low": "-2", "high": "-1"}, id="negative ends"),
        pytest.param("<5", {"high": "5"}, id="an upper end"),
        pytest.param(">= 10", {"low": "10"}, id="a lower end"),
        pytest.param("5-2", {}, id="the wrong way round"),
        pytest.param("negative", {}, id="words"),
    ],
)
def test_reference_ranges(text: str, expected: dict[str, str]) -> None:
    assert {name: str(end["value"]) for name, end in bounds(text, {}).items()} == expected


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        pytest.param("ED", "^AP^PDF^Base64^JVBE", {"contentType": "application/pdf", "data": "JVBE"}, id="base64"),
        pytest.param("ED", "^image^jpeg^Hex^FFD8", {"contentType": "image/jpeg", "data": "/9g="}, id="hexadecimal"),
        pytest.param("ED", "^TEXT^PLAIN^A^Bonjour", {"contentType": "text/plain", "data": "Qm9uam91cg=="}, id="plain text"),
        pytest.param("ED", "^^^Base64^JVBE", {"contentType": "application/octet-stream", "data": "JVBE"}, id="no type"),
        pytest.param("ED", "^AP^PDF^Base64^%", None, id="no base64"),
        pytest.param("ED", "^AP^PDF^Hex^XX", None, id="no hexadecimal"),
        pytest.param("ED", "^AP^PDF^Base64^", None, id="no data"),
        pytest.param("RP", "https://exemple.fr/1.pdf^^AP^PDF", {"contentType": "application/pdf", "url": "https://exemple.fr/1.pdf"}, id="a pointer"),
        pytest.param("RP", "not an address", None, id="a pointer with blanks"),
    ],
)  # fmt: skip
def test_attachments(kind: str, text: str, expected: dict[str, str] | None) -> None:
    found = arrive(oru(obx("D^Doc^L", text, "", kind)))
    assert found.draft is not None
    (report,) = [r.report for person in found.draft.people for r in person.reports]
    assert report is not None
    assert report.get("presentedForm") == ([{**expected, "title": "Doc"}] if expected else None)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        pytest.param("H", ["H"], id="one"),
        pytest.param("H~A", ["H", "A"], id="repeated"),
        pytest.param("H A", ["H", "A"], id="parted by a blank"),
        pytest.param("H,A", ["H", "A"], id="parted by a comma"),
        pytest.param("X9", ["X9"], id="an unknown code stays the sender's"),
    ],
)
def test_interpretations(field: str, expected: list[str]) -> None:
    (found,) = observations(oru(obx(f8=field)))
    assert [c["code"] for i in found["interpretation"] for c in i["coding"]] == expected


@pytest.mark.parametrize(
    ("kind", "text", "dimensions", "data"),
    [
        pytest.param("NA", "1^2.50^3~4^^6", 3, "1 2.50 3 4 E 6", id="rows are instants, what is missing is E"),
        pytest.param("MA", "-1^2~3", 2, "-1 2 3 E", id="a short row"),
        pytest.param("NA", "7~8", 1, "7 8", id="one channel"),
    ],
)
def test_an_array_is_sampled_data_without_a_period_that_nobody_said(
    kind: str, text: str, dimensions: int, data: str
) -> None:
    made = value(kind, text, "mV")["valueSampledData"]
    assert (made["dimensions"], made["data"], "period" in made) == (dimensions, data, False)
    assert made["origin"] == {"value": 0, "unit": "mV", "system": UCUM, "code": "mV"}
    assert made["_period"]["extension"][0]["valueCode"] == "unknown"


def test_an_array_of_other_things_stays_a_text() -> None:
    assert value("NA", "1^x")["valueString"] == "1 x"


@pytest.mark.parametrize(
    ("code", "text", "unit", "printed", "own"),
    [
        pytest.param("8480-6", "17.06", "kPa", "128.0", "mm[Hg]", id="a pressure in kilopascal"),
        pytest.param("8310-5", "98.6", "[degF]", "37.00", "Cel", id="a temperature in Fahrenheit"),
        pytest.param("8332-9", "<310.15", "K", "37.00", "Cel", id="a comparator stays"),
        pytest.param("29463-7", "154.3", "lb", "69.989", "kg", id="a weight in pounds"),
        pytest.param("8302-2", "1.72", "m", "172.0", "cm", id="a height in metres"),
    ],
)
def test_a_vital_sign_is_in_the_unit_that_rules_read_with_what_was_sent_beside(
    code: str, text: str, unit: str, printed: str, own: str
) -> None:
    (made,) = observations(oru(obx(f"{code}^x^LN", text, unit)))
    found = made["valueQuantity"]
    sent = found["extension"][0]["valueQuantity"]
    assert (gate.write(found["value"]).decode(), found["unit"], found["code"]) == (printed, own, own)
    assert (gate.write(sent["value"]).decode(), sent["unit"]) == (text.lstrip("<"), unit)
    assert found.get("comparator", "") == ("<" if text.startswith("<") else "")


@pytest.mark.parametrize(
    ("code", "unit", "own"),
    [
        pytest.param("8867-4", "{beat}/min", "/min", id="beats"),
        pytest.param("9279-1", "{breath}/min^^UCUM", "/min", id="breaths, in UCUM"),
        pytest.param("8867-4", "/min", "/min", id="none"),
        pytest.param("8867-4", "{beat}/h^^UCUM", "{beat}/h", id="by the hour: another unit"),
        pytest.param("69000-8", "{beat}/min^^UCUM", "{beat}/min", id="what is no vital sign is left alone"),
    ],
)
def test_an_annotation_of_a_rate_is_no_part_of_its_unit(code: str, unit: str, own: str) -> None:
    (made,) = observations(oru(obx(f"{code}^x^LN", "72", unit)))
    found = made["valueQuantity"]
    assert (found["value"], found["unit"], found["code"]) == (72, unit.partition("^")[0], own)


def test_both_pressures_of_a_cuff_in_kilopascal_are_one_measurement_in_millimetres() -> None:
    (made,) = observations(oru(obx("8480-6^S^LN", "16.0", "kPa"), obx("8462-4^D^LN", "10.7", "kPa")))
    values = [one["valueQuantity"] for one in made["component"]]
    assert [(gate.write(one["value"]).decode(), one["code"]) for one in values] == [
        ("120.0", "mm[Hg]"),
        ("80.3", "mm[Hg]"),
    ]


@pytest.mark.parametrize(
    ("code", "text", "unit"),
    [
        pytest.param("8310-5", "37.20", "°C", id="in its own unit it stays as written"),
        pytest.param("8310-5", "37.20", "furlong", id="an unknown unit is not converted"),
        pytest.param("718-7", "120", "g", id="what is no vital sign is left alone"),
    ],
)
def test_nothing_else_is_converted(code: str, text: str, unit: str) -> None:
    (made,) = observations(oru(obx(f"{code}^x^LN", text, unit)))
    found = made["valueQuantity"]
    assert (gate.write(found["value"]).decode(), found["unit"], "extension" in found) == (text, unit, False)


@pytest.mark.parametrize(
    ("text", "reason"), [("NaN", "not-a-number"), ("+INF", "positive-infinity"), ("-inf", "negative-infinity")]
)
def test_what_a_device_writes_for_no_number_is_none(text: str, reason: str) -> None:
    made = value("NM", text)
    assert made == {"dataAbsentReason": {"coding": [{"system": ABSENT, "code": reason}]}}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        pytest.param("ST", "<0.10", id="a text with a sign"),
        pytest.param("NM", "62,5", id="a number with a comma"),
        pytest.param("NM", "POS", id="a word in place of a number"),
    ],
)
def test_the_unit_of_a_value_that_is_a_text_is_kept_beside_it(kind: str, text: str) -> None:
    found = value(kind, text, "mg/L^milligram per litre^UCUM")
    kept = {"url": "urn:predmp:StructureDefinition:unit", "valueString": "milligram per litre"}
    assert found["valueString"] == text
    (row,) = observations(oru(obx("718-7^Hb^LN", text, "mg/L^milligram per litre^UCUM", kind)))
    assert row["_valueString"] == {"extension": [kept]}


def test_a_text_without_unit_has_nothing_beside_it() -> None:
    (row,) = observations(oru(obx("718-7^Hb^LN", "POS", "", "ST")))
    assert "_valueString" not in row

"""Orders, specimens and timings: what each field becomes, by the guide's rows and our decisions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.hl7_messages import WHEN, arrive, header, message, obx, oru, pid, rules, segment, wanted
from tests.hl7_orders import VISIT, obr, orc, order

UNITS = "http://unitsofmeasure.org"


def request(*rows: str) -> dict[str, Any]:
    (made,) = wanted(order(*rows), "ServiceRequest")
    return made


def specimen(**fields: str) -> dict[str, Any]:
    (made,) = wanted(order(orc(), obr(), segment("SPM", f1="1", **fields)), "Specimen")
    return made


@pytest.mark.parametrize(
    ("control", "state", "expected"),
    [
        pytest.param("NW", "", "active", id="a new order is active"),
        pytest.param("CA", "", "active", id="a request to cancel does not cancel yet"),
        pytest.param("DC", "", "revoked", id="a discontinued order is revoked"),
        pytest.param("OC", "", "revoked", id="a cancelled order is revoked"),
        pytest.param("HD", "", "active", id="a request to hold does not hold yet"),
        pytest.param("OH", "", "on-hold", id="a held order is on hold"),
        pytest.param("XO", "", "active", id="a change of an order says no status: active where nothing is stored"),
        pytest.param("SC", "", "active", id="a change of status without one says none"),
        pytest.param("SC", "CM", "completed", id="ORC-5 says the status"),
        pytest.param("NW", "HD", "on-hold", id="ORC-5 goes before ORC-1"),
        pytest.param("NW", "A", "active", id="some results are there: the order runs"),
        pytest.param("UA", "", "active", id="an order that could not be accepted stays as it was"),
    ],
)
def test_the_status_of_an_order(control: str, state: str, expected: str) -> None:
    assert request(orc(control, f5=state), obr())["status"] == expected


@pytest.mark.parametrize(
    ("rows", "element", "expected"),
    [
        pytest.param((orc(), obr(f5="S")), "priority", "stat", id="OBR-5 S is stat"),
        pytest.param((orc(), obr(f5="T")), "priority", "urgent", id="OBR-5 T is urgent"),
        pytest.param((orc(f7="^^^^^A"), obr()), "priority", "asap", id="ORC-7.6 A is asap"),
        pytest.param((orc(), "TQ1|1||||||||S", obr(f5="R")), "priority", "stat", id="TQ1-9 goes before OBR-5"),
        pytest.param((orc(), obr(f11="G")), "intent", "reflex-order", id="OBR-11 G is a reflex order"),
        pytest.param((orc(), obr(f11="A")), "intent", "order", id="OBR-11 A is an order, R4 has no add-on"),
        pytest.param((orc(f9=WHEN), obr()), "authoredOn", "2026-11-20T08:30:00+01:00", id="ORC-9 of a new order"),
        pytest.param(
            (orc(), obr(f31="D64^Anaemia^I10")), "reasonCode",
            [{"coding": [{"code": "D64", "system": "http://hl7.org/fhir/sid/icd-10", "display": "Anaemia"}]}],
            id="OBR-31 is the reason",
        ),
        pytest.param(
            (orc(), obr(), "DG1|1|||Anaemia"), "reasonCode", [{"text": "Anaemia"}], id="DG1 is the reason in words"
        ),
        pytest.param((orc(), obr(f13="fasting")), "supportingInfo", [{"display": "fasting"}], id="OBR-13 is told"),
        pytest.param((orc(), obr(), "NTE|1||One~Two"), "note", [{"text": "One\nTwo"}], id="NTE is a note"),
        pytest.param(
            (orc(), obr(f6=WHEN)), "occurrenceDateTime", "2026-11-20T08:30:00+01:00", id="OBR-6 says when"
        ),
    ],
)  # fmt: skip
def test_a_field_of_an_order(rows: tuple[str, ...], element: str, expected: Any) -> None:
    assert request(*rows)[element] == expected


@pytest.mark.parametrize(
    ("fields", "element", "expected"),
    [
        pytest.param({"f7": WHEN}, "occurrenceDateTime", "2026-11-20T08:30:00+01:00", id="a start is a time"),
        pytest.param(
            {"f7": "20261120", "f8": "20261121"}, "occurrencePeriod", {"start": "2026-11-20", "end": "2026-11-21"},
            id="a start and an end are a period",
        ),
        pytest.param(
            {"f3": "Q6H"}, "occurrenceTiming",
            {"repeat": {"frequency": 1, "period": Decimal(6), "periodUnit": "h"}, "code": {"text": "Q6H"}},
            id="Q6H is every six hours",
        ),
        pytest.param(
            {"f3": "BID", "f14": "4"}, "occurrenceTiming",
            {
                "repeat": {"count": 4},
                "code": {"coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation", "code": "BID", "display": "BID",
                }]},
            },
            id="a pattern of the table, four times",
        ),
        pytest.param(
            {"f4": "0800~2000"}, "occurrenceTiming", {"repeat": {"timeOfDay": ["08:00:00", "20:00:00"]}},
            id="times of the day",
        ),
        pytest.param(
            {"f6": "3^d"}, "occurrenceTiming",
            {"repeat": {"boundsDuration": {"value": Decimal(3), "code": "d", "unit": "d", "system": UNITS}}},
            id="for three days",
        ),
        pytest.param(
            {"f2": "2^mL"}, "quantityQuantity", {"value": Decimal(2), "unit": "mL", "system": UNITS, "code": "mL"},
            id="how much",
        ),
    ],
)  # fmt: skip
def test_a_timing(fields: dict[str, str], element: str, expected: Any) -> None:
    assert request(orc(), segment("TQ1", f1="1", **fields), obr())[element] == expected


@pytest.mark.parametrize(
    ("fields", "path", "expected"),
    [
        pytest.param({"f20": "Y"}, ("status",), "available", id="SPM-20 Y is available"),
        pytest.param({"f21": "EX"}, ("status",), "unsatisfactory", id="a rejected specimen is unsatisfactory"),
        pytest.param({"f18": WHEN}, ("receivedTime",), "2026-11-20T08:30:00+01:00", id="SPM-18 is the reception"),
        pytest.param(
            {"f17": "20261120^20261121"}, ("collection", "collectedPeriod"),
            {"start": "2026-11-20", "end": "2026-11-21"}, id="SPM-17 with an end is a period",
        ),
        pytest.param({"f17": "20261120"}, ("collection", "collectedDateTime"), "2026-11-20", id="SPM-17 without an end"),
        pytest.param(
            {"f12": "5^mL"}, ("collection", "quantity"),
            {"value": Decimal(5), "unit": "mL", "system": UNITS, "code": "mL"}, id="SPM-12 is the quantity",
        ),
        pytest.param({"f14": "red~cold"}, ("note",), [{"text": "red"}, {"text": "cold"}], id="SPM-14 are notes"),
        pytest.param({"f3": "S0"}, ("parent", 0, "identifier", "value"), "S0", id="SPM-3 names the parent"),
        pytest.param(
            {"f6": "EDTK"}, ("container", 0, "additiveCodeableConcept", "coding", 0, "display"), "Potassium/K EDTA",
            id="SPM-6 is an additive of the container",
        ),
        pytest.param({"f27": "TUBE"}, ("container", 0, "type", "coding", 0, "code"), "TUBE", id="SPM-27 is its type"),
        pytest.param({"f30": "A1"}, ("accessionIdentifier", "value"), "A1", id="SPM-30 is the accession"),
    ],
)  # fmt: skip
def test_a_field_of_a_specimen(fields: dict[str, str], path: tuple[Any, ...], expected: Any) -> None:
    found: Any = specimen(**fields)
    for step in path:
        found = found[step]
    assert found == expected


def test_both_numbers_of_a_specimen_are_kept_with_their_type() -> None:
    numbers = specimen(f2="S1&DPI^S2&LAB")["identifier"]
    assert [(n["type"]["coding"][0]["code"], n["value"]) for n in numbers] == [("PGN", "S1"), ("FGN", "S2")]


def test_an_order_names_its_specimen_and_what_is_told_with_it() -> None:
    text = order(orc(), obr(), obx("29463-7^Weight^LN", "70", "kg"), "SPM|1|S1||BLD", kind="OML^O21^OML_O21")
    (weight,), (blood,), (made,) = (wanted(text, type) for type in ("Observation", "Specimen", "ServiceRequest"))
    assert made["specimen"] == [{"reference": f"Specimen/{blood['id']}"}]
    assert made["supportingInfo"] == [{"reference": f"Observation/{weight['id']}"}]
    assert "specimen" not in weight and weight["subject"] == {"reference": "Patient/1"}


@pytest.mark.parametrize("kind", ["ORM^O01^ORM_O01", "OML^O21^OML_O21"])
def test_each_orc_begins_an_order_of_its_own(kind: str) -> None:
    rows = orc(), obr(), orc(number="O2^DPI"), obr("O2^DPI", "718-7^Hb^LN"), obr("O2^DPI", "2823-3^K^LN")
    codes = [one["code"]["coding"][0]["code"] for one in wanted(order(*rows, kind=kind), "ServiceRequest")]
    assert codes == ["2345-7", "718-7", "2823-3"]


def test_earlier_results_of_an_oml_are_left_out_and_reported() -> None:
    text = order(orc(), obr(), pid(), obr("O9"), obx(), kind="OML^O21^OML_O21")
    assert [one["resourceType"] for one in wanted(text)] == ["ServiceRequest"]
    assert {"PID", "OBR", "OBX"} & set(arrive(text).unused)


@pytest.mark.parametrize("kind", ["ORM^O01^ORM_O01", "OML^O21^OML_O21"])
def test_orders_of_two_patients_in_one_message_are_refused(kind: str) -> None:
    fault = arrive(order(orc(), obr(), pid(id="P2^^^CHU"), orc(number="O2"), obr("O2"), kind=kind)).fault
    assert fault is not None and (fault.code, fault.place.path) == ("100", "PID[2]-3")


def test_an_order_of_a_kind_that_is_not_taken_is_refused_alone_and_reported_among_others() -> None:
    medicine = orc(), segment("RXO", f1="X^Y^L")
    assert arrive(order(*medicine)).fault is not None
    mixed = order(*medicine, orc(number="O2"), obr("O2"))
    assert len(wanted(mixed, "ServiceRequest")) == 1
    assert rules(mixed)["order-kind-not-taken"] == "RXO[1]"


def test_the_ordering_facility_is_inside_the_order_and_the_orderer_can_still_be_searched() -> None:
    made = request(orc(f12="7^CURIE^MARIE", f21="CHU^L^H1", f22="1 rue^^Paris^^75001^^H", f24="2 rue^^Paris"), obr())
    kinds = {one["resourceType"]: one for one in made["contained"]}
    assert made["requester"]["identifier"]["value"] == "7" and made["requester"]["reference"] == "#requester"
    assert kinds["Organization"]["address"] == [{"line": ["1 rue"], "city": "Paris", "postalCode": "75001"}]
    assert kinds["Practitioner"]["address"][0]["line"] == ["2 rue"]


def test_an_order_is_the_same_one_in_the_order_and_in_its_result() -> None:
    (asked,) = wanted(order(orc(), obr()), "ServiceRequest")
    (answered,) = wanted(oru(order=f"{orc('RE')}\r{obr(f25='F')}"), "ServiceRequest")
    assert asked["id"] == answered["id"] and answered["status"] == "completed"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(segment("OBR", f3="L1", f4="X^Y^L", f25="F"), 0, id="a filler's number alone: only a report"),
        pytest.param(segment("OBR", f2="O1", f3="L1", f4="X^Y^L"), 1, id="a placer's number: somebody ordered it"),
        pytest.param("ORC|RE|O1\r" + segment("OBR", f4="X^Y^L"), 1, id="a common order"),
    ],
)
def test_which_results_have_an_order(rows: str, expected: int) -> None:
    assert len(wanted(oru(order=rows), "ServiceRequest")) == expected


def test_a_message_of_orders_without_an_order_only_names_the_patient() -> None:
    text = message(header("ORM^O01^ORM_O01"), pid(), VISIT)
    assert wanted(text) == [] and "order-missing" in rules(text)


def test_allergies_and_insurance_that_come_with_an_order_fill_what_is_missing() -> None:
    rows = "AL1|1|DA|PENI^Penicillin^L|SV|Rash", "IN1|1|P1|77|Payer", orc(), obr()
    draft = arrive(order(*rows)).draft
    assert draft is not None
    kinds = {one.resource["resourceType"]: one.how for one in draft.people[0].wanted}
    assert kinds == {"ServiceRequest": "over", "AllergyIntolerance": "fill", "Coverage": "fill"}

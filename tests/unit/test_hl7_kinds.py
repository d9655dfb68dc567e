"""Appointments, documents, vaccinations and devices: what each becomes, by the guide's rows and our decisions."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from adapters.devices.measures import MEASURES
from adapters.devices.unit import MDC_UNITS
from adapters.hl7.maps import mdc
from tests.hl7_messages import CHANNEL, arrive, header, message, observations, obx, pid, rules, wanted
from tests.hl7_orders import LATER, MONITOR, device, leaf, part, rxa, sch, txa

BASE64 = "JVBERi0xLjQK"


def appointment(text: str) -> dict[str, Any]:
    (made,) = wanted(text, "Appointment")
    return made


def document(text: str) -> dict[str, Any]:
    (made,) = wanted(text, "DocumentReference")
    return made


def immunization(text: str) -> dict[str, Any]:
    (made,) = wanted(text, "Immunization")
    return made


@pytest.mark.parametrize(
    ("event", "sent", "expected"),
    [
        *(pytest.param(event, "", "booked", id=f"{event} books") for event in ("S12", "S13", "S14")),
        pytest.param("S15", "", "cancelled", id="S15 cancels"),
        pytest.param("S16", "", "cancelled", id="S16 discontinues"),
        pytest.param("S17", "", "entered-in-error", id="S17 deletes"),
        pytest.param("S26", "", "noshow", id="S26: the patient did not come"),
        *(pytest.param(f"S{n}", "", "booked", id=f"S{n} says no status") for n in range(18, 25)),
        pytest.param("S14", "Started", "checked-in", id="SCH-25 says the status"),
        pytest.param("S14", "PENDING", "pending", id="SCH-25 in capitals"),
        pytest.param("S14", "Complete", "fulfilled", id="SCH-25 of one that took place"),
        pytest.param("S15", "Booked", "cancelled", id="a status of before does not undo a cancellation"),
    ],
)
def test_the_status_of_an_appointment(event: str, sent: str, expected: str) -> None:
    assert appointment(sch(event, f25=sent))["status"] == expected


@pytest.mark.parametrize(
    ("fields", "rows", "expected"),
    [
        pytest.param({}, (), ("09:00", "09:30"), id="SCH-11 with the length of SCH-9"),
        pytest.param({"f11": "^^^20261201090000^20261201094500"}, (), ("09:00", "09:45"), id="SCH-11 with its end"),
        pytest.param({"f9": "1", "f10": "h"}, (), ("09:00", "10:00"), id="a length in hours"),
        pytest.param({"f11": ""}, ("TQ1|1||||||20261201100000|20261201101500",), ("10:00", "10:15"), id="TQ1"),
        pytest.param(
            {"f11": "", "f9": ""}, ("RGS|1", "AIP|1|A|7^C^M|||20261201110000|||20|min"), ("11:00", "11:20"), id="AIP"
        ),
        pytest.param(
            {"f9": ""}, (), ("09:00", "09:00"), id="no length is known: the end is the start, and it is noted"
        ),
    ],
)
def test_when_an_appointment_is(fields: dict[str, str], rows: tuple[str, ...], expected: tuple[str, str]) -> None:
    made = appointment(sch("S12", *rows, **fields))
    assert (made["start"][11:16], made["end"][11:16]) == expected


@pytest.mark.parametrize(("event", "expected"), [("S12", "proposed"), ("S26", "cancelled"), ("S15", "cancelled")])
def test_an_appointment_without_a_time_is_none_that_needs_one(event: str, expected: str) -> None:
    assert appointment(sch(event, f11="", f9=""))["status"] == expected


@pytest.mark.parametrize(
    ("event", "has"), [("S15", True), ("S26", False), ("S17", False), ("S14", False)]
)  # R4's app-4 spells a status that no appointment can have
def test_a_reason_of_a_cancellation_stands_with_a_cancelled_appointment_only(event: str, has: bool) -> None:
    assert ("cancelationReason" in appointment(sch(event, f6="SICK^Sick^L"))) is has


def test_who_and_what_takes_part_in_an_appointment() -> None:
    rows = (
        "RGS|1|A", "AIS|1|A|CARDIO^Cardiology^L", "AIG|1|A|ECHO^Echograph^L", "AIL|1|A|MED^101",
        "AIP|1|A|7^CURIE^MARIE|DOC||20261201090000|||30|min||Pending", "AIP|2|D|8^OUT^LEFT",
    )  # fmt: skip
    made = appointment(sch("S12", *rows, f16="2^DOE^JANE"))
    names = [one["actor"].get("display", one["actor"].get("reference")) for one in made["participant"]]
    assert names == ["Patient/1", "JANE DOE", "Echograph", "MED 101", "MARIE CURIE"]
    assert made["participant"][-1]["status"] == "needs-action" and "period" in made["participant"][-1]
    assert made["serviceType"][0]["coding"][0]["code"] == "CARDIO"
    assert "AIP-2" not in arrive(sch("S12", *rows)).unused, "who is taken out is read"


def test_an_appointment_is_known_by_the_filler_s_number_and_found_by_the_placer_s() -> None:
    (person,) = (arrive(sch()).draft or pytest.fail()).people
    (only_filler,) = (arrive(sch(f1="")).draft or pytest.fail()).people
    assert person.wanted[0].resource["id"] == only_filler.wanted[0].resource["id"]
    assert person.wanted[0].found_by == ("urn:predmp:facility:CHU-TEST:DPI", "P1")


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        pytest.param(sch(f1="", f2=""), "101", "SCH[1]-2", id="an appointment without a number"),
        pytest.param(message(header("SIU^S12^SIU_S12"), "SCH|P1"), "101", "PID[1]", id="an appointment of nobody"),
        pytest.param(txa(f12=""), "101", "TXA[1]-12", id="a document without a number"),
        pytest.param(message(header("MDM^T02^MDM_T02"), pid()), "100", "TXA[1]", id="a message without its document"),
        pytest.param(message(header("VXU^V04^VXU_V04"), pid(), "ORC|RE|1"), "100", "RXA[1]", id="no vaccination"),
        pytest.param(rxa(pid(id="P2^^^CHU")), "100", "PID[2]", id="a vaccination of two patients"),
    ],
)
def test_what_is_refused(text: str, code: str, path: str) -> None:
    fault = arrive(text).fault
    assert fault is not None and (fault.code, fault.place.path) == (code, path)


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        pytest.param("T02", {}, ("current", "final"), id="an authenticated document is final"),
        pytest.param("T02", {"f17": "DO"}, ("current", "preliminary"), id="a documented one is preliminary"),
        pytest.param("T04", {"f17": "LA"}, ("current", "final"), id="a legally authenticated one is final"),
        pytest.param("T03", {"f19": "OB"}, ("superseded", "final"), id="an obsolete one is superseded"),
        pytest.param("T11", {}, ("entered-in-error", "final"), id="a cancelled one was an error"),
        pytest.param("T01", {"f19": "", "f17": ""}, ("current", None), id="nothing said: current"),
    ],
)
def test_the_status_of_a_document(event: str, fields: dict[str, str], expected: tuple[str, str | None]) -> None:
    made = document(txa(event, **fields))
    assert (made["status"], made.get("docStatus")) == expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [("T05", "appends"), ("T06", "appends"), ("T09", "replaces"), ("T10", "replaces"), ("T02", "appends")],
)
def test_how_a_document_stands_to_its_parent(event: str, expected: str) -> None:
    (relation,) = document(txa(event, f13="D0^DPI"))["relatesTo"]
    assert relation["code"] == expected
    assert relation["target"]["identifier"] == {"system": "urn:predmp:facility:CHU-TEST:DPI", "value": "D0"}


def test_the_lines_of_a_text_are_one_content_and_a_file_is_another() -> None:
    rows = (
        "OBX|1|TX|X^Report^L||One||||||F",
        "OBX|2|TX|X^Report^L||Two||||||F",
        f"OBX|3|ED|Y^Scan^L||^AP^PDF^Base64^{BASE64}",
    )
    text, file = (one["attachment"] for one in document(txa("T02", *rows))["content"])
    assert b64decode(text["data"]).decode() == "One\nTwo" and text["title"] == "Report"
    assert (file["contentType"], file["data"]) == ("application/pdf", BASE64)


def test_a_document_that_is_announced_has_a_title_and_no_data() -> None:
    assert document(txa("T01", f16="report.txt"))["content"] == [
        {"attachment": {"contentType": "text/plain", "title": "report.txt"}}
    ]


def test_a_document_has_its_number_its_people_and_its_time() -> None:
    made = document(txa("T02", f9="6^WRITER^R", f10="7^SIGNER^S", f4=LATER, f15="L1^LAB", f25="Title"))
    assert made["masterIdentifier"]["value"] == "D1" and made["description"] == "Title"
    assert (made["author"][0]["display"], made["authenticator"]["display"]) == ("R WRITER", "S SIGNER")
    assert made["date"] == "2026-11-20T08:30:00+01:00"
    assert made["context"]["period"] == {"start": "2026-11-20T09:30:00+01:00"}
    assert made["context"]["related"][0]["identifier"]["value"] == "L1"


@pytest.mark.parametrize(
    ("fields", "element", "expected"),
    [
        pytest.param({}, "status", "completed", id="nothing said: completed"),
        pytest.param({"f20": "PA"}, "status", "completed", id="partially given is completed"),
        pytest.param({"f20": "RE"}, "status", "not-done", id="refused is not done"),
        pytest.param({"f20": "NA"}, "status", "not-done", id="not administered is not done"),
        pytest.param({"f20": "CP", "f21": "D"}, "status", "entered-in-error", id="deleted was an error"),
        pytest.param({"f6": "999"}, "doseQuantity", None, id="999 is no dose"),
        pytest.param({"f6": "0", "f20": "RE"}, "doseQuantity", None, id="a refused dose of 0 is none"),
        pytest.param({"f15": "LOT1"}, "lotNumber", "LOT1", id="the lot"),
        pytest.param({"f16": "20280131"}, "expirationDate", "2028-01-31", id="the expiry"),
        pytest.param({"f9": "00^New^NIP001"}, "primarySource", True, id="who gave it tells it"),
        pytest.param({"f9": "01^Historical^NIP001"}, "primarySource", False, id="a record of someone else's"),
        pytest.param({"f22": LATER, "f21": "A"}, "recorded", "2026-11-20T09:30:00+01:00", id="when it was entered"),
        pytest.param({"f3": ""}, "occurrenceString", "unknown", id="when is not known"),
    ],
)
def test_a_field_of_a_vaccination(fields: dict[str, str], element: str, expected: Any) -> None:
    assert immunization(rxa(**fields)).get(element) == expected


def test_a_vaccination_has_its_dose_route_site_and_people() -> None:
    made = immunization(rxa("RXR|IM^Muscle^HL70162|LD^Left deltoid^HL70163", f10="9^NURSE^N"))
    assert made["doseQuantity"]["value"] == Decimal("0.5") and made["doseQuantity"]["code"] == "mL"
    assert made["route"]["coding"][0]["code"] == "IM" and made["site"]["coding"][-1]["code"] == "LD"
    assert made["performer"][0]["function"]["coding"][0]["code"] == "AP"


def test_what_is_observed_with_a_vaccination_is_part_of_it() -> None:
    text = rxa("OBX|1|CE|64994-7^Eligibility^LN|1|V02^x^HL70064||||||F", "NTE|1||Seen")
    (observation,) = wanted(text, "Observation")
    assert observation["partOf"] == [{"reference": f"Immunization/{immunization(text)['id']}"}]
    assert observation["note"] == [{"text": "Seen"}] and "category" not in observation


def test_the_tree_of_a_monitor_becomes_devices_metrics_and_observations() -> None:
    text = device(*MONITOR)
    monitor, ecg, cuff = wanted(text, "Device")
    assert monitor["identifier"][0]["value"] == "00-12-21-00-00-00-00-01"
    assert ecg["parent"] == cuff["parent"] == {"reference": f"Device/{monitor['id']}"}
    heart, pressure, oxygen = observations(text)
    assert heart["code"]["coding"][0]["code"] == "8867-4" and heart["valueQuantity"]["code"] == "/min"
    assert heart["device"] == {"reference": f"Device/{ecg['id']}"}
    assert [c["valueQuantity"]["value"] for c in pressure["component"]] == [120, 80, 93]
    assert pressure["code"]["coding"][0]["code"] == "85354-9" and pressure["device"]["reference"].endswith(cuff["id"])
    assert oxygen["valueQuantity"]["value"] == 97
    assert [c["valueQuantity"]["value"] for c in oxygen["component"]] == [Decimal("2.1")]
    metrics = wanted(text, "DeviceMetric")
    assert len(metrics) == 5 and metrics[0]["source"] == {"reference": f"Device/{monitor['id']}"}


def test_a_result_has_its_own_time_else_that_of_the_part_above_it() -> None:
    heart, pressure, _ = observations(device(*MONITOR))
    assert heart["effectiveDateTime"][11:16] == "09:30" and pressure["effectiveDateTime"][11:16] == "08:30"


@pytest.mark.parametrize(("final", "expected"), [(False, "preliminary"), (True, "final")])
def test_what_a_device_calls_unverified_is_preliminary_unless_the_channel_says_final(
    final: bool, expected: str
) -> None:
    draft = arrive(device(*MONITOR), replace(CHANNEL, device_final=final)).draft
    assert draft is not None and draft.people[0].reports[0].observations[0]["status"] == expected


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [("INV", "entered-in-error", "error"), ("NAV", "preliminary", "not-performed")],
)
def test_a_device_that_doubts_its_own_value_gives_none(state: str, status: str, reason: str) -> None:
    (one,) = observations(device(leaf("1.1.1.1", "147842^HR^MDC", "82", "264864^^MDC", f8=state)))
    assert (one["status"], one["dataAbsentReason"]["coding"][0]["code"]) == (status, reason)
    assert "valueQuantity" not in one


def test_a_device_that_names_no_unit_is_told_of_and_no_unit_is_guessed() -> None:
    text = device(leaf("1.1.1.1", "188736^MASS^MDC", "70.10", ""))
    (weight,) = observations(text)
    assert (str(weight["valueQuantity"]["value"]), weight["valueQuantity"].keys()) == ("70.10", {"value"})
    assert rules(text)["unit-unknown"] == "OBX[1]-6"


def test_a_control_solution_is_no_result_of_the_patient() -> None:
    text = device(leaf("1.1.1.1", "160208^CTRL^MDC", "100", "264274^^MDC"))
    assert observations(text) == [] and rules(text)["control-of-device"] == "OBX[1]-3"


def test_a_result_alone_names_its_device_by_its_number() -> None:
    row = leaf("1.0.0.1", "147842^HR^MDC", "82", "264864^^MDC", f18="0012210000000001^EUI-64")
    (made,) = wanted(device(row), "Device")
    assert made["identifier"][0]["value"] == "00-12-21-00-00-00-00-01"
    assert (
        made["id"] == wanted(device(part("1.0.0.0", "69965^M^MDC", f18="0012210000000001^EUI-64")), "Device")[0]["id"]
    )


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("528391^MDC_DEV_SPEC_PROFILE_BP^MDC", id="its kind among personal health devices"),
        pytest.param("1^OWN^99ACME", id="a code of the gateway's own"),
    ],
)
def test_a_personal_health_device_is_declared_by(kind: str) -> None:
    text = device(
        part("1", kind, f18="0123456789ABCDEF^EUI-64"),
        part("1.0.1", "150020^MDC_PRESS_BLD_NONINV^MDC", f14=LATER),
        leaf("1.0.1.1", "150021^SYS^MDC", "120", "266016^^MDC"),
        leaf("1.0.1.2", "150022^DIA^MDC", "80", "266016^^MDC"),
    )
    (made,) = wanted(text, "Device")
    assert made["identifier"][0]["value"] == "01-23-45-67-89-AB-CD-EF"
    (pressure,) = observations(text)
    assert pressure["device"] == {"reference": f"Device/{made['id']}"}
    assert pressure["effectiveDateTime"][11:16] == "09:30"  # of the row above its two parts
    assert len(wanted(text, "DeviceMetric")) == 2


@pytest.mark.parametrize("row", [0, 1, 2])
def test_the_method_and_the_site_of_a_pressure_are_kept_wherever_its_rows_say_them(row: int) -> None:
    said = [
        {"f17": "AMEAS^auto-measurement^MDC", "f20": "368209003^Right upper arm^SCT"} if n == row else {}
        for n in (0, 1, 2)
    ]
    text = device(
        part("1.1.1.1", "150020^MDC_PRESS_BLD_NONINV^MDC", **said[0]),
        leaf("1.1.1.1.1", "150021^SYS^MDC", "120", "266016^^MDC", **said[1]),
        leaf("1.1.1.1.2", "150022^DIA^MDC", "80", "266016^^MDC", **said[2]),
    )
    (pressure,) = observations(text)
    assert pressure["method"]["coding"][0]["code"] == "AMEAS"
    assert pressure["bodySite"]["coding"][0] == {
        "system": "http://snomed.info/sct",
        "code": "368209003",
        "display": "Right upper arm",
    }


def test_codes_of_devices_without_the_profile_are_read_as_those_of_a_device() -> None:
    plain = device(*MONITOR).replace("IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO", "")
    assert len(wanted(plain, "Device")) == 3 and wanted(message(header("ORU^R01"), pid(), "OBR|1||L1", obx())) == []


def test_the_tables_of_this_room_and_of_the_device_feed_agree() -> None:
    theirs: dict[str, set[tuple[str, str]]] = {}
    for measure in MEASURES:
        for number in measure.mdc:
            theirs.setdefault(str(number), set()).add((measure.unit, " ".join(measure.loinc)))
    for code, rows in mdc.MEASURES.items():
        assert {(row.unit, row.loinc) for row in rows} <= theirs[code], code
    assert dict(mdc.UNITS) == dict(MDC_UNITS)


@pytest.mark.parametrize(
    ("code", "value", "unit", "expected"),
    [
        pytest.param("150364^TEMP^MDC", "104.0", "266560^^MDC", (Decimal("40.00"), "Cel"), id="Fahrenheit"),
        pytest.param("150021^SYS^MDC", "17.06", "265987^^MDC", (Decimal("128.0"), "mm[Hg]"), id="kilopascal"),
        pytest.param("188736^MASS^MDC", "154.3", "263904^^MDC", (Decimal("69.989"), "kg"), id="pounds"),
        pytest.param("160184^GLU^MDC", "5.50", "266866^^MDC", (Decimal("5.50"), "mmol/L"), id="glucose has two units"),
    ],
)
def test_what_a_device_measures_is_in_the_unit_that_rules_read(
    code: str, value: str, unit: str, expected: tuple[Decimal, str]
) -> None:
    (one,) = observations(device(leaf("1.1.1.1", code, value, unit)))
    found = one.get("valueQuantity") or one["component"][0]["valueQuantity"]
    assert (found["value"], found["code"]) == expected

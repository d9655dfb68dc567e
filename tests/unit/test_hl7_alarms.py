"""Alarms of devices (ORU^R40, IHE PCD-04): what a notice becomes, and which notices are of one alarm."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.hl7.overlay import over
from tests.hl7_messages import WHEN, arrive, header, message, observations, pid, segment, wanted
from tests.hl7_orders import leaf, part

MONITOR = part("1.0.0.0", "69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC", f18="0012210000000001^EUI-64")
LOW = "196670^MDC_EVT_LO^MDC"
SPO2 = "150456^MDC_PULS_OXIM_SAT_O2^MDC"
VALUE = leaf("1.1.1.1.2", SPO2, "82", "262688^MDC_DIM_PERCENT^MDC", f7="90-100", f14=WHEN)


def row(number: int, code: str, value: str, kind: str = "ST", **more: str) -> str:
    return segment("OBX", **{"f2": kind, "f3": code, "f4": f"1.1.1.1.{number}", "f5": value, "f11": "R", **more})


def said(name: str, value: str, number: int = 3) -> str:
    return row(number, f"68481^MDC_ATTR_{name}^MDC", value)


def event(code: str = LOW, value: str = SPO2, flags: str = "L~PM~SP") -> str:
    return row(1, code, value, "CWE", f8=flags)


def notice(*rows: str, number: str = "A1^GW", **fields: str) -> str:
    start = header("ORU^R40^ORU_R40", "N1", f12="2.6", f21="IHE_PCD_ACM_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.4.1^ISO")
    about = {"f1": "1", "f3": number, "f4": "196616^MDC_EVT_ALARM^MDC", "f7": WHEN, **fields}
    return message(start, pid(), segment("OBR", **about), MONITOR, *rows)


def flag(*rows: str, **more: str) -> dict[str, Any]:
    (made,) = wanted(notice(*rows, **more), "Flag")
    return made


def test_a_notice_is_a_flag_with_its_priority_its_device_and_what_was_measured() -> None:
    text = notice(event(), VALUE, said("EVENT_PHASE", "start"))
    made, (monitor,), (measured,) = flag(event(), VALUE), wanted(text, "Device"), observations(text)
    assert (made["status"], made["period"]["start"][11:16]) == ("active", "08:30")
    assert made["category"][0]["coding"][0]["code"] == "clinical"
    assert made["code"]["coding"][0]["code"] == "196670"
    assert made["code"]["text"] == "MDC_EVT_LO : MDC_PULS_OXIM_SAT_O2"
    assert made["author"] == {"reference": f"Device/{monitor['id']}"}
    priority, detail = made["extension"]
    assert priority["valueCodeableConcept"]["coding"][0]["code"] == "PM"
    assert detail["valueReference"] == {"reference": f"Observation/{measured['id']}"}
    assert measured["valueQuantity"]["value"] == 82 and measured["device"] == made["author"]
    assert [coding["code"] for coding in measured["code"]["coding"]] == ["2708-6", "59408-5", "150456"]


def test_what_an_alarm_measured_is_the_result_that_pcd_01_brings() -> None:
    ((alarmed,), (plain,)) = (
        observations(notice(event(), VALUE)),
        observations(
            message(
                header("ORU^R01^ORU_R01", "P1", f12="2.6"),
                pid(),
                "OBR|1",
                MONITOR,
                leaf("1.1.1.1", SPO2, "82", "262688^MDC_DIM_PERCENT^MDC", f14=WHEN),
            )
        ),
    )
    assert alarmed["id"] == plain["id"]


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        pytest.param((), "active", id="nothing is said"),
        pytest.param((said("EVENT_PHASE", "start"), said("ALARM_STATE", "active", 4)), "active", id="it starts"),
        pytest.param((said("EVENT_PHASE", "continue"),), "active", id="it goes on"),
        pytest.param((said("ALARM_STATE", "latched", 4),), "active", id="it is latched"),
        pytest.param((said("EVENT_PHASE", "end"),), "inactive", id="it ends"),
        pytest.param((said("ALARM_STATE", "inactive", 4),), "inactive", id="it is inactive"),
        pytest.param((said("ALARM_STATE", "off", 4),), "inactive", id="it is off"),
    ],
)
def test_a_flag_lasts_as_long_as_the_alarm(rows: tuple[str, ...], status: str) -> None:
    assert flag(event(), *rows)["status"] == status


@pytest.mark.parametrize(
    ("code", "value", "text"),
    [
        pytest.param(LOW, "", "MDC_EVT_LO", id="an event without a source"),
        pytest.param("196616^MDC_EVT_ALARM^MDC", "196680^MDC_EVT_LEAD_OFF^MDC", "MDC_EVT_LEAD_OFF", id="a general one"),
        pytest.param("196616^MDC_EVT_ALARM^MDC", "", "MDC_EVT_ALARM", id="a general one without a name"),
    ],
)
def test_an_event_is_named(code: str, value: str, text: str) -> None:
    assert flag(event(code, value, "ST"))["code"]["text"] == text


def test_rows_say_priority_type_source_and_text_too() -> None:
    made = flag(
        event("196616^MDC_EVT_ALARM^MDC", "1^OWN^L", ""),
        row(2, "68480^MDC_ATTR_ALERT_SOURCE^MDC", SPO2, "CWE"),
        said("ALARM_PRIORITY", "PH", 6),
        said("ALERT_TYPE", "ST", 7),
        said("ALERT_TEXT", "Capteur", 8),
    )
    assert made["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == "PH"
    assert (made["category"][0]["coding"][0]["code"], made["code"]["text"]) == ("safety", "Capteur")


def test_a_notice_without_an_event_is_still_a_flag() -> None:
    assert flag()["code"]["coding"][0]["code"] == "196616"


def test_later_notices_are_of_the_alarm_that_they_name_and_keep_its_beginning() -> None:
    first = flag(event(), said("EVENT_PHASE", "start"))
    ended = flag(event(), said("EVENT_PHASE", "end"), number="A9^GW", f29="^A1&GW", f7="20261120084500")
    assert ended["id"] == first["id"] and "identifier" not in ended
    whole = over(first, ended)
    assert [whole["period"][name][11:16] for name in ("start", "end")] == ["08:30", "08:45"]
    assert whole["identifier"] == first["identifier"]
    assert (
        over(first, {**ended, "period": {"end": "2026-11-20T07:00:00+00:00"}})["period"]["end"]
        == first["period"]["start"]
    )
    again = over(whole, flag(event(), said("EVENT_PHASE", "start"), f7="20261120090000"))
    assert again["status"] == "active" and "end" not in again["period"]


def test_other_numbers_and_other_patients_are_other_alarms() -> None:
    ids = {flag(event(), number=number)["id"] for number in ("A1^GW", "A2^GW", "")}
    ids.add(wanted(notice(event()).replace("P1^^^CHU", "P2^^^CHU"), "Flag")[0]["id"])
    assert len(ids) == 4


def test_attributes_that_no_map_reads_are_reported_and_no_results() -> None:
    text = notice(event(), said("ALARM_INACTIVATION_STATE", "audio-paused", 5))
    assert observations(text) == []
    assert arrive(text).unused == ("OBX",)


def test_a_notice_without_a_heading_is_refused() -> None:
    refused = arrive(notice(event(), VALUE).replace("OBR|", "ORC|")).fault
    assert refused is not None and (refused.code, refused.place.path) == ("100", "OBR[1]")


def test_an_alarm_of_nobody_is_refused() -> None:
    refused = arrive(notice(event()).replace(pid() + "\r", "")).fault
    assert refused is not None and refused.code == "100"

"""What a message says laid over what is stored: on the real core over a store in memory."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from fhir_server.interface import Core
from fhir_server.model import Entry, Resource
from tests.hl7_messages import header, message, obx, pid, segment
from tests.hl7_orders import MONITOR, device, obr, orc, order, sch, txa
from tests.unit.test_hl7_inbox import core, find, log, send

__all__ = ["core"]

TIMES = {"P": "20261120090000", "F": "20261120100000", "C": "20261120110000"}
VALUES = {"P": "5.1", "F": "5.2", "C": "5.4"}


def result(status: str, control: str = "", *rows: str, when: str = "", person: str = "") -> str:
    """Return a result of that status, sent when it had it."""
    about = segment("OBR", f3="L1", f4="GLU^Glucose^L", f7="20261120080000", f25=status)
    one = obx("2345-7^Glucose^LN", VALUES.get(status, "0"), "mmol/L", f11=status)
    start = header("ORU^R01^ORU_R01", control or status, when or TIMES[status])
    return message(start, person or pid(), about, *(rows or (one,)))


async def state(core: Core) -> tuple[Any, ...]:
    """Return what stands of the one result and of its report."""
    (one,), (report,) = await find(core, "Observation"), await find(core, "DiagnosticReport")
    return one["status"], str(one["valueQuantity"]["value"]), report["status"]


@pytest.mark.parametrize("order_", list(permutations("PFC")), ids=lambda found: " ".join(found))
async def test_whatever_order_the_states_of_a_result_come_in_the_last_one_stands(
    core: Core, order_: tuple[str, ...]
) -> None:
    await send(core, *(result(status) for status in order_))
    assert await state(core) == ("corrected", "5.4", "corrected")


@pytest.mark.parametrize("when", list(TIMES.values()), ids=["early", "between", "late"])
async def test_a_preliminary_result_never_replaces_a_final_one_whenever_it_was_sent(core: Core, when: str) -> None:
    await send(core, result("F"), result("P", when=when))
    assert await state(core) == ("final", "5.2", "final")
    assert [one["state"] for one in await log(core)] == ["applied", "superseded"]
    assert "older-than-stored" in {issue["rule"] for issue in (await log(core))[1]["issues"]}


async def test_a_result_that_was_never_seen_joins_the_report_though_its_message_is_late(core: Core) -> None:
    other = obx("2823-3^Potassium^LN", "4.0", "mmol/L", f11="P")
    await send(core, result("F"), result("P", "", other))
    (report,) = await find(core, "DiagnosticReport")
    assert (report["status"], len(report["result"]), len(await find(core, "Observation"))) == ("final", 2, 2)


async def test_the_same_final_result_again_changes_no_version(core: Core) -> None:
    await send(core, result("F", "C1"), result("F", "C2"))
    versions = {one["meta"]["versionId"] for one in await find(core, "Observation")}
    assert versions == {one["meta"]["versionId"] for one in await find(core, "DiagnosticReport")} == {"1"}


async def test_an_order_without_obr_changes_the_one_of_its_patient_only(core: Core) -> None:
    await send(core, order(orc(), obr()), order(orc("OC")).replace("|O1|P|", "|O2|P|"))
    (mine,) = await find(core, "ServiceRequest")
    assert (mine["status"], mine["code"]["coding"][0]["code"]) == ("revoked", "2345-7")
    await send(core, order(orc("NW")).replace("|O1|P|", "|O3|P|").replace("P1^^^CHU", "P2^^^CHU"))
    found = {one["subject"]["reference"]: one["status"] for one in await find(core, "ServiceRequest")}
    assert sorted(found.values()) == ["active", "revoked"] and len(found) == 2


async def test_an_appointment_keeps_what_a_later_message_does_not_say(core: Core) -> None:
    first = sch("S12", "RGS|1|A", "AIP|1|A|7^CURIE^MARIE", f8="Normal^^HL70277")
    await send(core, first, sch("S15", f9="", f11="", f6="SICK").replace("|S1|P|", "|S2|P|"))
    (made,) = await find(core, "Appointment")
    assert made["status"] == "cancelled" and made["start"].startswith("2026-12-01")
    assert [p["actor"].get("display", "patient") for p in made["participant"]] == ["patient", "MARIE CURIE"]
    assert made["cancelationReason"]["coding"][0]["code"] == "SICK"


async def test_an_older_message_about_an_appointment_changes_nothing(core: Core) -> None:
    late = sch("S13", f11="^^^20261205090000").replace("|20261120083000||SIU", "|20261120070000||SIU")
    await send(core, sch(), late.replace("|S1|P|", "|S2|P|"))
    assert (await find(core, "Appointment"))[0]["start"].startswith("2026-12-01")
    assert [one["state"] for one in await log(core)] == ["applied", "superseded"]


async def test_a_parent_that_is_not_stored_is_named_by_its_number_only(core: Core) -> None:
    await send(core, txa("T10", "OBX|1|TX|||Text", f13="D0^DPI"))
    (made,) = await find(core, "DocumentReference")
    assert made["relatesTo"][0]["target"].keys() == {"type", "identifier"}


async def test_a_device_that_is_known_by_its_number_stays_the_one_it_is(core: Core) -> None:
    number = {"system": "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680", "value": "00-12-21-00-00-00-00-01"}
    known: Resource = {"resourceType": "Device", "id": "bed-7", "identifier": [number], "serialNumber": "S7"}
    await core.submit([Entry("PUT", "Device/bed-7", known)], actor=core.internal("default", "test"))
    await send(core, device(*MONITOR))
    devices = {one["id"]: one for one in await find(core, "Device")}
    assert devices["bed-7"]["serialNumber"] == "S7" and "type" in devices["bed-7"] and len(devices) == 3
    parts = [one for id, one in devices.items() if id != "bed-7"]
    assert [one["parent"]["reference"] for one in parts] == ["Device/bed-7"] * 2
    (oxygen,) = [one for one in await find(core, "Observation") if "2708-6" in str(one["code"])]
    assert oxygen["device"] == {"reference": "Device/bed-7"}

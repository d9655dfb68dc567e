"""What messages say one after the other of one order, report, appointment or document."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fhir_server.interface import Core
from tests.hl7_core import find, hub, take
from tests.hl7_messages import WHEN, header, message, obx, pid, segment
from tests.hl7_orders import obr, orc, order, sch, txa

EARLIER, LATER, LAST = "20261120073000", "20261120093000", "20261120103000"


def at(text: str, when: str, sender: str = "") -> str:
    """Return a message as it was sent at a time, by another application where one is given."""
    start, _, rest = text.partition("\r")
    fields = start.split("|")
    fields[2], fields[6], fields[9] = sender or fields[2], when, f"{when}{sender}"
    return "|".join(fields) + "\r" + re.sub(r"(EVN\|T\d\d\|)\d+", rf"\g<1>{when}", rest)


def result(status: str = "F", **more: str) -> str:
    """Return the results of the order O1."""
    return message(
        header("ORU^R01^ORU_R01"), pid(), segment("ORC", f1="RE", f2="O1^DPI", f3="L1^LAB"),
        obr(f3="L1^LAB", f7=WHEN, f25=status, **more), obx(f11=status),
    )  # fmt: skip


ASKED = order(orc(f12="7^CURIE^MARIE", f14="^PRN^PH^^^^0102030405"), obr(f5="S", f31="D64^Anaemia^I10"))


async def only(core: Core, type: str) -> dict[str, Any]:
    (found,) = await find(core, type)
    return found


@pytest.mark.parametrize(("before", "after"), [("", "20261120090000"), ("20261120090000", ""), ("", "")])
async def test_a_result_whose_time_becomes_a_period_or_a_moment_is_applied(before: str, after: str) -> None:
    async with hub() as core:
        await take(core, at(result("P", f8=before), WHEN), at(result("F", f8=after), LATER))
        made = await only(core, "DiagnosticReport")
    assert made["status"] == "final"
    assert [name for name in made if name.startswith("effective")] == [
        "effectivePeriod" if after else "effectiveDateTime"
    ]


async def test_an_order_whose_moment_becomes_a_timing_is_applied() -> None:
    async with hub() as core:
        first, second = order(orc(), obr(f6=LATER)), order(orc("XO", f7="1^Q6H"), obr())
        await take(core, at(first, WHEN), at(second, LATER))
        assert [n for n in await only(core, "ServiceRequest") if n.startswith("occurrence")] == ["occurrenceTiming"]


@pytest.mark.parametrize("sender", ["", "HIS"], ids=["of one sender", "of another sender"])
async def test_an_order_that_comes_after_its_results_is_known_with_all_that_it_says(sender: str) -> None:
    async with hub() as core:
        await take(core, at(result(), LATER, sender and "LIS"), at(ASKED, WHEN, sender))
        made = await only(core, "ServiceRequest")
    assert made["status"] == "completed"
    assert made["requester"]["display"] == "MARIE CURIE"
    assert made.keys() >= {"authoredOn", "priority", "reasonCode"}
    assert {one["value"] for one in made["identifier"]} == {"O1", "L1"}


async def test_an_older_order_that_adds_nothing_is_superseded() -> None:
    async with hub() as core:
        effects = await take(core, at(ASKED, LATER), at(ASKED, WHEN))
    assert [effect.state for effect in effects] == ["applied", "superseded"]


async def test_what_is_only_asked_for_does_not_reopen_what_is_completed() -> None:
    async with hub() as core:
        await take(core, at(ASKED, WHEN), at(result(), LATER), at(order(orc("CA"), obr()), LAST))
        assert (await only(core, "ServiceRequest"))["status"] == "completed"


async def test_a_status_that_is_sent_reopens_it() -> None:
    async with hub() as core:
        await take(core, at(ASKED, WHEN), at(result(), LATER), at(order(orc("SC", f5="IP"), obr()), LAST))
        assert (await only(core, "ServiceRequest"))["status"] == "active"


async def test_each_extension_of_an_order_stays_until_it_is_said_anew() -> None:
    async with hub() as core:
        await take(core, at(ASKED, WHEN), at(order(orc("XO"), obr()), LATER))
        urls = [one["url"].rpartition("/")[2] for one in (await only(core, "ServiceRequest"))["extension"]]
    assert sorted(urls) == ["businessEvent", "servicerequest-order-callback-phone-number"]


async def test_who_asks_now_does_not_leave_the_one_who_asked_before_behind() -> None:
    async with hub() as core:
        with_facility = order(orc(f12="7^CURIE^MARIE", f21="CHU^L^H1"), obr())
        await take(core, at(with_facility, WHEN), at(order(orc("XO", f12="8^CURIE^PIERRE"), obr()), LATER))
        made = await only(core, "ServiceRequest")
    assert "contained" not in made and made["requester"]["display"] == "PIERRE CURIE"


SERVICE, OTHER_SERVICE = "AIS|1|A|CARD^Cardiology^L", "AIS|2|A|ECG^Electrocardiogram^L"
ROOM, MACHINE = "AIL|1|A|CONS^12", "AIG|1|A|ECHO1^Echograph^L"
DOCTOR, NURSE = "AIP|1|A|7^CURIE^MARIE", "AIP|2|A|8^NIGHT^FLO"
ALL = ("RGS|1|A", SERVICE, MACHINE, ROOM, DOCTOR)
EVERYBODY = {"Echograph", "CONS 12", "MARIE CURIE", "contact"}


def _named(appointment: dict[str, Any]) -> set[str]:
    """Return whom an appointment is with, beside the patient."""
    return {
        "contact" if one.get("type", [{}])[0].get("text") else one["actor"]["display"]
        for one in appointment["participant"]
        if "reference" not in one["actor"]
    }


@pytest.mark.parametrize(
    ("event", "rows", "people", "services"),
    [
        pytest.param("S15", (), EVERYBODY, {"CARD"}, id="a cancellation without resources leaves them all"),
        pytest.param("S13", (), EVERYBODY, {"CARD"}, id="so does a new time"),
        pytest.param(
            "S14", ("RGS|1|U", ROOM.replace("|A|", "|D|"), NURSE), EVERYBODY - {"CONS 12"} | {"FLO NIGHT"}, {"CARD"},
            id="a room is taken out, a nurse added",
        ),
        pytest.param(
            "S14", (SERVICE.replace("|A|", "|D|"), OTHER_SERVICE), EVERYBODY, {"ECG"}, id="a service takes another's place"
        ),
        pytest.param("S14", (SERVICE, NURSE), {"FLO NIGHT", "contact"}, {"CARD"}, id="a whole list replaces the list"),
        pytest.param("S18", (NURSE,), EVERYBODY | {"FLO NIGHT"}, {"CARD"}, id="S18 adds"),
        pytest.param("S19", (DOCTOR.replace("|A|", "|U|"),), EVERYBODY, {"CARD"}, id="S19 changes one"),
        pytest.param("S20", ("AIP|1||7^CURIE^MARIE",), EVERYBODY - {"MARIE CURIE"}, {"CARD"}, id="S20 takes out"),
        pytest.param(
            "S22", ("AIG|1|D|ECHO1^Echograph^L", DOCTOR), EVERYBODY - {"Echograph"}, {"CARD"}, id="S22 by its action code"
        ),
        pytest.param("S21", ("AIS|1||CARD^Cardiology^L",), EVERYBODY, set(), id="S21 takes the only service out"),
    ],
)  # fmt: skip
async def test_resources_of_an_appointment(
    event: str, rows: tuple[str, ...], people: set[str], services: set[str]
) -> None:
    async with hub() as core:
        await take(core, at(sch("S12", *ALL, f16="9^DESK^ANN"), WHEN), at(sch(event, *rows), LATER))
        made = await only(core, "Appointment")
    assert _named(made) == people
    assert {one["coding"][0]["code"] for one in made.get("serviceType", ())} == services


async def test_what_stays_of_an_appointment_that_was_moved_has_no_time_of_its_own() -> None:
    row = segment("AIP", f1="1", f2="A", f3="7^CURIE^MARIE", f6="20261201090000", f9="30", f10="min")
    async with hub() as core:
        await take(core, at(sch("S12", row), WHEN), at(sch("S13", f11="^^^20261202090000"), LATER))
        made = await only(core, "Appointment")
    assert made["start"].startswith("2026-12-02")
    assert [one for one in made["participant"] if "period" in one] == []


async def test_an_appointment_that_was_cancelled_before_it_was_heard_of_is_known_with_its_time() -> None:
    async with hub() as core:
        await take(core, at(sch("S15", f9="", f11=""), LATER), at(sch("S12", *ALL), WHEN))
        made = await only(core, "Appointment")
    assert made["status"] == "cancelled" and made["start"].startswith("2026-12-01")
    assert "MARIE CURIE" in _named(made)


async def test_a_booking_that_is_older_than_its_new_time_leaves_its_end_alone() -> None:
    async with hub() as core:
        await take(core, at(sch("S13", f9="", f11="^^^20261202090000"), LATER), at(sch("S12"), WHEN))
        made = await only(core, "Appointment")
    assert made["start"] == made["end"] and "minutesDuration" not in made


TEXT = "OBX|1|TX|CR^Report^L||The report||||||F"


async def test_a_document_that_comes_after_its_new_status_is_known_with_its_content() -> None:
    async with hub() as core:
        await take(core, at(txa("T03", f17="LA"), LATER), at(txa("T02", TEXT, f17="DI", f25="Title"), WHEN))
        made = await only(core, "DocumentReference")
    assert "data" in made["content"][0]["attachment"]
    assert (made["docStatus"], made["description"]) == ("final", "Title")


async def test_an_older_document_does_not_replace_the_content() -> None:
    async with hub() as core:
        await take(core, at(txa("T02", TEXT), LATER), at(txa("T02", TEXT.replace("The", "Old")), WHEN))
        first = await only(core, "DocumentReference")
    assert first["content"][0]["attachment"]["data"] == "VGhlIHJlcG9ydA=="


async def test_a_cancelled_replacement_still_says_what_it_replaced() -> None:
    async with hub() as core:
        replacing = txa("T10", TEXT, f12="D2^DPI", f13="D1^DPI")
        await take(core, at(txa("T02", TEXT), EARLIER), at(replacing, WHEN))
        await take(core, at(txa("T11", f12="D2^DPI", f13="D1^DPI"), LATER))
        found = {one["masterIdentifier"]["value"]: one for one in await find(core, "DocumentReference")}
    assert found["D2"]["status"] == "entered-in-error"
    assert [one["code"] for one in found["D2"]["relatesTo"]] == ["replaces"]


async def test_a_document_keeps_its_order_and_its_stay_when_it_is_edited() -> None:
    first = txa("T02", TEXT, f4=WHEN, f14="O1^DPI")
    async with hub() as core:
        await take(core, at(first, WHEN), at(txa("T08", TEXT, f4=LATER).replace("PV1||O", "PV1||"), LATER))
        made = await only(core, "DocumentReference")
    assert made["context"].keys() >= {"related", "period", "encounter"}
    assert made["context"]["period"]["start"].startswith("2026-11-20T09:30")


async def test_a_correction_that_comes_while_another_test_of_the_report_is_still_out_is_taken() -> None:
    about = segment("OBR", f3="L1^LAB", f4="X^X^L", f7=WHEN)
    glucose, other = obx("2345-7^Glucose^LN", "5.0", "mmol/L"), obx("2823-3^Potassium^LN", "", "", f11="I")
    corrected = obx("2345-7^Glucose^LN", "5.5", "mmol/L", f11="C")
    first = message(header("ORU^R01^ORU_R01"), pid(), about + "|" * 18 + "F", glucose)
    second = message(header("ORU^R01^ORU_R01"), pid(), about + "|" * 18 + "P", corrected, other)
    async with hub() as core:
        await take(core, at(first, WHEN), at(second, LATER))
        found = {one["code"]["coding"][0]["code"]: one for one in await find(core, "Observation")}
        report = await only(core, "DiagnosticReport")
        assert (found["2345-7"]["status"], str(found["2345-7"]["valueQuantity"]["value"])) == ("corrected", "5.5")
        assert (report["status"], len(report["result"])) == ("final", 2)
        await take(core, at(second.replace("|5.5|", "|5.1|"), EARLIER))
        again = {one["code"]["coding"][0]["code"]: one for one in await find(core, "Observation")}
    assert str(again["2345-7"]["valueQuantity"]["value"]) == "5.5"

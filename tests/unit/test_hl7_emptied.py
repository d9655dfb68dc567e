"""What a sender empties is gone, and numbers that two patients share keep theirs apart."""

from __future__ import annotations

import pytest

from tests.hl7_core import find, hub, take
from tests.hl7_messages import WHEN, adt, arrive, header, message, obx, pid, pv1, segment
from tests.hl7_orders import obr, orc, order, sch, txa

LATER = "20261120093000"
OTHER = "P2^^^CHU&1.2.250.1.999.1&ISO^PI"


def sent(control: str, when: str, *rows: str, who: str = "", visit: str = "V1", **person: str) -> str:
    """Return an A08 with further segments."""
    about = pid(**({"id": who} if who else {}), **person)
    return message(header("ADT^A08", control, when), f"EVN||{when}", about, *rows, pv1(visit))


@pytest.mark.parametrize(
    "emptied",
    [
        pytest.param('PD1||||""', id="PD1-4"),
        pytest.param('PD1|||""', id="PD1-3"),
        pytest.param('PD1|||""|""', id="both"),
    ],
)
async def test_the_null_value_takes_the_general_practitioners_away(emptied: str) -> None:
    async with hub() as core:
        await take(core, sent("C1", WHEN, "PD1|||CENTRE^^9|7^HOUSE^G"), sent("C2", LATER, "PD1|||"))
        assert len((await find(core, "Patient"))[0]["generalPractitioner"]) == 2
        await take(core, sent("C3", LATER, emptied))
        assert "generalPractitioner" not in (await find(core, "Patient"))[0]


async def test_where_one_of_them_is_named_and_the_other_deleted_the_one_is_the_list() -> None:
    async with hub() as core:
        await take(core, sent("C1", WHEN, "PD1|||CENTRE^^9|7^HOUSE^G"), sent("C2", LATER, 'PD1|||""|8^OTHER^G'))
        assert [one["display"] for one in (await find(core, "Patient"))[0]["generalPractitioner"]] == ["G OTHER"]


async def test_the_null_value_takes_the_account_away() -> None:
    async with hub() as core:
        await take(core, sent("C1", WHEN, f18="A1^^^CHU"), sent("C2", LATER))
        assert "account" in (await find(core, "Encounter"))[0]
        await take(core, sent("C3", LATER, f18='""'))
        assert "account" not in (await find(core, "Encounter"))[0]


@pytest.mark.parametrize("row", ['IN1|1|""', "IN1|1", 'IN1|1|""|""|""'])
async def test_an_insurance_without_content_is_none(row: str) -> None:
    async with hub() as core:
        await take(core, sent("C1", WHEN, row))
        assert await find(core, "Coverage") == []


@pytest.mark.parametrize(
    ("row", "type"),
    [
        pytest.param(segment("DG1", f1="1", f3="I10^Hypertension^I10", f20="1^DPI"), "Condition", id="a diagnosis"),
        pytest.param(segment("PR1", f1="1", f3="X^Operation^L", f5=WHEN, f19="1^DPI"), "Procedure", id="a procedure"),
    ],
)
async def test_a_number_that_two_patients_share_keeps_theirs_apart(row: str, type: str) -> None:
    async with hub() as core:
        await take(core, sent("C1", WHEN, row), sent("C2", WHEN, row, who=OTHER, visit="V2"))
        found = {one["subject"]["reference"] for one in await find(core, type)}
        assert found == {f"Patient/{one['id']}" for one in await find(core, "Patient")} and len(found) == 2


async def test_a_diagnosis_that_is_told_again_under_its_number_is_the_same() -> None:
    row = segment("DG1", f1="1", f3="I10^Hypertension^I10", f20="1^DPI")
    async with hub() as core:
        await take(core, adt(), sent("C2", WHEN, row), sent("C3", LATER, row.replace("I10^Hyper", "I11^Hyper")))
        assert [one["code"]["coding"][0]["code"] for one in await find(core, "Condition")] == ["I11"]


def later(text: str) -> str:
    """Return a message as one that was sent an hour after."""
    return text.replace(WHEN, LATER)


SPECIMEN = segment("SPM", f1="1", f2="S1&DPI^S2&LAB", f4="BLD^^HL70487", f18=WHEN, f24="HEM^^HL70493")


@pytest.mark.parametrize(
    ("first", "second", "type", "gone", "kept"),
    [
        pytest.param(
            order(orc(), obr(f5="S", f31="D64^Anaemia^I10")), order(orc(), obr(f31='""')),
            "ServiceRequest", "reasonCode", "priority", id="OBR-31 of an order",
        ),
        pytest.param(
            order(orc(f29="O^^HL70482", f12="7^C^M"), obr()), order(orc(f29='""'), obr()),
            "ServiceRequest", "locationCode", "requester", id="ORC-29 of an order",
        ),
        pytest.param(
            sch(f6="CTRL^Control^L", f8="Normal^^HL70277"), sch(f6='""'),
            "Appointment", "reasonCode", "appointmentType", id="SCH-6 of an appointment",
        ),
        pytest.param(
            txa("T02", obx("X^Y^L", "Text", "", "TX"), f18="R", f25="Title"), txa("T02", f18='""', f25=""),
            "DocumentReference", "securityLabel", "description", id="TXA-18 of a document",
        ),
        pytest.param(
            order(orc(), obr(), SPECIMEN, kind="OML^O21^OML_O21"),
            order(orc(), obr(), SPECIMEN.replace("HEM^^HL70493", '""'), kind="OML^O21^OML_O21"),
            "Specimen", "condition", "type", id="SPM-24 of a specimen",
        ),
    ],
)  # fmt: skip
async def test_the_null_value_empties(first: str, second: str, type: str, gone: str, kept: str) -> None:
    async with hub() as core:
        await take(core, first)
        (before,) = await find(core, type)
        await take(core, later(second))
        (after,) = await find(core, type)
    assert gone in before and kept in before
    assert gone not in after and kept in after


async def test_an_older_null_value_empties_nothing() -> None:
    async with hub() as core:
        await take(core, later(sch(f6="CTRL^Control^L")), sch(f6='""'))
        assert "reasonCode" in (await find(core, "Appointment"))[0]


@pytest.mark.parametrize(
    ("kin", "told"),
    [
        pytest.param(
            "NK1|1|A^B~C^D|EMR^Employer", [("NK1[1]-2", "repetition-not-used")], id="a second name of an employer"
        ),
        pytest.param(
            "NK1|1|A^B|EMR^Employer|1 r^^X~2 r^^Y", [("NK1[1]-4", "repetition-not-used")], id="its second address"
        ),
        pytest.param("NK1|1|A^B~C^D|SPO^Spouse", [], id="a spouse has both, as a related person"),
    ],
)
def test_what_a_contact_has_no_place_for_is_told(kin: str, told: list[tuple[str, str]]) -> None:
    found = arrive(sent("C1", WHEN, kin)).problems
    assert [(one.path, one.rule) for one in found if one.rule == "repetition-not-used"] == told

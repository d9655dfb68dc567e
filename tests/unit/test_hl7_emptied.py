"""What a sender empties is gone, and numbers that two patients share keep theirs apart."""

from __future__ import annotations

import pytest

from tests.hl7_core import find, hub, take
from tests.hl7_messages import WHEN, adt, header, message, pid, pv1, segment

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

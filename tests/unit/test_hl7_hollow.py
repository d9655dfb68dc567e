"""Fields that are there and say nothing, or what cannot be, keep no message from being applied."""

from __future__ import annotations

import pytest

from tests.hl7_core import find, hub, take
from tests.hl7_messages import WHEN, header, message, obx, oru, pid, pv1, rules, segment
from tests.hl7_orders import obr, orc, order

LATER = "20261120093000"


def stay(*rows: str, control: str = "C1", when: str = WHEN) -> str:
    """Return an admission with further segments."""
    return message(header("ADT^A01", control, when), f"EVN||{when}", pid(), pv1(), *rows)


@pytest.mark.parametrize("unit", ["^", "^^^", "^^L", " ", "^ ^UCUM"])
@pytest.mark.parametrize("kind", ["ST", "TX", "NM"])
async def test_a_text_without_a_unit_has_none_however_its_delimiters_are_written(unit: str, kind: str) -> None:
    async with hub() as core:
        await take(core, oru(obx("X^X^L", "negative", unit, kind)))
        (made,) = await find(core, "Observation")
    assert made["valueString"] == "negative" and "_valueString" not in made


async def test_an_insured_person_of_whom_only_a_suffix_is_told_has_no_name() -> None:
    async with hub() as core:
        await take(core, stay("IN1|1|P|9|N" + "|" * 12 + "^^^Jr|SPO"))
        assert "subscriber" not in (await find(core, "Coverage"))[0]


async def test_an_allergen_that_is_named_twice_without_a_code_has_no_codings() -> None:
    row = segment("IAM", f1="1", f2="DA", f3="^Penicillin", f6="A", f7="1^DPI", f27="^Penicillin")
    async with hub() as core:
        await take(core, message(header("ADT^A60^ADT_A60"), f"EVN||{WHEN}", pid(), row))
        assert (await find(core, "AllergyIntolerance"))[0]["code"] == {"text": "Penicillin"}


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(order(orc("XO", f12='""'), obr()), id="ORC-12"),
        pytest.param(order(orc("XO"), obr(f16='""')), id="OBR-16"),
    ],
)
async def test_who_asked_is_taken_away_with_the_facility_that_was_told_along(second: str) -> None:
    first = order(orc(f12="7^CURIE^MARIE", f21="CHU^L^H1"), obr())
    async with hub() as core:
        await take(core, first, second.replace(WHEN, LATER))
        (made,) = await find(core, "ServiceRequest")
    assert made.keys() & {"requester", "contained"} == set()


async def test_a_movement_that_ends_before_it_begins_has_no_end() -> None:
    text = stay(f"ZBE|1^CHU|{WHEN}|20261119080000|INSERT|N||UF1")
    async with hub() as core:
        await take(core, text)
        (made,) = await find(core, "Encounter")
    assert [one["period"].keys() for one in made["location"]] == [{"start"}]
    assert rules(text)["period-reversed"] == "ZBE[1]-3"

"""A blood pressure whose two values are not equally far."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hl7_core import find, hub, take
from tests.hl7_messages import WHEN, header, message, obx, pid, segment

LATER = "20261120093000"


def pressure(systolic: tuple[str, str], diastolic: tuple[str, str], status: str, when: str) -> str:
    """Return a message of one pressure: value and OBX-11 of each."""
    return message(
        header("ORU^R01^ORU_R01", when, when), pid(), segment("OBR", f3="L1^MON", f4="V^V^L", f7=WHEN, f25=status),
        obx("8480-6^Systolic^LN", systolic[0], "mmHg", f11=systolic[1]),
        obx("8462-4^Diastolic^LN", diastolic[0], "mmHg", f11=diastolic[1]),
    )  # fmt: skip


def told(made: dict[str, Any]) -> tuple[str, list[str]]:
    """Return status and values."""
    values = [one.get("valueQuantity", {}).get("value", "-") for one in made["component"]]
    return made["status"], [str(value) for value in values]


@pytest.mark.parametrize(
    ("systolic", "diastolic", "status", "values"),
    [
        pytest.param(("125", "C"), ("80", "F"), "corrected", ["125", "80"], id="one is corrected"),
        pytest.param(("120", "F"), ("85", "C"), "corrected", ["120", "85"], id="the other is"),
        pytest.param(("125", "A"), ("80", "F"), "amended", ["125", "80"], id="one is amended"),
        pytest.param(("125", "C"), ("", "X"), "corrected", ["125", "-"], id="one is not obtained"),
        pytest.param(("120", "F"), ("80", "D"), "final", ["120", "-"], id="one is taken back"),
        pytest.param(("120", "D"), ("80", "D"), "entered-in-error", ["120", "80"], id="both are"),
    ],
)
async def test_a_later_state_of_one_value_is_one_of_the_pressure(
    systolic: tuple[str, str], diastolic: tuple[str, str], status: str, values: list[str]
) -> None:
    async with hub() as core:
        await take(core, pressure(("120", "F"), ("80", "F"), "F", WHEN))
        await take(core, pressure(systolic, diastolic, "C", LATER))
        (made,) = await find(core, "Observation")
    assert told(made) == (status, values)
    assert all("valueQuantity" in one or "dataAbsentReason" in one for one in made["component"])


async def test_a_pressure_of_which_one_value_is_not_final_is_preliminary() -> None:
    async with hub() as core:
        await take(core, pressure(("120", "F"), ("80", "P"), "P", WHEN))
        assert told((await find(core, "Observation"))[0]) == ("preliminary", ["120", "80"])

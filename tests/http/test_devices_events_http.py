"""Falls and other events over HTTP: what they make of the alert that is open already."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.devices.watch import MEASURED
from tests.bedside import Bedside, ago
from tests.running import RunningHub

FALL = {"system": "mdc", "code": "8519681"}
DAYS = 2 * 86_400
OLD = "Événement ancien"


def alert(bed: Bedside) -> tuple[str, int, bool, int]:
    """Return priority, place, whether it is told as history, and the measurements of the one open alert."""
    (task,) = bed.found(f"Task?patient={bed.patient}&code=urn:predmp:triage:family|fall")
    (place,) = [item["valueInteger"] for item in task["extension"] if item["url"].endswith(":worklist-rank")]
    return task["priority"], place, task["description"].startswith(OLD), len(task["input"])


@pytest.mark.parametrize(
    "before",
    [
        pytest.param((DAYS, 10), id="an old one first: the fresh one raises the alert"),
        pytest.param((10, DAYS), id="an old one last: it does not cover the fresh one"),
        pytest.param((DAYS, 20, DAYS + 60, 10), id="in turn"),
    ],
)
def test_a_fresh_fall_is_at_its_rank_whatever_comes_late(hub: RunningHub, before: tuple[int, ...]) -> None:
    bed = Bedside(hub)
    falls = [bed.stored({**FALL, "at": ago(seconds)}) for seconds in before]
    assert alert(bed) == ("stat", 2, False, len(falls))
    (task,) = bed.found(f"Task?patient={bed.patient}")
    fresh = {f"Observation/{fall['id']}" for fall, seconds in zip(falls, before, strict=True) if seconds < DAYS}
    assert task["focus"]["reference"] in fresh
    assert task["restriction"]["period"]["end"] < ago(-1_500)


def test_a_fall_told_late_is_low(hub: RunningHub) -> None:
    bed = Bedside(hub)
    bed.stored({**FALL, "at": ago(DAYS)})
    assert alert(bed) == ("routine", 5, True, 1)


@pytest.mark.parametrize("status", ["invalid", "not-available"])
def test_a_fall_that_its_device_takes_back_is_no_alert(hub: RunningHub, status: str) -> None:
    bed = Bedside(hub)
    assert "dataAbsentReason" in bed.stored({**FALL, "at": ago(10), "status": [status]})
    assert bed.found(f"Task?patient={bed.patient}") == []


@pytest.mark.parametrize(
    ("reading", "more", "count"),
    [
        pytest.param({"value": 71}, {}, 1, id="a weight has come"),
        pytest.param({"value": 71}, {"test": True}, 0, id="a test is no patient's"),
        pytest.param({"value": 71, "status": ["invalid"]}, {}, 0, id="a weight that its device takes back"),
        pytest.param({"absent": "not-performed"}, {}, 0, id="a weight that was not taken"),
    ],
)
def test_what_ends_the_wait_for_a_measurement(
    hub: RunningHub, reading: dict[str, Any], more: dict[str, Any], count: int
) -> None:
    bed, unit = Bedside(hub), {} if "absent" in reading else {"unit": "kg"}
    bed.stored({"code": "29463-7", **reading, **unit, "at": ago(10)}, **more)
    assert len(bed.found(f"Observation?patient={bed.patient}&code=29463-7&{MEASURED}")) == count


def test_an_event_that_is_kept_aside_is_told_in_the_log_without_whose_it_is(hub: RunningHub) -> None:
    bed, line = Bedside(hub, is_assigned=False), "an event of a device was kept aside (patient-unassigned)"
    before = hub.logged().count(line)
    pulse = {"code": "8867-4", "value": 70, "unit": "/min"}
    results = bed.send(*({**reading, "at": ago(10)} for reading in (FALL, pulse)))
    assert [result["reason"] for result in results] == ["patient-unassigned"] * 2
    assert hub.logged().count(line) == before + 1
    assert not any(text in hub.logged() for text in (bed.serial, bed.ins))

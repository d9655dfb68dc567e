"""Whose reading it is, at its own time."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.devices import reason
from adapters.devices.assignment import SESSION, Assigned, patient_at, use_of
from adapters.devices.instant import exact
from adapters.devices.ownership import Use, patient_of
from adapters.devices.reason import Reason

PARIS = ZoneInfo("Europe/Paris")
ANNE, BRUNO = "Patient/anne", "Patient/bruno"


def at(text: str) -> int:
    made = exact(text)
    assert made is not None
    return made


def use(patient: str, status: str = "active", **timing: Any) -> Use:
    made = use_of({"subject": {"reference": patient}, "status": status, **timing}, PARIS)
    assert made is not None
    return made


def period(start: str = "", end: str = "") -> dict[str, Any]:
    return {"timingPeriod": {key: text for key, text in (("start", start), ("end", end)) if text}}


NOON = "2026-11-20T12:00:00+01:00"
OCTOBER = use(ANNE, "completed", **period("2026-10-01", "2026-10-31"))
NOVEMBER = use(BRUNO, **period("2026-11-01"))


@pytest.mark.parametrize(
    ("assigned", "when", "expected"),
    [
        pytest.param(Assigned("Device/1", ANNE, ()), NOON, ANNE, id="the device says its patient"),
        pytest.param(Assigned("Device/1", "", ()), NOON, reason.UNASSIGNED, id="nobody"),
        pytest.param(Assigned("Device/1", "", (OCTOBER, NOVEMBER)), NOON, BRUNO, id="who uses it now"),
        pytest.param(
            Assigned("Device/1", "", (OCTOBER, NOVEMBER)), "2026-10-20T12:00:00+02:00", ANNE, id="who used it then"
        ),
        pytest.param(
            Assigned("Device/1", BRUNO, (OCTOBER,)), "2026-10-31T23:59:59+01:00", ANNE, id="the last day counts whole"
        ),
        pytest.param(
            Assigned("Device/1", BRUNO, (OCTOBER,)), "2026-11-01T00:00:00+01:00", BRUNO, id="then the device's patient"
        ),
        pytest.param(
            Assigned("Device/1", BRUNO, (OCTOBER,)),
            "2026-09-01T12:00:00Z",
            reason.UNASSIGNED,
            id="Device.patient does not know the past",
        ),
        pytest.param(
            Assigned("Device/1", ANNE, (NOVEMBER,)), NOON, reason.PATIENT_AMBIGUOUS, id="device and statement disagree"
        ),
        pytest.param(
            Assigned("Device/1", "", (NOVEMBER, use(ANNE, **period("2026-11-10")))),
            NOON,
            reason.PATIENT_AMBIGUOUS,
            id="two statements disagree",
        ),
        pytest.param(Assigned("Device/1", BRUNO, (NOVEMBER,)), NOON, BRUNO, id="device and statement agree"),
        pytest.param(
            Assigned("Device/1", "", (NOVEMBER,)), "2026-10-31T23:59:59+01:00", reason.UNASSIGNED, id="before it began"
        ),
        pytest.param(Assigned("Device/1", "", (use(ANNE),)), NOON, ANNE, id="an active statement without time"),
    ],
)
def test_the_patient_of_a_moment(assigned: Assigned, when: str, expected: str | Reason) -> None:
    assert patient_at(assigned, at(when)) == expected


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param({"subject": {"reference": ANNE}, "status": "entered-in-error"}, id="entered in error"),
        pytest.param({"subject": {"reference": ANNE}, "status": "intended"}, id="not yet in use"),
        pytest.param({"subject": {"reference": ANNE}, "status": "completed"}, id="over, without saying when"),
        pytest.param({"subject": {"reference": "Group/1"}, "status": "active"}, id="a group is no person"),
        pytest.param({"status": "active"}, id="no subject"),
    ],
)
def test_a_statement_that_assigns_nobody(statement: dict[str, Any]) -> None:
    assert use_of(statement, PARIS) is None


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        pytest.param({"reference": "Patient/1"}, "Patient/1", id="a local reference"),
        pytest.param({"reference": "Patient/1/_history/2"}, "Patient/1", id="of a version"),
        pytest.param({"reference": "https://other.example/Patient/1"}, "", id="elsewhere"),
        pytest.param({"reference": "Group/1"}, "", id="another type"),
        pytest.param({"display": "Anne"}, "", id="a name only"),
        pytest.param({"reference": ["Patient/1"]}, "", id="a list"),
        pytest.param(None, "", id="nothing"),
    ],
)
def test_only_a_local_patient_is_a_patient(reference: Any, expected: str) -> None:
    assert patient_of(reference) == expected


def test_a_day_is_one_of_the_zone() -> None:
    made = use(ANNE, **period("2026-03-29", "2026-03-29"))
    assert made.first is not None and made.after is not None
    assert (made.after - made.first) // 3_600_000_000 == 23, "clocks go forward that night"
    assert use(ANNE, **period("2026", "2026")).after == at("2027-01-01T00:00:00+01:00")
    assert use(ANNE, **period("2026-12", "2026-12")).after == at("2027-01-01T00:00:00+01:00")
    assert use(ANNE, timingDateTime="2026-11-01T08:00:00Z").first == at("2026-11-01T08:00:00Z")
    bounded = {"repeat": {"boundsPeriod": {"start": "2026-11-01"}}}
    assert use(ANNE, timingTiming=bounded).first == at("2026-11-01T00:00:00+01:00")


def of_session(patient: str, id: str) -> Use:
    made = use_of(
        {
            "subject": {"reference": patient},
            "status": "active",
            "identifier": [{"system": SESSION, "value": id}],
            **period("2026-11-20T11:00:00+01:00"),
        },
        PARIS,
    )
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("assigned", "session", "expected"),
    [
        pytest.param(
            Assigned("Device/1", "", (of_session(ANNE, "a"), of_session(BRUNO, "b"))), "b", BRUNO, id="its own patient"
        ),
        pytest.param(
            Assigned("Device/1", "", (of_session(ANNE, "a"), of_session(BRUNO, "b"))),
            "",
            reason.PATIENT_AMBIGUOUS,
            id="nobody for what came by another way",
        ),
        pytest.param(
            Assigned("Device/1", ANNE, (of_session(BRUNO, "b"),)),
            "b",
            reason.PATIENT_AMBIGUOUS,
            id="nobody where the device is another's own",
        ),
        pytest.param(
            Assigned("Device/1", "", (use(ANNE, **period("2026-11-10")), of_session(BRUNO, "b"))),
            "b",
            reason.PATIENT_AMBIGUOUS,
            id="nobody where another uses it beside any session",
        ),
        pytest.param(
            Assigned("Device/1", "", (of_session(ANNE, "a"),)), "b", ANNE, id="who had it, where the session did not"
        ),
    ],
)
def test_what_a_session_decides(assigned: Assigned, session: str, expected: str | Reason) -> None:
    assert patient_at(assigned, at(NOON), session=session) == expected

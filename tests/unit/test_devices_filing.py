"""When it was measured, what it is known by, what is odd about it, what is waited for: the pure parts of the intake."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.devices import reason
from adapters.devices.artefact import FLAT, JUMP, PROBE, SAME, Memory
from adapters.devices.assessment import assess
from adapters.devices.correction import Effective, effective
from adapters.devices.filing import name_of
from adapters.devices.identity import EUI_64, phd_identifier
from adapters.devices.instant import exact, moved, spoken
from adapters.devices.reading import Clock, DeviceName, Measured, Reading
from adapters.devices.reading_json import read_reading
from adapters.devices.reason import Reason
from adapters.devices.register import Filed, match
from adapters.devices.watch import expected, interval_of, is_overdue

NOW = exact("2026-11-20T12:00:00Z")
UTC = ZoneInfo("UTC")
PHD = DeviceName(EUI_64, "74-E8-FF-FE-FF-05-1C-00")
MINUTE = 60_000_000


def fit(raw: dict[str, Any]) -> tuple[Reading, Measured]:
    reading = read_reading(raw)
    assert isinstance(reading, Reading)
    made = assess(reading)
    assert isinstance(made, Measured), made
    return reading, made


AT = "2026-11-20T11:00:00+01:00"


def spo2(value: object = 97, at: str = "2026-11-20T11:00:00+01:00", **more: Any) -> dict[str, Any]:
    return {"system": "mdc", "code": "150456", "value": value, "unit": "%", "at": at, **more}


@pytest.mark.parametrize(
    ("at", "clock", "expected_at"),
    [
        pytest.param("2026-11-20T11:00:00+01:00", None, "2026-11-20T11:00:00+01:00", id="no clock told: as it is"),
        pytest.param(
            "2025-11-20T11:00:00.5Z",
            Clock("2025-11-20T12:00:00Z", "2026-11-20T13:00:00+01:00"),
            "2026-11-20T12:00:00.5+01:00",
            id="a year is added, in the gateway's zone, with the decimals it had",
        ),
        pytest.param(
            "2026-11-20T11:00:00Z",
            Clock("2026-11-20T12:00:00Z", "2026-11-20T12:00:01Z"),
            "2026-11-20T11:00:00Z",
            id="a second is reading the clock",
        ),
        pytest.param(
            "2026-11-20T14:00:00Z",
            Clock("2026-11-20T15:00:00Z", "2026-11-20T12:00:00Z"),
            "2026-11-20T11:00:00+00:00",
            id="a clock that is fast",
        ),
    ],
)
def test_a_clock_is_put_right(at: str, clock: Clock | None, expected_at: str) -> None:
    made = effective(fit(spo2(at=at))[1], clock, NOW or 0)
    assert isinstance(made, Effective) and made.at == expected_at and made.instant == exact(expected_at)


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        pytest.param("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", id="is the second after it"),
        pytest.param("2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.25Z", id="with its decimals"),
        pytest.param("2017-01-01T00:59:60+01:00", "2017-01-01T00:00:00Z", id="in another zone"),
        pytest.param("2017-01-01T05:29:60+05:30", "2017-01-01T00:00:00Z", id="of half an hour too"),
        pytest.param("2016-12-31T22:59:60Z", None, id="at another hour is none"),
        pytest.param("2016-12-30T23:59:60Z", None, id="within a month is none"),
        pytest.param("9999-12-31T23:59:60Z", None, id="at the end of the calendar is none"),
    ],
)
def test_a_leap_second(text: str, expected_text: str | None) -> None:
    assert exact(text) == (exact(expected_text) if expected_text else None)
    if expected_text:
        assert exact(moved(text, 1_000_000)) == exact(moved(expected_text, 1_000_000))


@pytest.mark.parametrize(
    ("more", "is_taken"),
    [
        pytest.param({"end": "2026-11-20T12:05:00Z"}, True, id="an end five minutes ahead"),
        pytest.param({"end": "2026-12-01T00:00:00Z"}, False, id="an end that is days ahead"),
    ],
)
def test_a_measurement_does_not_end_in_the_future(more: dict[str, Any], is_taken: bool) -> None:
    steps = {"code": "55423-8", "value": 10, "unit": "steps", "at": "2026-11-20T11:00:00Z", **more}
    made = effective(fit(steps)[1], None, NOW or 0)
    assert (made is not reason.TIME_FUTURE) == is_taken


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        pytest.param("100", None, id="that may have been measured by now"),
        pytest.param("2000000", reason.TIME_FUTURE, id="whose end is ahead of the hub"),
        pytest.param("2e9", reason.TIME_UNREADABLE, id="of more than a month"),
        pytest.param("1e30", reason.TIME_UNREADABLE, id="of more than a calendar has"),
    ],
)
def test_a_wave(period: str, expected: Reason | None) -> None:
    samples = {"unit": "mV", "period": period, "data": "1 2"}
    reading = read_reading({"system": "mdc", "code": "131330", "at": "2026-11-20T11:59:00Z", "samples": samples})
    assert isinstance(reading, Reading)
    made = assess(reading)
    when = made if isinstance(made, Reason) else effective(made, None, NOW or 0)
    assert (when if isinstance(when, Reason) else None) is expected


@pytest.mark.parametrize(
    ("at", "expected_reason"),
    [
        pytest.param("2026-11-20T12:05:00Z", None, id="five minutes ahead are taken"),
        pytest.param("2026-11-20T12:05:01Z", reason.TIME_FUTURE, id="more are not"),
        pytest.param("2000-01-01T00:00:30Z", reason.TIME_IMPLAUSIBLE, id="a clock that was never set"),
        pytest.param("1970-01-01T00:00:30Z", reason.TIME_IMPLAUSIBLE, id="nor this one"),
    ],
)
def test_times_that_are_not_believed(at: str, expected_reason: Reason | None) -> None:
    made = effective(fit(spo2(at=at))[1], None, NOW or 0)
    assert (made if isinstance(made, Reason) else None) == expected_reason


def test_a_duration_moves_as_a_whole() -> None:
    raw = {
        "code": "55423-8",
        "value": 812,
        "unit": "steps",
        "at": "2025-11-20T11:00:00Z",
        "end": "2025-11-20T11:10:00Z",
    }
    made = effective(fit(raw)[1], Clock("2025-11-20T12:00:00Z", "2026-11-20T12:00:00Z"), NOW or 0)
    assert isinstance(made, Effective)
    assert (made.at, made.end) == ("2026-11-20T11:00:00+00:00", "2026-11-20T11:10:00+00:00")


@pytest.mark.parametrize(
    ("text", "by", "result"),
    [
        pytest.param("2026-11-20T08:00:00+01:00", 4_000, "2026-11-20T08:00:00.004+01:00", id="milliseconds appear"),
        pytest.param("2026-11-20T08:00:00.500+01:00", 500_000, "2026-11-20T08:00:01.000+01:00", id="decimals stay"),
        pytest.param("2026-11-20T00:00:00-03:30", -1_000_000, "2026-11-19T23:59:59-03:30", id="over midnight"),
    ],
)
def test_a_time_is_moved(text: str, by: int, result: str) -> None:
    assert moved(text, by) == result


def test_a_time_is_spoken_with_its_zone() -> None:
    assert spoken("2026-11-20T08:05:00.5+01:00") == "le 20/11/2026 à 08:05 (UTC+01:00)"
    assert spoken("2026-11-20T08:05:00Z") == "le 20/11/2026 à 08:05 (UTC)"
    assert spoken("2026-11-20T08:05:00-03:30") == "le 20/11/2026 à 08:05 (UTC-03:30)"


@pytest.mark.parametrize(
    ("raw", "identifier"),
    [
        pytest.param(
            spo2(at="2021-11-22T11:56:00Z"),
            "74E8FFFEFF051C00-sisansarahId-urn:oid:1.2.3-150456-690897360",
            id="seconds since 2000, at the device's resolution",
        ),
        pytest.param(
            spo2(at="2021-11-22T12:56:00.567+01:00"),
            "74E8FFFEFF051C00-sisansarahId-urn:oid:1.2.3-150456-690897360.567",
            id="milliseconds, in whatever zone",
        ),
        pytest.param(
            spo2(at="2021-11-22T11:56:00Z", end="2021-11-22T11:56:01Z", types=["150588"]),
            "74E8FFFEFF051C00-sisansarahId-urn:oid:1.2.3-150456-690897360..1-150588",
            id="duration and supplemental types",
        ),
    ],
)
def test_the_guides_identifier(raw: dict[str, Any], identifier: str) -> None:
    assert phd_identifier(PHD, "sisansarahId-urn:oid:1.2.3", fit(raw)[1]) == identifier


@pytest.mark.parametrize(
    ("at", "timestamp"),
    [
        pytest.param("2021-11-22T12:56:00+01:00", "690897360+4", id="an hour east"),
        pytest.param("2021-11-22T08:26:00.50-03:30", "690897360.5-14", id="half hours west"),
        pytest.param("2021-11-22T11:56:00Z", "690897360+0", id="UTC"),
        pytest.param("2021-11-22T12:03:00+00:07", "", id="no quarters"),
    ],
)
def test_the_guides_identifier_of_base_offset_time(at: str, timestamp: str) -> None:
    expected = f"74E8FFFEFF051C00-p-150456-{timestamp}" if timestamp else ""
    assert phd_identifier(PHD, "p", fit(spo2(at=at))[1], has_offset=True) == expected


def stored(raw: dict[str, Any], sender: str) -> Filed:
    name = name_of(PHD, *fit(raw), patient="p", sender=sender)
    return Filed("Observation/1", name.key, name.content, sender)


@pytest.mark.parametrize(
    ("held", "raw", "sender", "expected_match"),
    [
        pytest.param(spo2(), spo2(), "B", True, id="no ids: the moment is the reading"),
        pytest.param(spo2(), spo2(96), "B", False, id="another value of the same moment is a conflict"),
        pytest.param(spo2(id="1"), spo2(id="1"), "B", True, id="the device's own id through another gateway"),
        pytest.param(spo2(id="1"), spo2(id="9"), "B", True, id="each gateway's own id"),
        pytest.param(spo2(id="1"), spo2(id="9"), "A", None, id="one sender that gives two ids means two readings"),
        pytest.param(spo2(id="1"), spo2(), "A", True, id="the same sender, once without its id"),
        pytest.param(spo2(id="1"), spo2(95, id="1"), "A", False, id="an id used twice is a conflict"),
    ],
)
def test_what_a_stored_reading_is_to_a_new_one(
    held: dict[str, Any], raw: dict[str, Any], sender: str, expected_match: bool | None
) -> None:
    found = match([stored(held, "A")], name_of(PHD, *fit(raw), patient="p", sender=sender))
    assert (found.is_same if found else None) == expected_match


SUGAR = {"system": "mdc", "code": "160184", "at": AT}


@pytest.mark.parametrize(
    ("held", "raw", "expected_match"),
    [
        pytest.param(
            spo2(at=AT), {"code": "2708-6", "value": 97, "unit": "%", "at": AT}, True, id="a saturation without method"
        ),
        pytest.param(
            {"code": "2708-6", "value": 97, "unit": "%", "at": AT}, spo2(96, at=AT), False, id="another saturation"
        ),
        pytest.param(
            {**SUGAR, "value": 99, "unit": "mg/dL"}, {**SUGAR, "value": "5.5", "unit": "mmol/L"}, False,
            id="glucose in moles: its number was rounded, so a person looks",
        ),
        pytest.param(
            {"code": "4548-4", "value": 7, "unit": "%", "at": AT}, {"code": "59261-8", "value": 53, "unit": "mmol/mol", "at": AT},
            None, id="haemoglobin A1c: a device tells both",
        ),
    ],
)  # fmt: skip
def test_a_reading_that_gateways_code_by_different_rows(
    held: dict[str, Any], raw: dict[str, Any], expected_match: bool | None
) -> None:
    before, after = (name_of(PHD, *fit(each), patient="p", sender=sender) for each, sender in ((held, "A"), (raw, "B")))
    assert bool(set(before.keys) & set(after.keys)) == (expected_match is not None)
    if expected_match is not None:
        assert match([stored(held, "A")], after) == ("Observation/1", expected_match)


def test_a_jump_a_flat_line_and_a_probe_that_is_off() -> None:
    memory, line, at = Memory(), ("t", "p", "d", "c"), NOW or 0
    pulse = [
        fit({"code": "8867-4", "value": value, "unit": "/min", "at": "2026-11-20T11:00:00Z"})[1] for value in (70, 180)
    ]
    memory.remember(line, pulse[0], at)
    assert memory.suspect(line, pulse[1], at + MINUTE) == JUMP
    assert memory.suspect(line, pulse[1], at + 4 * MINUTE) is None, "in four minutes it may be"
    assert memory.suspect(line, pulse[1], at + 60 * MINUTE) is None, "an hour says nothing"
    assert memory.suspect(("t", "other", "d", "c"), pulse[1], at + MINUTE) is None
    for n in range(1, SAME - 1):
        memory.remember(line, pulse[0], at + n)
    assert memory.suspect(line, pulse[0], at + SAME) == FLAT
    off = fit({"code": "8867-4", "value": 70, "unit": "/min", "at": "2026-11-20T11:00:00Z", "status": ["probe-off"]})[1]
    assert memory.suspect(line, off, at) == PROBE


def test_a_wave_that_never_moves_is_odd() -> None:
    samples = {"unit": "mV", "period": 4}
    flat, alive = (
        fit({"system": "mdc", "code": "131330", "at": "2026-11-20T11:00:00Z", "samples": {**samples, "data": data}})[1]
        for data in ([0] * 500, [n % 2 for n in range(500)])
    )
    assert [Memory().suspect(("k",), wave, 0) for wave in (flat, alive)] == [FLAT, None]


@pytest.mark.parametrize(
    ("repeat", "interval_s"),
    [
        pytest.param({"frequency": 2, "period": 1, "periodUnit": "d"}, 43_200, id="twice a day"),
        pytest.param({"period": Decimal("0.5"), "periodUnit": "h"}, 1_800, id="each half hour"),
        pytest.param({"period": 1, "periodUnit": "fortnight"}, 0, id="a unit that is none"),
        pytest.param({}, 0, id="nothing said"),
    ],
)
def test_the_interval_of_a_timing(repeat: dict[str, Any], interval_s: int) -> None:
    assert interval_of(repeat) == interval_s * 1_000_000


def order(**change: Any) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": "Patient/1"},
        "occurrenceTiming": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
        **change,
    }


@pytest.mark.parametrize(
    ("change", "is_expected"),
    [
        pytest.param({}, True, id="an order of a measure, with its rhythm"),
        pytest.param({"status": "completed"}, False, id="an order that is done"),
        pytest.param({"occurrenceTiming": {}}, False, id="an order without a rhythm"),
        pytest.param({"code": {"text": "radio"}}, False, id="an order of what no device measures"),
        pytest.param({"subject": {"reference": "Group/1"}}, False, id="an order for no patient"),
    ],
)
def test_what_is_waited_for(change: dict[str, Any], is_expected: bool) -> None:
    assert (expected("ServiceRequest", order(**change), UTC, 0) is not None) is is_expected


def test_it_is_overdue_after_one_and_a_half_intervals_and_not_after_the_order_ended() -> None:
    body = expected("ServiceRequest", order(), UTC, 0)
    assert body is not None
    day = 86_400_000_000
    assert not is_overdue(body, 0, day * 3 // 2)
    assert is_overdue(body, 0, day * 3 // 2 + 1)
    assert not is_overdue({**body, "until": day // 2}, 0, 10 * day)

"""A reading is fit for the record, or there is a reason: one table of claims."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.devices import reason
from adapters.devices.assessment import assess
from adapters.devices.measure import BLOOD_PRESSURE, measures_of
from adapters.devices.measures import MEASURES, QUANTITY, Measure
from adapters.devices.reading import Measured, Reading
from adapters.devices.reading_json import read_reading
from adapters.devices.reason import Reason

AT = "2026-11-20T08:00:00+01:00"
PULSE = {"code": "8867-4", "value": "72.0", "unit": "/min", "at": AT, "id": "1"}
PRESSURE: dict[str, Any] = {
    "code": "85354-9",
    "components": [
        {"code": "8480-6", "value": 120, "unit": "mmHg"},
        {"code": "8462-4", "value": 80, "unit": "mmHg"},
    ],
    "at": AT,
}


def judged(raw: dict[str, Any]) -> Measured | Reason:
    reading = read_reading(raw)
    return assess(reading) if isinstance(reading, Reading) else reading


def components(*values: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"code": code, "value": value, "unit": "mmHg"} for code, value in values]


def fit(raw: dict[str, Any]) -> Measured:
    made = judged(raw)
    assert isinstance(made, Measured), made
    return made


def without(raw: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in keys}


@pytest.mark.parametrize(
    ("at", "end", "code"),
    [
        pytest.param("2026-11-20T00:00:00+01:00", "2026-11-21T00:00:00+01:00", "41950-7", id="a day"),
        pytest.param("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00", "41950-7", id="the day of 25 hours"),
        pytest.param("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", "41950-7", id="the day of 23 hours"),
        pytest.param("2026-11-20T08:00:00+01:00", "2026-11-21T08:00:00+01:00", "41950-7", id="24 hours"),
        pytest.param("2026-11-20T08:00:00+01:00", "2026-11-21T07:00:00+01:00", "55423-8", id="23 hours of a day"),
        pytest.param("2026-11-20T00:00:00+01:00", "2026-11-22T00:00:00+01:00", "55423-8", id="two days"),
    ],
)
def test_steps_under_their_mdc_code_are_of_a_day_or_of_an_interval(at: str, end: str, code: str) -> None:
    made = fit({"system": "mdc", "code": "8454247", "value": 8000, "unit": "{steps}", "at": at, "end": end})
    assert made.loinc == (code,)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(without(PULSE, "code"), reason.MALFORMED, id="no code"),
        pytest.param(without(PULSE, "value"), reason.MALFORMED, id="no value"),
        pytest.param(without(PULSE, "unit"), reason.MALFORMED, id="no unit"),
        pytest.param(
            {**PULSE, "comment": "x"}, reason.MALFORMED, id="a field without meaning is not dropped in silence"
        ),
        pytest.param({**PULSE, "system": "snomed"}, reason.MALFORMED, id="another code system"),
        pytest.param({**PULSE, "id": 7}, reason.MALFORMED, id="an id that is no text"),
        pytest.param({**PULSE, "components": []}, reason.MALFORMED, id="value and components at once"),
        pytest.param({**PULSE, "code": "9999-9"}, reason.CODE_UNKNOWN, id="a code outside the table"),
        pytest.param({**PULSE, "system": "mdc"}, reason.CODE_UNKNOWN, id="a LOINC code said to be MDC"),
        pytest.param(
            {**PULSE, "system": "mdc", "code": "160208"}, reason.CONTROL_SOLUTION, id="control solution is no patient"
        ),
        pytest.param({**PULSE, "unit": "furlong"}, reason.UNIT_UNKNOWN, id="an unknown unit"),
        pytest.param({**PULSE, "unit": "kg"}, reason.UNIT_MISMATCH, id="a unit of another dimension"),
        pytest.param(
            {**PULSE, "code": "4548-4", "unit": "mmol/L"}, reason.UNIT_MISMATCH, id="moles of what is no glucose"
        ),
        pytest.param({**PULSE, "value": "9000"}, reason.VALUE_IMPLAUSIBLE, id="beyond the bounds"),
        pytest.param({**PULSE, "value": "1e999"}, reason.VALUE_IMPLAUSIBLE, id="far beyond"),
        pytest.param({**PULSE, "value": "1e9999"}, reason.VALUE_UNREADABLE, id="an exponent out of range"),
        pytest.param({**PULSE, "value": "72,0"}, reason.VALUE_UNREADABLE, id="a comma"),
        pytest.param({**PULSE, "value": "<72"}, reason.VALUE_UNREADABLE, id="a comparator"),
        pytest.param({**PULSE, "value": True}, reason.VALUE_UNREADABLE, id="a boolean"),
        pytest.param({**PULSE, "value": None}, reason.VALUE_UNREADABLE, id="null"),
        pytest.param({**PULSE, "value": [72]}, reason.VALUE_UNREADABLE, id="a list"),
        pytest.param({**PULSE, "at": "yesterday"}, reason.TIME_UNREADABLE, id="words for a time"),
        pytest.param({**PULSE, "at": "2026-11-20"}, reason.TIME_UNREADABLE, id="a day is no moment"),
        pytest.param({**PULSE, "at": "2026-11-20T08:00:00"}, reason.TIME_UNREADABLE, id="no offset"),
        pytest.param({**PULSE, "at": "2026-02-30T08:00:00Z"}, reason.TIME_UNREADABLE, id="a day that does not exist"),
        pytest.param(
            {**PULSE, "at": "2026-11-20T08:00:00+15:00"}, reason.TIME_UNREADABLE, id="an offset beyond 14 hours"
        ),
        pytest.param({**PULSE, "at": 1795158000}, reason.TIME_UNREADABLE, id="a number for a time"),
        pytest.param({**PULSE, "at": ""}, reason.TIME_UNREADABLE, id="an empty time"),
        pytest.param(without(PULSE, "at", "id"), reason.UNTRACEABLE, id="neither time nor id"),
        pytest.param(
            {**PRESSURE, "components": components(("8480-6", 120))}, reason.COMPONENT_MISSING, id="half a pressure"
        ),
        pytest.param(
            {**PRESSURE, "components": components(("8480-6", 80), ("8462-4", 120))},
            reason.VALUE_IMPLAUSIBLE,
            id="a pressure upside down",
        ),
        pytest.param(
            {**PRESSURE, "components": components(("8480-6", 120), ("8480-6", 121), ("8462-4", 80))},
            reason.MALFORMED,
            id="a component twice",
        ),
        pytest.param({**PRESSURE, "components": []}, reason.MALFORMED, id="no component"),
        pytest.param({**PULSE, "code": "85354-9", "unit": "mmHg"}, reason.MALFORMED, id="a panel with one value"),
        pytest.param({**PRESSURE, "code": "8867-4"}, reason.MALFORMED, id="components of what is no panel"),
    ],
)
def test_why_a_reading_stays_aside(raw: dict[str, Any], expected: Reason) -> None:
    assert judged(raw) == expected


def test_digits_and_time_stay_as_written() -> None:
    made = fit(PULSE)
    assert str(made.parts[0].value) == "72.0"
    assert (made.at, made.loinc, made.category) == (AT, ("8867-4",), "vital-signs")
    assert made.parts[0].original is None


def test_a_converted_value_keeps_what_was_sent() -> None:
    part = fit({**PULSE, "code": "8310-5", "value": "98.60", "unit": "degF"}).parts[0]
    assert (str(part.value), part.ucum) == ("37.00", "Cel")
    assert part.original is not None and (str(part.original.value), part.original.unit) == ("98.60", "degF")


def test_the_unit_decides_which_glucose_code_an_mdc_code_is() -> None:
    raw = {**PULSE, "system": "mdc", "code": "160184", "value": "5.5"}
    assert fit({**raw, "unit": "mmol/L"}).loinc == ("14743-9",)
    assert fit({**raw, "value": "99", "unit": "mg/dL"}).loinc == ("41653-7",)


def test_a_narrower_code_says_the_general_one_too_and_not_the_other_way_round() -> None:
    assert fit({**PULSE, "code": "59408-5", "value": 97, "unit": "%"}).loinc == ("2708-6", "59408-5")
    assert fit({**PULSE, "code": "2708-6", "value": 97, "unit": "%"}).loinc == ("2708-6",)


def test_a_reading_without_clock_needs_an_id() -> None:
    made = fit(without(PULSE, "at"))
    assert (made.at, made.instant) == ("", None)


def test_a_component_may_say_the_code_system_of_its_reading_again() -> None:
    parts = [{"system": "http://loinc.org", **one} for one in PRESSURE["components"]]
    assert fit({**PRESSURE, "components": parts}) == fit(PRESSURE)


def test_a_component_of_another_code_system_is_malformed() -> None:
    parts = [{"system": "mdc", **one} for one in PRESSURE["components"]]
    assert read_reading({**PRESSURE, "components": parts}) == reason.MALFORMED


def test_a_pressure_has_its_components_in_order() -> None:
    made = fit({**PRESSURE, "components": [*PRESSURE["components"], *components(("8478-0", 93))]})
    assert [part.loinc[0] for part in made.parts] == ["8480-6", "8462-4", "8478-0"]
    assert (made.loinc, made.is_panel) == (("85354-9",), True)


def test_grave_values_are_plausible() -> None:
    """Bounds must let through what triage has to see."""
    for code, unit, value in (
        ("8867-4", "/min", 25),
        ("9279-1", "/min", 4),
        ("2708-6", "%", 55),
        ("8310-5", "Cel", 26),
    ):
        assert fit({**PULSE, "code": code, "unit": unit, "value": value})


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.en)
def test_each_measure_has_bounds_a_source_and_is_found_by_its_codes(measure: Measure) -> None:
    assert measure.low < measure.high or measure.kind != QUANTITY
    assert measure.source and measure.fr and measure.en and (measure.loinc or measure.mdc or measure.local)
    assert all(measure in measures_of("loinc", code) for code in measure.loinc[-1:])
    assert all(measure in measures_of("mdc", str(code)) for code in measure.mdc)


def test_codes_that_were_not_read_in_a_standard_are_marked() -> None:
    assert {code for measure in MEASURES if measure.verified for code in measure.loinc} <= {
        *("8480-6", "8462-4", "8478-0", "8867-4", "9279-1", "2708-6", "59408-5", "8310-5", "29463-7", "8302-2"),
        *("39156-5", "9843-4"),
    }


def test_the_panel_is_made_of_measures() -> None:
    assert all(measures_of("loinc", code) for code in (*BLOOD_PRESSURE.required, *BLOOD_PRESSURE.optional))


def test_reasons_have_one_code_each_and_words_in_both_languages() -> None:
    assert len({item.code for item in reason.ALL}) == len(reason.ALL)
    assert all(item.text("fr") != item.text("en") for item in reason.ALL)

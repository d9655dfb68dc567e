"""Laws of the device room: nothing but FhirError leaves it, conversion turns back, every reading has an answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.devices.assessment import assess
from adapters.devices.measures import QUANTITIES, Measure
from adapters.devices.message import Message, read_message
from adapters.devices.reading import Measured, Reading
from adapters.devices.reading_json import read_reading
from adapters.devices.reason import ALL, Reason
from adapters.devices.unit import UNITS, Unit, convert, is_convertible
from fhir_server.errors import FhirError

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "system": st.sampled_from(["loinc", "mdc", "x"]) | json,
        "code": st.sampled_from(["8867-4", "85354-9", "150020", "149530"]) | json,
        "value": st.decimals(allow_nan=False, allow_infinity=False) | json,
        "unit": st.sampled_from(["/min", "mmHg", "%"]) | json,
        "components": st.lists(json, max_size=3) | json,
        "at": st.datetimes().map(lambda at: at.isoformat() + "Z") | json,
        "id": json,
    },
)


@given(json)
def test_any_json_is_a_message_or_a_clear_refusal(body: Any) -> None:
    try:
        assert isinstance(read_message(body), Message)
    except FhirError as error:
        assert error.status in (400, 413)


@given(fields)
def test_every_reading_is_measured_or_has_a_reason(raw: dict[str, Any]) -> None:
    reading = read_reading(raw)
    made = assess(reading) if isinstance(reading, Reading) else reading
    assert isinstance(made, Measured) or made in ALL


pairs = [
    (measure, unit)
    for measure in QUANTITIES
    for unit in UNITS.values()
    if is_convertible(unit, UNITS[measure.unit], glucose=measure.glucose)
]


@given(st.sampled_from(pairs), st.decimals("0.1", "1000", places=2))
def test_a_conversion_turns_back(pair: tuple[Measure, Unit], value: Decimal) -> None:
    measure, unit = pair
    there = convert(value, unit, UNITS[measure.unit], decimals=12)
    back = convert(there, UNITS[measure.unit], unit, decimals=2)
    assert back == value


@given(st.sampled_from(pairs), st.decimals(-1000, 10000, places=3))
def test_what_is_taken_lies_inside_the_bounds(pair: tuple[Measure, Unit], value: Decimal) -> None:
    measure, unit = pair
    code = {"code": measure.loinc[-1]} if measure.loinc else {"system": "mdc", "code": str(measure.mdc[0])}
    raw = {**code, "value": value, "unit": unit.code, "at": "2026-11-20T08:00:00Z"}
    reading = read_reading(raw)
    assert isinstance(reading, Reading)
    made = assess(reading)
    if isinstance(made, Reason):
        assert made.code == "value-implausible"
    else:
        kept = made.parts[0].value
        assert kept is not None and measure.low <= kept <= measure.high

"""Laws of the device room: nothing but FhirError leaves it, conversion turns back, every reading has an answer."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.devices.assessment import assess
from adapters.devices.filing import name_of
from adapters.devices.measures import QUANTITIES, Measure
from adapters.devices.message import Message, read_message
from adapters.devices.reading import DeviceName, Measured, Reading
from adapters.devices.reading_json import read_reading
from adapters.devices.reason import ALL, Reason
from adapters.devices.register import Filed, match
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
        "system": st.sampled_from(["loinc", "mdc", "local", "x"]) | json,
        "code": st.sampled_from(["8867-4", "85354-9", "150020", "149530", "131330", "184327", "8519681", "8532992"])
        | json,
        "value": st.decimals(allow_nan=False, allow_infinity=False) | json,
        "unit": st.sampled_from(["/min", "mmHg", "%"]) | json,
        "components": st.lists(json, max_size=3) | json,
        "sfloat": st.integers(0, 0xFFFF) | st.text(max_size=5) | json,
        "float": st.integers(0, 0xFFFFFFFF) | json,
        "absent": st.sampled_from(["error", "not-a-number"]) | json,
        "coded": st.fixed_dictionaries({"code": json | st.just("147720")}) | json,
        "samples": st.fixed_dictionaries(
            {"unit": st.just("mV"), "period": st.integers(-1, 9) | json, "data": st.text("0 1-.EUL", max_size=9) | json}
        ),
        "media": st.fixed_dictionaries({"contentType": st.just("image/png"), "data": st.text(max_size=8)}) | json,
        "medication": json,
        "end": st.datetimes().map(lambda at: at.isoformat() + "Z") | json,
        "status": st.lists(st.sampled_from(["invalid", "test"]) | json, max_size=3) | json,
        "types": st.lists(st.sampled_from(["150588"]) | json, max_size=3) | json,
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


NAME = DeviceName("urn:example:device", "7")
copies = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["A", "B", "C"]), st.sampled_from(["loinc", "mdc"]), st.booleans()),
    max_size=30,
)


@given(copies, st.randoms(use_true_random=False))
def test_readings_are_stored_once_in_whatever_order_gateways_bring_them(
    given_copies: list[tuple[int, str, str, bool]], random: Random
) -> None:
    """Copies of six readings, by three gateways, in LOINC or MDC, some with the gateway's own id."""
    moments: list[set[int]] = []
    for _ in range(2):
        random.shuffle(given_copies)
        held: list[tuple[set[str], Filed]] = []
        for second, gateway, system, has_id in given_copies:
            raw = {
                "system": system,
                "code": "59408-5" if system == "loinc" else "150456",
                "value": 90 + second,
                "unit": "%",
                "at": f"2026-11-20T08:00:0{second}Z",
                **({"id": f"{gateway}-{second}"} if has_id else {}),
            }
            reading = read_reading(raw)
            assert isinstance(reading, Reading)
            made = assess(reading)
            assert isinstance(made, Measured)
            name = name_of(NAME, reading, made, patient="p", sender=gateway)
            found = match([filed for keys, filed in held if keys & set(name.keys)], name)
            assert found is None or found.is_same
            if found is None:
                held.append((set(name.keys), Filed(str(second), name.key, name.content, gateway)))
        assert len(held) == len({filed.reference for _, filed in held}), "none is there twice"
        moments.append({int(filed.reference) for _, filed in held})
    assert moments[0] == moments[1] == {second for second, *_ in given_copies}

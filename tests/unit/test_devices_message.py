"""The JSON shape, what makes a reading the same, and the Observation it becomes."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.devices.assessment import assess
from adapters.devices.correction import Effective, effective
from adapters.devices.filing import name_of
from adapters.devices.identity import content_of, key_of, raw_key
from adapters.devices.message import MAX_READINGS, Message, read_message
from adapters.devices.observation import TRANSLATION, Filing, build_observation
from adapters.devices.reading import DeviceName, Measured, Reading
from adapters.devices.reading_json import FIELDS, read_reading
from adapters.devices.schema import READING
from fhir_server import gate
from fhir_server.errors import BadRequest, TooLarge

DEVICE: dict[str, Any] = {"system": "urn:example:device", "value": "7"}
NAME = DeviceName("urn:example:device", "7")
PULSE: dict[str, Any] = {"code": "8867-4", "value": "72.0", "unit": "/min", "at": "2026-11-20T08:00:00+01:00"}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"nonsense": 1}, id="another object"),
        pytest.param([], id="a list"),
        pytest.param({"device": DEVICE, "readings": []}, id="no reading"),
        pytest.param({"device": DEVICE, "readings": PULSE}, id="one reading that is not in a list"),
        pytest.param({"device": DEVICE, "readings": ["x"]}, id="a reading that is no object"),
        pytest.param({"device": {"value": "7"}, "readings": [PULSE]}, id="a device without system"),
        pytest.param({"device": dict(DEVICE, value=""), "readings": [PULSE]}, id="an empty identifier"),
        pytest.param({"device": dict(DEVICE, value="a\nb"), "readings": [PULSE]}, id="a line end in an identifier"),
        pytest.param({"device": DEVICE, "readings": [PULSE], "patient": "1"}, id="a payload that names the patient"),
    ],
)
def test_a_body_of_another_shape_is_refused(body: Any) -> None:
    with pytest.raises(BadRequest):
        read_message(body)


def test_more_than_the_bound_is_refused() -> None:
    with pytest.raises(TooLarge):
        read_message({"device": DEVICE, "readings": [PULSE] * (MAX_READINGS + 1)})


def test_a_bad_reading_does_not_hurt_its_neighbours() -> None:
    message: Message = read_message({"device": DEVICE, "readings": [{}, PULSE]})
    assert [isinstance(item.reading, Reading) for item in message.readings] == [False, True]


def test_the_schema_names_the_fields_that_are_read() -> None:
    assert set(READING["properties"]) == FIELDS


def measured(raw: dict[str, Any]) -> tuple[Reading, Measured]:
    reading = read_reading(raw)
    assert isinstance(reading, Reading)
    made = assess(reading)
    assert isinstance(made, Measured)
    return reading, made


@pytest.mark.parametrize(
    ("one", "other", "same_key", "same_content"),
    [
        pytest.param(PULSE, PULSE, True, True, id="a copy"),
        pytest.param(PULSE, {**PULSE, "at": "2026-11-20T07:00:00Z"}, True, True, id="the same instant in another zone"),
        pytest.param(PULSE, {**PULSE, "value": 72}, True, True, id="the same number written otherwise"),
        pytest.param(PULSE, {**PULSE, "unit": "bpm"}, True, True, id="the same unit written otherwise"),
        pytest.param(PULSE, {**PULSE, "value": "73"}, True, False, id="another value at the same instant"),
        pytest.param(PULSE, {**PULSE, "at": "2026-11-20T08:00:01+01:00"}, False, False, id="a second later"),
        pytest.param({**PULSE, "id": "a"}, {**PULSE, "id": "b"}, False, True, id="another id of the sender"),
        pytest.param({**PULSE, "id": "a"}, {**PULSE, "id": "a", "value": 80}, True, False, id="an id used twice"),
        pytest.param({**PULSE, "id": "a"}, PULSE, False, True, id="with and without id"),
    ],
)
def test_what_makes_a_reading_the_same(
    one: dict[str, Any], other: dict[str, Any], same_key: bool, same_content: bool
) -> None:
    first, second = measured(one), measured(other)
    assert (key_of(NAME, *first) == key_of(NAME, *second)) is same_key
    assert (content_of(first[1]) == content_of(second[1])) is same_content


def test_another_device_is_another_reading() -> None:
    assert key_of(NAME, *measured(PULSE)) != key_of(NAME._replace(value="8"), *measured(PULSE))
    assert key_of(DeviceName("ab", "c"), *measured(PULSE)) != key_of(DeviceName("a", "bc"), *measured(PULSE))


def test_the_order_of_fields_does_not_make_another_raw_reading() -> None:
    assert raw_key(NAME, PULSE) == raw_key(NAME, dict(reversed(PULSE.items())))
    assert raw_key(NAME, PULSE) != raw_key(NAME, {**PULSE, "value": 72})


RECEIVED = 1_795_158_030_000_000


def observation(raw: dict[str, Any]) -> dict[str, Any]:
    reading, made = measured(raw)
    when = effective(made, None, RECEIVED)
    assert isinstance(when, Effective)
    name = name_of(NAME, reading, made, patient="1", sender="s")
    return build_observation(Filing(made, name.identifiers, "Patient/1", "Device/2", when, RECEIVED))


def test_the_observation_of_a_reading() -> None:
    made = observation(PULSE)
    assert made["status"] == "final"
    assert made["subject"] == {"reference": "Patient/1"} and made["device"] == {"reference": "Device/2"}
    assert made["effectiveDateTime"] == PULSE["at"], "as the device wrote it, with its offset"
    assert made["issued"] == "2026-11-20T07:00:30.000Z"
    assert b'"value":72.0,' in gate.write(made)
    assert made["category"][0]["coding"][0]["code"] == "vital-signs"


def test_a_reading_without_clock_has_the_time_it_came() -> None:
    raw = {key: value for key, value in PULSE.items() if key != "at"}
    assert observation({**raw, "id": "1"})["effectiveDateTime"] == "2026-11-20T07:00:30.000Z"


def test_an_mdc_reading_has_both_codes_and_a_converted_value_its_original() -> None:
    raw = {**PULSE, "system": "mdc", "code": "188736", "value": "154.3", "unit": "263904"}
    made = observation(raw)
    assert [coding["code"] for coding in made["code"]["coding"]] == ["29463-7", "188736"]
    quantity = made["valueQuantity"]
    assert (str(quantity["value"]), quantity["code"]) == ("69.989", "kg")
    original = quantity["extension"][0]
    assert original["url"] == TRANSLATION
    assert (str(original["valueQuantity"]["value"]), original["valueQuantity"]["code"]) == ("154.3", "[lb_av]")

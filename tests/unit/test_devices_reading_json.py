"""What the JSON of one reading may say beside a number, and what a whole body may."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from adapters.devices import reason
from adapters.devices.message import MAX_MESSAGES, context_of, read_message, read_messages
from adapters.devices.reading import Coded, Reading, Wave
from adapters.devices.reading_json import MAX_POINTS, MDC, read_reading
from adapters.devices.reason import Reason
from fhir_server.errors import BadRequest, TooLarge

AT = "2026-11-20T08:00:00+01:00"
WAVE: dict[str, Any] = {"unit": "mV", "period": 4, "data": "0 1.50 -2 E"}
DEVICE = {"system": "urn:example:device", "value": "7"}
MESSAGE: dict[str, Any] = {"device": DEVICE, "readings": [{"code": "8867-4", "value": 70, "unit": "/min", "at": AT}]}


def wave(**change: Any) -> dict[str, Any]:
    return {"system": "mdc", "code": "131330", "at": AT, "samples": {**WAVE, **change}}


def test_a_wave_keeps_its_digits() -> None:
    made = read_reading(wave(factor="0.0050", data=[0, Decimal("1.50"), -2, "E"]))
    assert isinstance(made, Reading)
    assert made.wave == Wave(Decimal(0), "mV", Decimal(4), ("0", "1.50", "-2", "E"), Decimal("0.0050"))
    assert str(made.wave.factor) == "0.0050"
    text = read_reading(wave(factor="0.0050"))
    assert isinstance(text, Reading) and text.wave == made.wave


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param(wave(data=""), reason.MALFORMED, id="no samples"),
        pytest.param(wave(data="1  2"), reason.VALUE_UNREADABLE, id="two blanks"),
        pytest.param(wave(data="1 x"), reason.VALUE_UNREADABLE, id="a sample that is no number"),
        pytest.param(wave(data=[1, True]), reason.VALUE_UNREADABLE, id="a boolean among samples"),
        pytest.param(wave(data=[1, None]), reason.VALUE_UNREADABLE, id="null among samples"),
        pytest.param(wave(data="1 2 3", dimensions=2), reason.MALFORMED, id="half an instant"),
        pytest.param(wave(period=0), reason.MALFORMED, id="no time between samples"),
        pytest.param(wave(period="x"), reason.VALUE_UNREADABLE, id="a period that is no number"),
        pytest.param(wave(dimensions=True), reason.MALFORMED, id="a boolean for dimensions"),
        pytest.param(wave(more=1), reason.MALFORMED, id="a field without meaning"),
        pytest.param(wave(data=[1] * (MAX_POINTS + 1)), reason.MALFORMED, id="too many samples in a list"),
        pytest.param(wave(data="1 " * MAX_POINTS + "1"), reason.MALFORMED, id="too many samples in a text"),
        pytest.param(wave(data="1" * 1_000), reason.VALUE_UNREADABLE, id="a sample of a thousand digits"),
        pytest.param({**wave(), "value": 1, "unit": "mV"}, reason.MALFORMED, id="a wave and a value"),
        pytest.param({**wave(), "at": "", "end": AT}, reason.TIME_UNREADABLE, id="an empty time"),
        pytest.param({"code": "1", "coded": {"code": "x", "system": "nowhere"}}, reason.MALFORMED, id="no code system"),
        pytest.param({"code": "1", "coded": {}}, reason.MALFORMED, id="a code that says nothing"),
        pytest.param({"code": "1", "status": ["odd"]}, reason.MALFORMED, id="a status that is none"),
        pytest.param({"code": "1", "types": ["12x"]}, reason.MALFORMED, id="a type that is no MDC code"),
        pytest.param({"code": "1", "absent": "because"}, reason.MALFORMED, id="a reason that is none"),
        pytest.param({"code": "1", "sfloat": "17FFF", "unit": "%"}, reason.VALUE_UNREADABLE, id="17 bits"),
        pytest.param({"code": "1", "media": {"contentType": "text/html", "data": "PA=="}}, reason.MALFORMED, id="HTML"),
        pytest.param(
            {"code": "1", "media": {"contentType": "image/png", "data": "%"}}, reason.MALFORMED, id="no base64"
        ),
        pytest.param({"code": "1", "media": {"contentType": "image/png", "data": ""}}, reason.MALFORMED, id="no bytes"),
    ],
)
def test_what_cannot_be_read(raw: dict[str, Any], why: Reason) -> None:
    assert read_reading(raw) == why


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"code": "147720"}, Coded(MDC, "147720"), id="MDC unless it says otherwise"),
        pytest.param(
            {"system": "snomed", "code": "1"}, Coded("http://snomed.info/sct", "1"), id="a system by its name"
        ),
        pytest.param({"system": "urn:x:y", "code": "1"}, Coded("urn:x:y", "1"), id="a uri"),
        pytest.param({"text": "Pilule bleue"}, Coded("", "", "Pilule bleue"), id="words alone"),
    ],
)
def test_codes(given: dict[str, str], expected: Coded) -> None:
    made = read_reading({"system": "mdc", "code": "184327", "coded": given, "at": AT})
    assert isinstance(made, Reading) and made.coded == expected


@pytest.mark.parametrize("system", ["mdc", MDC])
def test_a_code_system_has_two_names_and_a_code_may_be_a_number(system: str) -> None:
    made = read_reading({"system": system, "code": 150456, "value": 97, "unit": "%", "at": AT})
    assert isinstance(made, Reading) and (made.system, made.code) == ("mdc", "150456")


@pytest.mark.parametrize(
    ("body", "count"),
    [
        pytest.param(MESSAGE, 1, id="one message"),
        pytest.param([MESSAGE, MESSAGE], 2, id="a list"),
        pytest.param({"messages": [MESSAGE]}, 1, id="an object with messages"),
    ],
)
def test_bodies(body: Any, count: int) -> None:
    assert len(read_messages(body)) == count


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param([], BadRequest, id="an empty list"),
        pytest.param([MESSAGE, 7], BadRequest, id="a message that is none"),
        pytest.param([MESSAGE] * (MAX_MESSAGES + 1), TooLarge, id="too many messages"),
        pytest.param([{**MESSAGE, "readings": [{}] * 600}] * 2, TooLarge, id="too many readings in all"),
        pytest.param({**MESSAGE, "clock": {"device": AT}}, BadRequest, id="half a clock"),
        pytest.param({**MESSAGE, "clock": {"device": AT, "gateway": "now"}}, BadRequest, id="a clock without a time"),
        pytest.param({**MESSAGE, "gateway": "G"}, BadRequest, id="a gateway without a system"),
        pytest.param({**MESSAGE, "session": ""}, BadRequest, id="an empty session"),
        pytest.param({**MESSAGE, "test": "yes"}, BadRequest, id="a test that is a word"),
    ],
)
def test_bodies_that_are_refused(body: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_messages(body)


def test_what_stands_beside_the_readings_can_be_read_again() -> None:
    """A reading that was kept aside is read again in what it came in."""
    beside = {
        "gateway": DEVICE,
        "clock": {"device": AT, "gateway": AT, "sync": "532234"},
        "patient": DEVICE,
        "session": "s",
        "test": True,
    }
    message = read_message({**MESSAGE, **beside})
    assert context_of(message) == {"device": DEVICE, **beside}
    assert read_message({**context_of(message), "readings": MESSAGE["readings"]}) == message

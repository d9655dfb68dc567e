"""SenML: the examples of RFC 8428, and what the hub makes of names, times and units."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.devices import reason
from adapters.devices.assessment import assess
from adapters.devices.reading import DeviceName, Measured, Reading
from adapters.devices.senml import LABELS, URI, read_pack, read_stream, resolve
from fhir_server import gate
from fhir_server.errors import FhirError

NOW = 1_795_000_000_000_000
ADDRESS = "urn:dev:ow:10e2073a01080063"
# RFC 8428 section 5.1.2, 5.1.3 and 5.1.5
CURRENTS = (
    '[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},'
    '{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3},{"n":"current","v":1.7}]'
)
HUMIDITY = (
    '[{"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,"bu":"%RH","v":20},{"u":"lon","v":24.30621},'
    '{"t":60,"v":20.3},{"u":"%EL","t":150,"v":98}]'
)
KINDS = (
    '[{"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},{"n":"label","vs":"Machine Room"},'
    '{"n":"open","vb":false},{"n":"nfc-reader","vd":"aGkgCg"}]'
)


def resolved(text: str) -> list[tuple[str, str, Any, Decimal]]:
    made = resolve(gate.parse(text.encode()), now=NOW)
    return [(each.name, each.unit, each.value, each.seconds) for each in made]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            CURRENTS,
            [
                ("urn:dev:ow:10e2073a0108006:voltage", "V", Decimal("120.1"), Decimal("1276020076.001")),
                ("urn:dev:ow:10e2073a0108006:current", "A", Decimal("1.2"), Decimal("1276020071.001")),
                ("urn:dev:ow:10e2073a0108006:current", "A", Decimal("1.3"), Decimal("1276020072.001")),
                ("urn:dev:ow:10e2073a0108006:current", "A", Decimal("1.7"), Decimal("1276020076.001")),
            ],
            id="RFC 8428, 5.1.2: base name, time, unit and version",
        ),
        pytest.param(
            HUMIDITY,
            [
                (ADDRESS, "%RH", Decimal(20), Decimal(1320067464)),
                (ADDRESS, "lon", Decimal("24.30621"), Decimal(1320067464)),
                (ADDRESS, "%RH", Decimal("20.3"), Decimal(1320067524)),
                (ADDRESS, "%EL", Decimal(98), Decimal(1320067614)),
            ],
            id="RFC 8428, 5.1.3: a unit of its own beats the base unit, for one record",
        ),
        pytest.param(
            KINDS,
            [
                (f"{ADDRESS}:temp", "Cel", Decimal("23.1"), Decimal(1795000000)),
                (f"{ADDRESS}:label", "", "Machine Room", Decimal(1795000000)),
                (f"{ADDRESS}:open", "", False, Decimal(1795000000)),
                (f"{ADDRESS}:nfc-reader", "", None, Decimal(1795000000)),
            ],
            id="RFC 8428, 5.1.5: text, boolean and data",
        ),
        pytest.param(
            '[{"bn":"a:","bv":20,"n":"b","v":1.5},{"n":"c","v":-2},{"bv":0,"n":"d","v":7}]',
            [
                ("a:b", "", Decimal("21.5"), Decimal(1795000000)),
                ("a:c", "", Decimal(18), Decimal(1795000000)),
                ("a:d", "", Decimal(7), Decimal(1795000000)),
            ],
            id="a base value is added until another one comes",
        ),
        pytest.param(
            '[{"bn":"a:","bv":20,"bu":"Cel"},{"n":"b"}]',
            [("a:b", "Cel", Decimal(20), Decimal(1795000000))],
            id="base fields may stand in a record of their own, and be all of a value",
        ),
        pytest.param(
            '[{"n":"a","v":1,"t":268435455},{"n":"a","v":2,"t":268435456}]',
            [("a", "", Decimal(1), Decimal(2063435455)), ("a", "", Decimal(2), Decimal(268435456))],
            id="below 2^28 seconds a time is counted from now",
        ),
    ],
)
def test_records_are_resolved(text: str, expected: list[tuple[str, str, Any, Decimal]]) -> None:
    assert resolved(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[]", id="an empty pack"),
        pytest.param('{"n":"a","v":1}', id="no list"),
        pytest.param('[{"v":1}]', id="no name"),
        pytest.param('[{"bn":"a","bt":5}]', id="base fields alone"),
        pytest.param('[{"bn":"a","bv":5}]', id="a base value alone"),
        pytest.param('[{"n":"a","v":1},{"n":"b"}]', id="a record without a value"),
        pytest.param('[{"n":"é","v":1}]', id="a name with other characters"),
        pytest.param('[{"n":"a","v":1,"vs":"b"}]', id="two values"),
        pytest.param('[{"n":"a","v":"1"}]', id="a number that is a text"),
        pytest.param('[{"n":"a","v":true}]', id="a number that is a boolean"),
        pytest.param('[{"n":"a","vb":0}]', id="a boolean that is a number"),
        pytest.param('[{"n":"a","v":1,"must_":1}]', id="a field that must be understood"),
        pytest.param('[{"bver":11,"n":"a","v":1}]', id="a version to come"),
        pytest.param('[{"n":"a","v":1e100}]', id="a number without bound"),
    ],
)
def test_what_is_no_senml_is_refused_whole(text: str) -> None:
    with pytest.raises(FhirError) as caught:
        read_pack(text.encode(), now=NOW)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("name", "device", "system", "code"),
    [
        pytest.param(
            "urn:dev:mac:0024befffe804ff1:8867-4", "urn:dev:mac:0024befffe804ff1", "loinc", "8867-4", id="LOINC"
        ),
        pytest.param("urn:dev:mac:0024befffe804ff1/150456", "urn:dev:mac:0024befffe804ff1", "mdc", "150456", id="MDC"),
        pytest.param("urn:dev:ow:10e2073a_heart-rate", "urn:dev:ow:10e2073a", "loinc", "8867-4", id="a word"),
        pytest.param(
            "urn:dev:ow:10e2073a:voltage", "urn:dev:ow:10e2073a", "loinc", "voltage", id="a word not known here"
        ),
        pytest.param(ADDRESS, ADDRESS, "loinc", "unnamed", id="a device and no measure"),
        pytest.param("sensor-1", "sensor-1", "loinc", "unnamed", id="no URN"),
    ],
)
def test_a_name_is_a_device_and_a_measure(name: str, device: str, system: str, code: str) -> None:
    (message,) = read_pack(json.dumps([{"n": name, "u": "1", "v": 1}]).encode(), now=NOW).messages
    reading = message.readings[0].reading
    assert message.device == DeviceName(URI, device)
    assert isinstance(reading, Reading) and (reading.system, reading.code) == (system, code)


def test_pressures_of_one_device_and_instant_are_one_reading() -> None:
    text = (
        '[{"bn":"urn:dev:mac:a1:","bt":1795000000.25,"bu":"mmHg","n":"8480-6","v":128},{"n":"8462-4","v":79.0},'
        '{"n":"8480-6","t":60,"v":130},{"bn":"urn:dev:mac:b2:","n":"8462-4","v":80}]'
    )
    pack = read_pack(text.encode(), now=NOW)
    first, second = pack.messages
    assert [received.raw["code"] for received in first.readings] == ["85354-9", "8480-6"]
    assert [part["code"] for part in first.readings[0].raw["components"]] == ["8480-6", "8462-4"]
    assert first.readings[0].raw["at"] == "2026-11-18T11:06:40.25Z"
    assert [received.raw["code"] for received in second.readings] == ["8462-4"]
    assert not pack.is_relative


@pytest.mark.parametrize(
    ("names", "codes"),
    [
        pytest.param(("8480-6", "8462-4"), ["85354-9", "85354-9", "8480-6"], id="by LOINC"),
        pytest.param(("150021", "150022"), ["150020", "150020", "150021"], id="by MDC"),
        pytest.param(("8480-6", "150022"), ["8480-6", "150022", "8480-6", "150022", "8480-6"], id="by both: none"),
    ],
)
def test_pairs_of_pressures_that_are_told_twice_are_two_readings(names: tuple[str, str], codes: list[str]) -> None:
    values = zip((*names, *names, names[0]), (128, 79, 128, 79, 130), strict=True)
    base = {"bn": "urn:dev:mac:a1:", "bt": 1_795_000_000, "bu": "mmHg"}
    records = [{**base, "n": name, "v": value} for name, value in values]
    (message,) = read_pack(json.dumps(records).encode(), now=NOW).messages
    assert [received.raw["code"] for received in message.readings] == codes
    assert all(isinstance(received.reading, Reading) for received in message.readings)


def test_digits_are_kept_and_units_are_ucum() -> None:
    (message,) = read_pack(b'[{"n":"urn:dev:mac:a1:8867-4","u":"beat/min","v":72.0}]', now=NOW).messages
    raw = message.readings[0].raw
    assert (str(raw["value"]), raw["unit"]) == ("72.0", "/min")


@pytest.mark.parametrize(
    ("record", "value", "unit"),
    [
        pytest.param('"n":"8480-6","u":"Pa","v":16000', "120.0", "mm[Hg]", id="pascal is SenML's unit of pressure"),
        pytest.param('"n":"step-count","u":"count","v":812', "812", "{steps}", id="a count of steps"),
        pytest.param('"n":"8454247","u":"count","v":812', "812", "{steps}", id="a count of steps under its MDC code"),
        pytest.param('"n":"respiratory-rate","u":"1/s","v":0.25', "15", "/min", id="a rate by the second"),
    ],
)
def test_the_units_that_senml_has_are_taken(record: str, value: str, unit: str) -> None:
    (message,) = read_pack(f'[{{"bn":"urn:dev:mac:a1:","t":1795000000,{record}}}]'.encode(), now=NOW).messages
    reading = message.readings[0].reading
    assert isinstance(reading, Reading)
    measured = assess(reading)
    assert isinstance(measured, Measured)
    assert (str(measured.parts[0].value), measured.parts[0].ucum) == (value, unit)


def test_a_count_of_what_is_not_counted_is_no_unit() -> None:
    (message,) = read_pack(b'[{"n":"urn:dev:mac:a1:8867-4","t":1795000000,"u":"count","v":72}]', now=NOW).messages
    reading = message.readings[0].reading
    assert isinstance(reading, Reading) and assess(reading) == reason.UNIT_UNKNOWN


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param('"s":12.5', id="its own"),
        pytest.param('"bs":10,"s":2.5', id="with a base sum"),
        pytest.param('"bs":12.5', id="a base sum alone"),
    ],
)
def test_a_sum_beside_a_value_is_kept_aside_and_the_value_taken(fields: str) -> None:
    text = f'[{{"bn":"{ADDRESS}:","n":"heart-rate","u":"/min","v":72,{fields}}}]'
    (message,) = read_pack(text.encode(), now=NOW).messages
    value, total = message.readings
    assert isinstance(value.reading, Reading) and value.raw["value"] == 72
    assert (total.reading, total.raw["sum"]) == (reason.VALUE_UNREADABLE, Decimal("12.5"))


def test_what_is_no_number_is_kept_aside_as_it_was_sent() -> None:
    (message,) = read_pack(KINDS.encode(), now=NOW).messages
    assert [received.reading for received in message.readings[1:]] == [reason.VALUE_UNREADABLE] * 3
    assert [received.raw.get("value") for received in message.readings[1:]] == ["Machine Room", False, "aGkgCg"]


@pytest.mark.parametrize(
    ("record", "is_told"),
    [
        pytest.param('"n":"8519681","vb":true', True, id="a fall that is true"),
        pytest.param('"n":"8519681","vb":false', False, id="a fall that is false"),
        pytest.param('"n":"8867-4","vb":true', False, id="a pulse that is true"),
    ],
)
def test_an_event_is_a_boolean(record: str, is_told: bool) -> None:
    (message,) = read_pack(f'[{{"bn":"urn:dev:mac:a1:","t":1795000000,{record}}}]'.encode(), now=NOW).messages
    reading = message.readings[0].reading
    assert (isinstance(reading, Reading) and isinstance(assess(reading), Measured)) == is_told
    assert is_told or reading == reason.VALUE_UNREADABLE


@pytest.mark.parametrize("end", ["", ",", "]", ",\n"])
def test_a_stream_may_never_have_been_closed(end: str) -> None:
    text = '[{"bn":"urn:dev:mac:a1:","n":"8867-4","u":"/min","v":72},\n{"t":-5,"n":"8867-4","u":"/min","v":71}' + end
    assert len(read_stream(text.encode(), now=NOW).messages[0].readings) == 2


def test_the_pack_of_the_manual_is_a_pressure_and_a_pulse() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "reference" / "device-transports.md"
    (pack, *_) = re.findall(r"```json\n(.*?)```", page.read_text("utf-8"), re.S)
    (message,) = read_pack(pack.encode(), now=NOW).messages
    assert [received.raw["code"] for received in message.readings] == ["85354-9", "8867-4"]
    assert all(f"`{label}`" in page.read_text("utf-8") for label in LABELS)

"""Where on the body, how, and with which remarks: what stands beside a value is filed with it, or it is kept aside."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.devices import reason
from adapters.devices.assessment import assess
from adapters.devices.correction import effective
from adapters.devices.filing import build
from adapters.devices.observation import Filing
from adapters.devices.omh import read_points
from adapters.devices.phd import read_resource
from adapters.devices.reading import Measured, Reading
from adapters.devices.reading_json import read_reading
from adapters.devices.reason import Reason

AT = "2026-11-20T08:00:00+01:00"
NOW = 1_796_000_000_000_000
PULSE = {"code": "8867-4", "value": 71, "unit": "/min", "at": AT}
ARM = {"system": "http://snomed.info/sct", "code": "368209003", "text": "Right upper arm"}
WAVE = {"system": "mdc", "code": "131330", "at": AT}
PICTURE = {"system": "local", "code": "otoscope", "at": AT, "media": {"contentType": "image/png", "data": "aGk="}}
DOSE = {"system": "mdc", "code": "8532992", "at": AT}


def filed(reading: Reading | Reason) -> dict[str, Any]:
    assert isinstance(reading, Reading)
    measured = assess(reading)
    assert isinstance(measured, Measured)
    when = effective(measured, None, NOW)
    assert not isinstance(when, Reason)
    filing = Filing(measured, [{"system": "urn:x", "value": "1"}], "Patient/1", "Device/1", when, NOW)
    return build(filing)[0]


@pytest.mark.parametrize(
    ("sent", "element", "expected"),
    [
        pytest.param({**PULSE, "site": "wrist"}, "bodySite", {"text": "wrist"}, id="a site by its name"),
        pytest.param(
            {**PULSE, "site": ARM},
            "bodySite",
            {"coding": [{"system": ARM["system"], "code": ARM["code"]}], "text": ARM["text"]},
            id="a site by its code",
        ),
        pytest.param({**PULSE, "method": "palpation"}, "method", {"text": "palpation"}, id="a method"),
        pytest.param({**PULSE, "note": "after stairs"}, "note", [{"text": "after stairs"}], id="a note"),
        pytest.param({**PULSE, "note": ["a", "b"]}, "note", [{"text": "a"}, {"text": "b"}], id="two notes"),
        pytest.param(
            {**PULSE, "note": "b", "status": ["manual"]},
            "note",
            [{"text": "Valeur saisie à la main sur l'appareil."}, {"text": "b"}],
            id="a note after that of a status bit",
        ),
        pytest.param({**PICTURE, "site": "oreille gauche"}, "bodySite", {"text": "oreille gauche"}, id="of a picture"),
        pytest.param({**PICTURE, "note": "sec"}, "note", [{"text": "sec"}], id="a note of a picture"),
        pytest.param({**DOSE, "note": "sec"}, "note", [{"text": "sec"}], id="a note of a dose"),
        pytest.param(
            {**WAVE, "site": "wrist", "samples": {"unit": "mV", "period": 4, "data": "1 2"}},
            "bodySite",
            {"text": "wrist"},
            id="of a wave",
        ),
        pytest.param(
            {**WAVE, "site": "wrist", "note": "x", "samples": {"unit": "mV", "period": 4000, "data": "1 " * 99 + "2"}},
            "description",
            "wrist ; x",
            id="of a wave that is a document",
        ),
    ],
)
def test_what_stands_beside_a_value_is_filed_with_it(sent: dict[str, Any], element: str, expected: object) -> None:
    assert filed(read_reading(sent))[element] == expected


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({**PULSE, "site": 7}, id="a site that is a number"),
        pytest.param({**PULSE, "site": ""}, id="a site without name"),
        pytest.param({**PULSE, "method": {"display": "x"}}, id="a method in another shape"),
        pytest.param({**PULSE, "note": []}, id="no note at all"),
        pytest.param({**PULSE, "note": ["x"] * 11}, id="eleven notes"),
        pytest.param({**PULSE, "note": "x" * 257}, id="a note that is too long"),
        pytest.param({**PICTURE, "method": "x"}, id="a method of a picture, which has no place for it"),
        pytest.param({**DOSE, "site": "x"}, id="a site of a dose"),
    ],
)
def test_what_has_no_place_keeps_the_reading_aside(sent: dict[str, Any]) -> None:
    reading = read_reading(sent)
    assert (reading if isinstance(reading, Reason) else assess(reading)) == reason.MALFORMED


def point(name: str, body: dict[str, Any]) -> Reading | Reason:
    header = {"id": "p", "user_id": "u", "schema_id": {"namespace": "omh", "name": name, "version": "4.0"}}
    whole = {"header": header, "body": {"effective_time_frame": {"date_time": AT}, **body}}
    ((received,),) = [message.readings for message in read_points(whole)]
    return received.reading


PRESSURE = {
    "systolic_blood_pressure": {"value": 128, "unit": "mmHg"},
    "diastolic_blood_pressure": {"value": 79, "unit": "mmHg"},
}
GLUCOSE = {"blood_glucose": {"value": 95, "unit": "mg/dL"}, "specimen_source": "capillary blood"}
OXYGEN = {"oxygen_saturation": {"value": 97, "unit": "%"}, "measurement_method": "pulse oximetry"}


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        pytest.param(
            "blood-pressure",
            {**PRESSURE, "measurement_location": "left upper arm", "body_posture": "sitting"},
            {"bodySite": {"text": "left upper arm"}, "note": [{"text": "body_posture: sitting"}]},
            id="where a pressure was taken, and how one sat",
        ),
        pytest.param(
            "blood-glucose",
            {**GLUCOSE, "temporal_relationship_to_meal": "fasting"},
            {"note": [{"text": "temporal_relationship_to_meal: fasting"}]},
            id="glucose while fasting",
        ),
        pytest.param(
            "oxygen-saturation",
            {**OXYGEN, "supplemental_oxygen_flow_rate": {"value": 2, "unit": "L/min"}},
            {"note": [{"text": "supplemental_oxygen_flow_rate: 2 L/min"}]},
            id="saturation under oxygen",
        ),
        pytest.param(
            "body-temperature",
            {"body_temperature": {"value": 37, "unit": "C"}, "measurement_location": "forehead"},
            {"bodySite": {"text": "forehead"}},
            id="a temperature of the forehead",
        ),
        pytest.param(
            "body-weight",
            {"body_weight": {"value": 70, "unit": "kg"}, "user_notes": "un\ndeux", "more": {"a": [1]}},
            {"note": [{"text": 'more: {"a":[1]}'}, {"text": "user_notes: un deux"}]},
            id="what a person wrote, and what nobody knows",
        ),
    ],
)
def test_what_a_data_point_says_beside_its_value_is_not_dropped(
    name: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    made = filed(point(name, body))
    assert {key: made[key] for key in ("bodySite", "method", "note") if key in made} == expected


def test_long_words_of_a_data_point_are_several_notes() -> None:
    notes = filed(point("body-weight", {"body_weight": {"value": 70, "unit": "kg"}, "user_notes": "mot " * 200}))[
        "note"
    ]
    assert "".join(note["text"] for note in notes).count("mot") == 200
    assert all(len(note["text"]) <= 256 for note in notes)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"user_notes": "mot " * 2_000}, id="a long note"),
        pytest.param({f"field_{n}": n for n in range(30)}, id="many fields"),
    ],
)
def test_more_than_a_record_holds_keeps_no_measurement_out_and_is_told(more: dict[str, Any]) -> None:
    notes = filed(point("body-weight", {"body_weight": {"value": 70, "unit": "kg"}, **more}))["note"]
    assert len(notes) == 10 and "non conservés" in notes[-1]["text"]


def test_site_and_method_of_an_observation_are_taken_and_come_out_the_same() -> None:
    beside = {
        "bodySite": {"coding": [{"system": ARM["system"], "code": ARM["code"]}], "text": ARM["text"]},
        "method": {"text": "auto"},
        "note": [{"text": "x"}],
    }
    sent = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "device": {"identifier": {"system": "urn:example", "value": "SN-1"}},
        "effectiveDateTime": AT,
        "valueQuantity": {"value": 71, "code": "/min"},
        **beside,
    }
    ((received,),) = [message.readings for message in read_resource(sent)]
    made = filed(received.reading)
    assert {name: made[name] for name in beside} == beside

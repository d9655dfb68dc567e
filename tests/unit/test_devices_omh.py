"""Open mHealth and IEEE 1752.1 data points to the canonical reading, and FHIR Observations of devices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from adapters.devices import reason
from adapters.devices.assessment import assess
from adapters.devices.correction import effective
from adapters.devices.message import REFERENCE
from adapters.devices.omh import ACCOUNT, read_points
from adapters.devices.phd import read_resource
from adapters.devices.reading import Clock, DeviceName, Measured, Reading
from adapters.devices.reason import Reason
from fhir_server.errors import FhirError

AT = "2026-11-20T08:00:00+01:00"
FRAME = {"date_time": AT}


def point(schema: str, body: dict[str, Any], **header: Any) -> dict[str, Any]:
    named = {"namespace": "omh", "name": schema, "version": "2.0"}
    return {
        "header": {"id": "p-1", "user_id": "u-1", "schema_id": named, **header},
        "body": {"effective_time_frame": FRAME, **body},
    }


def only(value: Any) -> tuple[dict[str, Any], object]:
    ((received,),) = [message.readings for message in read_points(value)]
    return dict(received.raw), received.reading


def quantity(value: Any, unit: str) -> dict[str, Any]:
    return {"value": Decimal(str(value)) if isinstance(value, float) else value, "unit": unit}


@pytest.mark.parametrize(
    ("schema", "body", "code", "unit"),
    [
        pytest.param("heart-rate", {"heart_rate": quantity(72, "beats/min")}, "8867-4", "beats/min", id="heart rate"),
        pytest.param("respiratory-rate", {"respiratory_rate": quantity(14, "breaths/min")}, "9279-1", "breaths/min", id="respiratory rate"),
        pytest.param("oxygen-saturation", {"oxygen_saturation": quantity(97, "%")}, "2708-6", "%", id="oxygen saturation"),
        pytest.param("oxygen-saturation", {"oxygen_saturation": quantity(97, "%"), "measurement_method": "pulse oximetry"}, "59408-5", "%", id="oxygen saturation by pulse oximetry"),
        pytest.param("body-temperature", {"body_temperature": quantity(98.6, "F")}, "8310-5", "[degF]", id="F is no farad"),
        pytest.param("body-temperature", {"body_temperature": quantity(37.1, "C"), "measurement_location": "oral"}, "8331-1", "Cel", id="C is no coulomb, and oral has a code"),
        pytest.param("body-temperature", {"body_temperature": quantity(37.1, "C"), "measurement_location": "toe"}, "8310-5", "Cel", id="a site without a code"),
        pytest.param("body-weight", {"body_weight": quantity(71, "kg")}, "29463-7", "kg", id="body weight"),
        pytest.param("blood-glucose", {"blood_glucose": quantity(95, "mg/dL")}, "2339-0", "mg/dL", id="glucose"),
        pytest.param("blood-glucose", {"blood_glucose": quantity(5.3, "mmol/L"), "specimen_source": "capillary blood"}, "14743-9", "mmol/L", id="capillary glucose in moles"),
        pytest.param("blood-glucose", {"blood_glucose": quantity(5.3, "mmol/L"), "specimen_source": "interstitial fluid"}, "105272-9", "mmol/L", id="interstitial glucose in moles"),
        pytest.param("blood-glucose", {"blood_glucose": quantity(95, "mg/dL"), "specimen_source": "plasma"}, "2345-7", "mg/dL", id="glucose in plasma"),
        pytest.param("blood-glucose", {"blood_glucose": quantity(95, "mg/dL"), "blood_specimen_type": "whole blood"}, "2339-0", "mg/dL", id="glucose of version 1"),
        pytest.param("body-weight", {"body_weight": quantity(112, "oz")}, "29463-7", "[oz_av]", id="body weight in ounces"),
        pytest.param("calories-burned", {"kcal_burned": quantity(430, "kcal")}, "41981-2", "kcal", id="energy"),
        pytest.param("rr-interval", {"rr_interval": quantity(812, "ms")}, "8637-1", "ms", id="RR interval"),
        pytest.param("step-count", {"step_count": 1200}, "55423-8", "{steps}", id="steps before version 3 are a bare number"),
        pytest.param("step-count", {"step_count": quantity(1200, "steps")}, "55423-8", "{steps}", id="steps of version 3"),
        pytest.param("sleep-duration", {"sleep_duration": quantity(430, "min")}, "93832-4", "min", id="sleep"),
    ],
)  # fmt: skip
def test_schemas(schema: str, body: dict[str, Any], code: str, unit: str) -> None:
    raw, reading = only(point(schema, body))
    assert (raw["code"], raw["unit"], raw["at"], raw["id"]) == (code, unit, AT, "p-1")
    assert not isinstance(reading, Reason)


def test_a_pressure_is_a_panel() -> None:
    body = {"systolic_blood_pressure": quantity(128, "mmHg"), "diastolic_blood_pressure": quantity(79, "mmHg")}
    raw, _ = only(point("blood-pressure", body))
    assert raw["code"] == "85354-9"
    assert [(part["code"], part["value"]) for part in raw["components"]] == [("8480-6", 128), ("8462-4", 79)]


@pytest.mark.parametrize(
    ("frame", "at", "end"),
    [
        pytest.param({"start_date_time": AT, "end_date_time": "2026-11-20T09:00:00+01:00"}, AT, "2026-11-20T09:00:00+01:00", id="start and end"),
        pytest.param({"start_date_time": AT, "duration": quantity(Decimal("1.5"), "h")}, AT, "2026-11-20T08:30:00.000Z", id="start and duration"),
        pytest.param({"end_date_time": AT, "duration": quantity(30, "min")}, "2026-11-20T06:30:00.000Z", AT, id="end and duration"),
    ],
)  # fmt: skip
def test_intervals_have_a_start_and_an_end(frame: dict[str, Any], at: str, end: str) -> None:
    body = {"step_count": 900, "effective_time_frame": {"time_interval": frame}}
    raw, _ = only(point("step-count", body))
    assert (raw["at"], raw["end"]) == (at, end)


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        pytest.param(point("shoe-size", {"shoe_size": quantity(42, "1")}), reason.SCHEMA_UNKNOWN, id="an unknown schema"),
        pytest.param(
            point("heart-rate", {"heart_rate": quantity(72, "beats/min")}, schema_id={"namespace": "mine", "name": "heart-rate"}),
            reason.SCHEMA_UNKNOWN, id="a known name of another namespace",
        ),
        pytest.param(
            point("heart-rate", {"heart_rate": quantity(72, "beats/min"), "descriptive_statistic": "average"}),
            reason.STATISTIC, id="a statistic is no plain reading",
        ),
        pytest.param(
            point("heart-rate", {"heart_rate": quantity(72, "beats/min"), "effective_time_frame": {"time_interval": {"date": "2026-11-20", "part_of_day": "morning"}}}),
            reason.TIME_UNREADABLE, id="a part of a day is no time",
        ),
        pytest.param(point("blood-glucose", {"blood_glucose": quantity(95, "mg/dL"), "specimen_source": "urine"}), reason.CODE_UNKNOWN, id="glucose in urine is no glucose in blood"),
        pytest.param(point("blood-glucose", {"blood_glucose": quantity(95, "mg/dL"), "specimen_source": ["sweat"]}), reason.CODE_UNKNOWN, id="a specimen that is no text"),
        pytest.param(point("heart-rate", {"heart_rate": 72}), reason.MALFORMED, id="a value without unit"),
        pytest.param(point("blood-pressure", {"systolic_blood_pressure": quantity(128, "mmHg")}), reason.COMPONENT_MISSING, id="a pressure without the other one"),
        pytest.param(point("blood-pressure", {"systolic_blood_pressure": quantity(128, "mmHg"), "diastolic_blood_pressure": 79}), reason.MALFORMED, id="a pressure of which one has no unit"),
        pytest.param(point("heart-rate", {}), reason.MALFORMED, id="a body without its value"),
        pytest.param({"header": {"user_id": "u-1"}, "body": {}}, reason.MALFORMED, id="no schema at all"),
    ],
)  # fmt: skip
def test_what_is_no_plain_reading_is_kept_aside_as_it_was_sent(odd: dict[str, Any], why: Reason) -> None:
    raw, reading = only(odd)
    assert reading == why and raw == odd


def test_what_a_person_told_is_filed_as_entered_by_hand() -> None:
    told = {"source_name": "app", "modality": "self-reported"}
    raw, _ = only(point("body-weight", {"body_weight": quantity(71, "kg")}, acquisition_provenance=told))
    assert raw["status"] == ["manual"]


def test_the_account_is_the_device_unless_one_is_given() -> None:
    one = point("body-weight", {"body_weight": quantity(71, "kg")})
    other = point("body-weight", {"body_weight": quantity(71, "kg")}, user_id="u-2")
    assert [message.device for message in read_points([one, other, one])] == [
        DeviceName(ACCOUNT, "u-1"),
        DeviceName(ACCOUNT, "u-2"),
    ]
    scale = DeviceName("urn:example", "scale")
    assert [(m.device, len(m.readings)) for m in read_points([one, other], device=scale)] == [(scale, 2)]
    with pytest.raises(FhirError):
        read_points({"header": {}, "body": {}})


ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
MDC = "urn:iso:std:iso:11073:10101"
COINCIDENT = "http://hl7.org/fhir/uv/phd/StructureDefinition/CoincidentTimeStampReference"
GATEWAY = "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice"
DEVICE = {"identifier": {"system": "urn:example", "value": "SN-1"}}


def status_of(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status", "code": code}]}


def absent_of(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": code}]}


def coded(code: str, **value: Any) -> dict[str, Any]:
    """Return an Observation of an MDC code with another kind of value than a quantity."""
    made = observation(code={"coding": [{"system": MDC, "code": code}]}, **value)
    return {key: item for key, item in made.items() if key != "valueQuantity"}


def observation(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "urn:iso:std:iso:11073:10101", "code": "188736"}]},
        "device": DEVICE,
        "effectiveDateTime": AT,
        "valueQuantity": {"value": Decimal("71.40"), "code": "kg", "unit": "kilo"},
        **more,
    }


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({}, {"system": "mdc", "code": "188736", "unit": "kg", "at": AT}, id="MDC, and the code of the unit"),
        pytest.param({"status": "preliminary"}, {"status": ["early"]}, id="an early estimate"),
        pytest.param({"meta": {"security": [{"system": ACT_REASON, "code": "HTEST"}]}}, {"status": ["test"]}, id="a test is no patient's data"),
        pytest.param({"interpretation": [status_of("questionable")]}, {"status": ["questionable"]}, id="a status bit"),
        pytest.param({"status": "preliminary", "interpretation": [status_of("early-indication")]}, {"status": ["early"]}, id="an early estimate, said twice"),
        pytest.param(
            {"code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}, {"system": MDC, "code": "188736"}]}},
            {"system": "mdc", "code": "188736"}, id="MDC before LOINC: it tells more",
        ),
        pytest.param(
            {"code": {"coding": [{"system": "http://loinc.org", "code": "2708-6"}, {"system": "http://loinc.org", "code": "59408-5"}, {"system": MDC, "code": "1"}]}},
            {"system": "loinc", "code": "59408-5"}, id="the narrowest LOINC code where the MDC code is not known",
        ),
        pytest.param(
            {"component": [{"code": {"coding": [{"system": MDC, "code": "68193"}]}, "valueCodeableConcept": {"coding": [{"system": MDC, "code": "150588"}]}}]},
            {"value": Decimal("71.40"), "types": ["150588"]}, id="a supplemental type",
        ),
        pytest.param({"identifier": [{"system": "urn:a", "value": "7"}]}, {"id": "urn:a|7"}, id="the sender's own id"),
        pytest.param(
            {"effectivePeriod": {"start": AT, "end": "2026-11-20T09:00:00+01:00"}, "effectiveDateTime": AT},
            {"at": AT, "end": "2026-11-20T09:00:00+01:00"}, id="a period",
        ),
        pytest.param({"effectiveDateTime": None, "effectiveInstant": AT}, {"at": AT}, id="an instant"),
        pytest.param({"valueQuantity": {"value": 5, "comparator": "<", "code": "kg"}}, {"value": "<5"}, id="a comparator is no plain value"),
    ],
)  # fmt: skip
def test_an_observation_is_read_as_a_reading(more: dict[str, Any], expected: dict[str, Any]) -> None:
    told = {name: value for name, value in observation(**more).items() if value is not None}
    (message,) = read_resource(told)
    assert message.device == DeviceName("urn:example", "SN-1")
    assert expected.items() <= dict(message.readings[0].raw).items()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        pytest.param({"status": ["final"]}, reason.FORMAT_UNKNOWN, id="a status that is a list"),
        pytest.param({"status": "amended"}, reason.FORMAT_UNKNOWN, id="a correction"),
        pytest.param({"hasMember": [{"reference": "Observation/9"}]}, reason.FORMAT_UNKNOWN, id="what the canonical record cannot hold"),
        pytest.param({"note": [{"text": "x", "authorString": "y"}]}, reason.FORMAT_UNKNOWN, id="a note that somebody signed"),
        pytest.param({"note": [{"text": "x"}] * 11}, reason.FORMAT_UNKNOWN, id="eleven notes"),
        pytest.param({"method": {"coding": [{"system": "urn:a", "code": "1"}, {"system": "urn:b", "code": "2"}]}}, reason.FORMAT_UNKNOWN, id="a method of two codes"),
        pytest.param({"bodySite": {"coding": [{"system": "urn:a", "code": "1", "version": "2"}]}}, reason.FORMAT_UNKNOWN, id="a site whose code has a version"),
        pytest.param({"interpretation": [{"coding": [{"system": "urn:mine", "code": "H"}]}]}, reason.FORMAT_UNKNOWN, id="an interpretation that is no status bit"),
        pytest.param({"meta": {"security": [{"system": ACT_REASON, "code": "ETREAT"}]}}, reason.FORMAT_UNKNOWN, id="a label that would be lost"),
        pytest.param({"extension": [{"url": "urn:mine", "valueString": "x"}]}, reason.FORMAT_UNKNOWN, id="an extension"),
        pytest.param({"derivedFrom": [{"reference": "Observation/9"}]}, reason.FORMAT_UNKNOWN, id="derived from another Observation"),
        pytest.param({"derivedFrom": 7}, reason.FORMAT_UNKNOWN, id="derived from what is no reference"),
        pytest.param({"extension": 7}, reason.FORMAT_UNKNOWN, id="extensions that are no list"),
        pytest.param({"extension": [{"url": GATEWAY, "valueReference": {"display": "phone"}}]}, reason.FORMAT_UNKNOWN, id="a gateway without identifier"),
        pytest.param({"extension": [{"url": COINCIDENT, "valueReference": {"reference": "Observation/9"}}]}, reason.FORMAT_UNKNOWN, id="a clock that is not in the payload"),
        pytest.param({"dataAbsentReason": absent_of("error")}, reason.FORMAT_UNKNOWN, id="a value and why there is none"),
        pytest.param({"code": {"coding": [{"system": "urn:mine", "code": "1"}]}}, reason.CODE_UNKNOWN, id="a code of no system known here"),
    ],
)  # fmt: skip
def test_an_observation_that_would_be_filed_in_part_is_kept_whole(more: dict[str, Any], why: Reason) -> None:
    (message,) = read_resource(observation(**more))
    assert message.readings[0].reading == why and message.readings[0].raw == observation(**more)


WAVE = {
    "origin": {"value": 0, "code": "mV"},
    "period": 4,
    "factor": Decimal("0.005"),
    "lowerLimit": -5,
    "dimensions": 1,
    "data": "1 2 E",
}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(coded("150456", dataAbsentReason=absent_of("not-a-number")), {"absent": "not-a-number"}, id="no value, and why"),
        pytest.param(coded("184327", valueCodeableConcept={"coding": [{"system": MDC, "code": "147720"}], "text": "AF"}), {"coded": {"system": MDC, "code": "147720", "text": "AF"}}, id="a code"),
        pytest.param(coded("131330", valueSampledData=WAVE), {"samples": {"unit": "mV", "origin": 0, "period": 4, "factor": Decimal("0.005"), "low": -5, "dimensions": 1, "data": "1 2 E"}}, id="a wave"),
        pytest.param(coded("8519681"), {"code": "8519681"}, id="an event, which is its code"),
        pytest.param(
            coded("150020", component=[
                {"code": {"coding": [{"system": MDC, "code": "150021"}]}, "valueQuantity": {"value": 128, "code": "mm[Hg]"}},
                {"code": {"coding": [{"system": MDC, "code": "150022"}]}, "dataAbsentReason": absent_of("error")},
            ]),
            {"components": [{"code": "150021", "value": 128, "unit": "mm[Hg]"}, {"code": "150022", "absent": "error"}]},
            id="a panel, of which one value is not there",
        ),
        pytest.param(
            coded("150020", component=[{"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, "valueQuantity": {"value": value, "code": "mm[Hg]"}} for code, value in (("8480-6", 128), ("8462-4", 79))]) | {
                "code": {"coding": [{"system": MDC, "code": "150020"}, {"system": "http://loinc.org", "code": "85354-9"}]}
            },
            {"system": "loinc", "code": "85354-9"}, id="a panel whose components have LOINC codes alone",
        ),
    ],
)  # fmt: skip
def test_every_kind_of_value_of_a_personal_health_device_is_read(
    sent: dict[str, Any], expected: dict[str, Any]
) -> None:
    (message,) = read_resource(sent)
    assert expected.items() <= dict(message.readings[0].raw).items()
    reading = message.readings[0].reading
    assert isinstance(reading, Reading) and not isinstance(assess(reading), Reason)


def test_a_resource_of_no_type_is_refused_and_a_wave_without_its_origin_kept_aside() -> None:
    with pytest.raises(FhirError):
        read_resource(
            {"resourceType": "Bundle", "entry": [{"resource": observation()}, {"resource": {"resourceType": []}}]}
        )
    (message,) = read_resource(coded("131330", valueSampledData={**WAVE, "origin": 0}))
    assert message.readings[0].reading == reason.MALFORMED


def test_the_gateway_and_the_patient_whom_an_observation_names_are_kept() -> None:
    hub = {"resourceType": "Device", "id": "g", "identifier": [{"system": "urn:example", "value": "GW"}]}
    through = [{"url": GATEWAY, "valueReference": {"reference": "#g"}}]
    sent = observation(contained=[hub], extension=through, subject={"identifier": {"system": "urn:ins", "value": "1"}})
    (message,) = read_resource(sent)
    assert message.gateway == DeviceName("urn:example", "GW") and message.patient == DeviceName("urn:ins", "1")
    assert isinstance(message.readings[0].reading, Reading)
    (message,) = read_resource(observation(subject={"reference": "Patient/7/_history/2"}))
    assert message.patient == DeviceName(REFERENCE, "Patient/7")
    through = [{"url": GATEWAY, "valueReference": {"reference": "Device/9"}}]
    (message,) = read_resource(observation(extension=through))
    assert message.gateway == DeviceName(REFERENCE, "Device/9")
    (message,) = read_resource(observation(subject={"reference": "urn:uuid:1"}))
    assert message.patient is None


def clocked(at: str, clock: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a Bundle of an Observation and of the one that tells of its device's clock, an hour behind."""
    tells = {
        "resourceType": "Observation", "status": "final", "device": DEVICE,
        "code": {"coding": [{"system": MDC, "code": "67975"}]},
        "effectiveDateTime": "2026-11-20T09:00:00+01:00", "valueDateTime": "2026-11-20T08:00:00+01:00",
        "component": [{"code": {"coding": [{"system": MDC, "code": "68220"}]}, "valueCodeableConcept": {"coding": [{"system": MDC, "code": "532224"}]}}],
        **(clock or {}),
    }  # fmt: skip
    through = [{"url": COINCIDENT, "valueReference": {"reference": "urn:uuid:c"}}]
    entries = [
        {"fullUrl": "urn:uuid:c", "resource": tells},
        {"resource": observation(effectiveDateTime=at, extension=through)},
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def test_a_time_that_the_gateway_put_right_is_read_by_the_devices_clock_and_the_clock_with_it() -> None:
    at = "2026-11-20T08:30:00+01:00"
    (message,) = read_resource(clocked(at))
    assert message.clock == Clock("2026-11-20T08:00:00+01:00", "2026-11-20T09:00:00+01:00", "532224")
    reading = message.readings[0].reading
    assert isinstance(reading, Reading) and reading.at == "2026-11-20T07:30:00+01:00"
    measured = assess(reading)
    assert isinstance(measured, Measured)
    again = effective(measured, message.clock, 1_800_000_000_000_000)
    assert not isinstance(again, Reason) and again.at == at


def test_the_guides_second_version_names_the_clock_as_what_a_measurement_is_derived_from() -> None:
    sent = clocked(AT)
    derived = sent["entry"][1]["resource"]
    del derived["extension"]
    derived["derivedFrom"] = [{"reference": "urn:uuid:c"}]
    (message,) = read_resource(sent)
    assert message.clock is not None and [isinstance(item.reading, Reading) for item in message.readings] == [True]
    derived["derivedFrom"].append({"reference": "Observation/another"})
    aside = [item.reading for message in read_resource(sent) for item in message.readings]
    assert reason.FORMAT_UNKNOWN in aside and not any(isinstance(item, Reading) for item in aside)


def test_a_clock_whose_times_are_not_exact_leaves_both_aside() -> None:
    (message,) = read_resource(clocked(AT, {"valueDateTime": "2026-11-20"}))
    assert [received.reading for received in message.readings] == [reason.FORMAT_UNKNOWN] * 2


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize("device", ["9999-12-31T00:00:00Z", "0001-01-01T00:00:00Z"])
def test_a_clock_at_the_end_of_the_calendar_breaks_no_reader(at: str, device: str) -> None:
    (message,) = read_resource(clocked(at, {"valueDateTime": device}))
    reading = message.readings[0].reading
    assert isinstance(reading, Reading)
    made = assess(reading)
    when = made if isinstance(made, Reason) else effective(made, message.clock, 1_800_000_000_000_000)
    assert when in (reason.TIME_UNREADABLE, reason.TIME_FUTURE, reason.TIME_IMPLAUSIBLE)


def test_in_a_bundle_the_device_is_found_by_its_reference() -> None:
    device = {"resourceType": "Device", "identifier": [DEVICE["identifier"]]}
    entries = [
        {"fullUrl": "urn:uuid:d", "resource": device},
        {"resource": observation(device={"reference": "urn:uuid:d"})},
    ]
    (message,) = read_resource({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert message.device == DeviceName("urn:example", "SN-1")
    with pytest.raises(FhirError):
        read_resource(observation(device={"reference": "urn:uuid:unknown"}))

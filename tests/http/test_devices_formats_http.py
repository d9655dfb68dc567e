"""Other formats at `POST /devices`, and a Personal Health Device's own transaction at the FHIR base."""

from __future__ import annotations

import json
import time
import uuid
from datetime import datetime
from typing import Any

import pytest

from tests.running import RunningHub
from tests.telemetry import AT, SYSTEM, Bedside, eventually, kept_aside

URI = "urn:ietf:rfc:3986"
SENML = "application/senml+json"
OMH = "application/vnd.openmhealth+json"


def post(hub: RunningHub, value: Any, media_type: str, query: str = "", **headers: str) -> list[dict[str, Any]]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    answer = hub.request("POST", f"/devices{query}", content=body, Content_Type=media_type, **headers)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


@pytest.fixture
def sensor(hub: RunningHub) -> Bedside:
    """A patient with a device that is known by a URN."""
    return Bedside(hub, system=URI, value=f"urn:dev:mac:{uuid.uuid4().hex[:16]}")


def pack(sensor: Bedside, *records: dict[str, Any], **base: Any) -> list[dict[str, Any]]:
    return [{"bn": f"{sensor.value}:", **base, **records[0]}, *records[1:]]


def test_a_senml_pack_is_stored_in_ucum_with_its_times_and_a_copy_is_known(hub: RunningHub, sensor: Bedside) -> None:
    sent = pack(
        sensor,
        {"n": "8480-6", "u": "mmHg", "v": 128},
        {"n": "8462-4", "u": "mmHg", "v": 79},
        {"n": "heart-rate", "u": "beat/min", "v": 72, "t": 60},
        {"n": "battery", "u": "%EL", "v": 40},
        bt=1_795_000_000,
    )
    first, again = post(hub, sent, SENML), post(hub, sent, SENML)
    assert [result["status"] for result in first] == ["stored", "stored", "quarantined"]
    assert [result["status"] for result in again] == ["duplicate", "duplicate", "quarantined"]
    pressure, pulse = sensor.stored()
    assert [part["valueQuantity"]["code"] for part in pressure["component"]] == ["mm[Hg]", "mm[Hg]"]
    assert pulse["effectiveDateTime"] == "2026-11-18T11:07:40Z"


def test_a_relative_time_is_counted_from_now_and_of_what_is_sent_again_by_its_key_from_then(
    hub: RunningHub, sensor: Bedside
) -> None:
    sent = pack(sensor, {"n": "8867-4", "u": "/min", "v": 72, "t": -5})
    key = uuid.uuid4().hex
    statuses = [post(hub, sent, SENML, Idempotency_Key=key)[0]["status"] for _ in range(2)]
    assert statuses == ["stored", "duplicate"]
    (stored,) = sensor.stored()
    at = datetime.fromisoformat(stored["effectiveDateTime"]).timestamp()
    assert -60 < time.time() - at - 5 < 60
    assert post(hub, sent, SENML, Idempotency_Key=uuid.uuid4().hex)[0]["status"] == "stored"


def test_a_stream_and_a_pack_told_by_its_shape(hub: RunningHub, sensor: Bedside) -> None:
    sent = json.dumps(pack(sensor, {"n": "8867-4", "u": "/min", "v": 72}, bt=1_795_000_000)).encode()
    assert post(hub, sent.rstrip(b"]") + b",\n", "application/sensml+json")[0]["status"] == "stored"
    assert post(hub, sent, "application/json")[0]["status"] == "duplicate"


def point(user: str, **body: Any) -> dict[str, Any]:
    return {
        "header": {
            "id": uuid.uuid4().hex,
            "user_id": user,
            "schema_id": {"namespace": "omh", "name": "blood-pressure", "version": "4.0"},
        },
        "body": {
            "systolic_blood_pressure": {"value": 128, "unit": "mmHg"},
            "diastolic_blood_pressure": {"value": 79, "unit": "mmHg"},
            "effective_time_frame": {"date_time": AT},
            **body,
        },
    }


@pytest.mark.parametrize(
    "media_type", [pytest.param(OMH, id="by name"), pytest.param("application/json", id="by shape")]
)
def test_open_mhealth_is_of_the_account_or_of_the_device_that_is_given(hub: RunningHub, media_type: str) -> None:
    phone = Bedside(hub, system="urn:predmp:devices:account:openmhealth")
    cuff = Bedside(hub)
    sent = point(phone.value)
    assert [post(hub, sent, media_type)[0]["status"] for _ in range(2)] == ["stored", "duplicate"]
    (result,) = post(hub, point("nobody"), media_type, f"?device={SYSTEM}|{cuff.value}")
    assert (result["status"], phone.count(), cuff.count()) == ("stored", 1, 1)
    assert phone.stored()[0]["code"]["coding"][0]["code"] == "85354-9"


def test_a_statistic_and_an_unknown_schema_are_kept_aside_as_they_were_sent(hub: RunningHub) -> None:
    phone = Bedside(hub, system="urn:predmp:devices:account:openmhealth")
    average = point(phone.value, descriptive_statistic="average")
    other = point(phone.value)
    other["header"]["schema_id"]["name"] = "mood"
    assert [result["reason"] for result in post(hub, [average, other], OMH)] == ["statistic", "schema-unknown"]
    kept = [row["reading"] for row in kept_aside(hub)]
    assert average in kept and other in kept
    assert phone.count() == 0


def test_a_fhir_observation_is_a_reading_whose_patient_the_hub_knows(hub: RunningHub) -> None:
    cuff = Bedside(hub)
    sent = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": "Patient/anyone"},
        "device": {"identifier": {"system": SYSTEM, "value": cuff.value}},
        "effectiveDateTime": AT,
        "valueQuantity": {"value": 71.4, "code": "kg", "system": "http://unitsofmeasure.org"},
    }
    assert post(hub, sent, "application/fhir+json")[0]["status"] == "stored"
    assert cuff.stored()[0]["subject"] == {"reference": cuff.patient}
    for number, (subject, status) in enumerate([(cuff.patient, "stored"), (Bedside(hub).patient, "quarantined")], 10):
        named = {**sent, "subject": {"reference": subject}, "effectiveDateTime": f"2026-11-20T08:{number}:00+01:00"}
        (result,) = post(hub, named, "application/fhir+json")
        assert (result["status"], result.get("reason")) == (
            status,
            "patient-mismatch" if status == "quarantined" else None,
        )


def test_what_a_personal_health_gateway_says_beside_the_value_is_in_the_record(hub: RunningHub) -> None:
    bed = Bedside(hub)
    mdc, loinc = "urn:iso:std:iso:11073:10101", "http://loinc.org"
    codings = [
        {"system": mdc, "code": "150456"},
        {"system": loinc, "code": "59408-5"},
        {"system": loinc, "code": "2708-6"},
    ]
    gateway = {"identifier": {"system": "urn:example", "value": "GW-1"}}
    url = "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice"
    bit = {"system": "http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status", "code": "questionable"}
    sent = {
        "resourceType": "Observation",
        "meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}]},
        "extension": [{"url": url, "valueReference": gateway}],
        "status": "final",
        "code": {"coding": codings},
        "subject": {"reference": bed.patient},
        "device": {"identifier": {"system": SYSTEM, "value": bed.value}},
        "effectiveDateTime": AT,
        "interpretation": [{"coding": [bit]}],
        "valueQuantity": {"value": 71, "code": "%", "system": "http://unitsofmeasure.org"},
    }
    assert post(hub, sent, "application/fhir+json")[0]["status"] == "stored"
    (made,) = bed.stored("&code=59408-5")
    assert {coding["code"] for coding in made["code"]["coding"]} == {"150456", "59408-5", "2708-6"}
    assert made["extension"][0]["valueReference"]["identifier"] == gateway["identifier"]
    assert made["interpretation"] == [{"coding": [bit]}]
    assert made["meta"]["security"][0]["code"] == "HTEST"
    assert hub.search(f"Task?patient={bed.patient}")["total"] == 0, "a test alerts nobody"
    ours = hub.create({"resourceType": "Device", "status": "active"})["id"]
    through = [{"url": url, "valueReference": {"reference": f"Device/{ours}"}}]
    later = {**sent, "extension": through, "effectiveDateTime": "2026-11-20T08:10:00+01:00"}
    (result,) = post(hub, later, "application/fhir+json")
    made = hub.request("GET", f"/fhir/{result['reference']}").json()
    assert made["extension"][0]["valueReference"] == {"reference": f"Device/{ours}"}


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        pytest.param(b"<a/>", "application/xml", 415, id="another media type"),
        pytest.param(b"[]", SENML, 400, id="an empty pack"),
        pytest.param(b'{"header":{},"body":{}}', OMH, 400, id="a data point of nobody"),
        pytest.param(b'{"resourceType":"Patient"}', "application/fhir+json", 400, id="another resource"),
        pytest.param(b"\xff", SENML, 400, id="no text"),
    ],
)
def test_what_is_not_of_its_format_is_refused_whole(hub: RunningHub, body: bytes, media_type: str, status: int) -> None:
    answer = hub.request("POST", "/devices", content=body, Content_Type=media_type)
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")


def test_a_transaction_of_a_personal_health_gateway_sent_twice_is_stored_once(hub: RunningHub) -> None:
    patient = hub.create({"resourceType": "Patient"})["id"]
    serial = uuid.uuid4().hex[:16].upper()
    system = "http://hl7.org/fhir/uv/phd/StructureDefinition/PhdBaseObservation"
    value = f"{serial}-{patient}-urn:x-150456-848476800"

    def entry(url: str, resource: dict[str, Any], condition: str, type: str) -> dict[str, Any]:
        request = {"method": "POST", "url": type, "ifNoneExist": condition}
        return {"fullUrl": url, "resource": {"resourceType": type, **resource}, "request": request}

    device_id = {"system": "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680", "value": serial}
    observation = {
        "identifier": [{"system": system, "value": value}],
        "status": "final",
        "code": {"coding": [{"system": "urn:iso:std:iso:11073:10101", "code": "150456"}, {"system": "http://loinc.org", "code": "59408-5"}, {"system": "http://loinc.org", "code": "2708-6"}]},
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
        "subject": {"reference": f"Patient/{patient}"},
        "device": {"reference": "urn:uuid:0b1c1f1e-0000-4000-8000-000000000001"},
        "effectiveDateTime": AT,
        "valueQuantity": {"value": 97, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
    }  # fmt: skip
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            entry("urn:uuid:0b1c1f1e-0000-4000-8000-000000000001", {"identifier": [device_id]}, f"identifier={device_id['system']}|{serial}", "Device"),
            entry("urn:uuid:0b1c1f1e-0000-4000-8000-000000000002", observation, f"identifier={system}|{value}", "Observation"),
        ],
    }  # fmt: skip
    statuses = []
    for _ in range(2):
        answer = hub.request("POST", "/fhir", json=bundle)
        assert answer.status_code == 200, answer.text
        statuses.append([entry["response"]["status"][:3] for entry in answer.json()["entry"]])
    assert statuses == [["201", "201"], ["200", "200"]]
    assert eventually(lambda: hub.search(f"Observation?subject=Patient/{patient}&_summary=count")["total"]) == 1

"""The device feed over real HTTP: once, by the right patient, with its alert, or kept aside with a reason."""

from __future__ import annotations

import concurrent.futures
import gzip
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import zstandard

from tests.running import RunningHub

pytestmark = pytest.mark.every_store

SYSTEM = "urn:example:device"
AT = "2026-11-20T08:00:00+01:00"
PULSE = {"code": "8867-4", "value": "72.0", "unit": "/min", "at": AT, "id": "1"}


class Bedside:
    """A patient with a device."""

    def __init__(self, hub: RunningHub, *, is_assigned: bool = True) -> None:
        self.hub, self.serial = hub, uuid.uuid4().hex
        self.patient = patient(hub)
        device: dict[str, Any] = {
            "resourceType": "Device",
            "status": "active",
            "identifier": [{"system": SYSTEM, "value": self.serial}],
        }
        if is_assigned:
            device["patient"] = {"reference": self.patient}
        self.device = f"Device/{hub.create(device)['id']}"

    def post(self, *readings: Any, token: str = "", **headers: Any) -> list[dict[str, Any]]:
        """Send readings and return the results."""
        body = {"device": {"system": SYSTEM, "value": self.serial}, "readings": list(readings)}
        answer = self.hub.request("POST", "/devices", json=body, token=token, **headers)
        assert answer.status_code == 200, answer.text
        results: list[dict[str, Any]] = answer.json()["results"]
        assert len(results) == len(readings)
        return results

    def count(self, query: str = "") -> int:
        """Return how many Observations the patient has."""
        found = self.hub.search(f"Observation?subject={self.patient}&_summary=count{query}")
        return int(found["total"])


def patient(hub: RunningHub) -> str:
    return f"Patient/{hub.create({'resourceType': 'Patient', 'name': [{'family': 'Mesure'}]})['id']}"


def use(hub: RunningHub, device: str, patient: str, status: str = "active", **period: str) -> None:
    hub.create(
        {
            "resourceType": "DeviceUseStatement",
            "status": status,
            "subject": {"reference": patient},
            "device": {"reference": device},
            "timingPeriod": period,
        }
    )


def test_a_reading_becomes_an_observation_of_the_devices_patient(hub: RunningHub) -> None:
    bed = Bedside(hub)
    (result,) = bed.post(PULSE)
    assert result["status"] == "stored"
    answer = hub.request("GET", f"/fhir/{result['reference']}")
    stored = answer.json()
    assert '"value":72.0' in answer.text
    assert stored["subject"] == {"reference": bed.patient} and stored["device"] == {"reference": bed.device}
    assert (stored["status"], stored["effectiveDateTime"]) == ("final", AT)
    assert stored["category"][0]["coding"][0]["code"] == "vital-signs"


def test_a_copy_is_a_duplicate_and_changes_nothing(hub: RunningHub) -> None:
    bed = Bedside(hub)
    (first,) = bed.post(PULSE)
    (again,) = bed.post(PULSE)
    assert (again["status"], again["reference"]) == ("duplicate", first["reference"])
    assert bed.count() == 1


def test_without_an_id_device_code_and_instant_make_the_reading(hub: RunningHub) -> None:
    bed = Bedside(hub)
    plain = {key: value for key, value in PULSE.items() if key != "id"}
    results = [bed.post(reading)[0]["status"] for reading in (plain, {**plain, "at": "2026-11-20T07:00:00Z"})]
    assert results == ["stored", "duplicate"]


@pytest.mark.parametrize("id", [pytest.param("", id="without ids"), pytest.param("1", id="each with its own id")])
def test_the_same_reading_by_gateways_that_name_the_device_differently_is_stored_once(hub: RunningHub, id: str) -> None:
    bed, other = Bedside(hub), {"system": "urn:example:bluetooth", "value": uuid.uuid4().hex}
    device = hub.request("GET", f"/fhir/{bed.device}").json()
    device["identifier"].append(other)
    hub.request("PUT", f"/fhir/{bed.device}", json=device)
    results = []
    own = {"system": SYSTEM, "value": bed.serial}
    for number, name in enumerate((own, other, other)):
        reading = {"code": "8867-4", "value": 72, "unit": "/min", "at": "2026-11-20T08:00:00Z"}
        reading |= {"id": f"{id}-{min(number, 1)}"} if id else {}
        gateway = {"system": "urn:example:gateway", "value": f"G-{min(number, 1)}"}
        body = {"device": name, "gateway": gateway, "readings": [reading]}
        results += hub.request("POST", "/devices", json=body).json()["results"]
    assert [result["status"] for result in results] == ["stored", "duplicate", "duplicate"]
    assert len({result["reference"] for result in results}) == 1


def test_the_same_identity_with_another_value_is_kept_aside(hub: RunningHub) -> None:
    bed = Bedside(hub)
    bed.post(PULSE)
    (other,) = bed.post({**PULSE, "value": "91"})
    assert (other["status"], other["reason"]) == ("quarantined", "reading-conflict")
    assert bed.count() == 1


def test_a_reading_sent_forty_times_at_once_is_applied_once(hub: RunningHub) -> None:
    bed = Bedside(hub)
    token = hub.operator
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        got = list(pool.map(lambda _: bed.post(PULSE, token=token)[0]["status"], range(40)))
    assert (got.count("stored"), got.count("duplicate")) == (1, 39)
    assert bed.count() == 1


def test_many_readings_are_answered_in_order_and_a_bad_one_does_not_hurt_others(hub: RunningHub) -> None:
    bed = Bedside(hub)
    readings: list[dict[str, Any]] = [{**PULSE, "id": str(n), "value": 60 + n % 30} for n in range(100)]
    readings[10] = {**PULSE, "id": "10", "unit": "furlong"}
    readings[20] = {"code": 7}
    readings[30] = readings[31]
    results = bed.post(*readings)
    assert [n for n, result in enumerate(results) if result["status"] == "quarantined"] == [10, 20]
    assert sorted(results[n]["status"] for n in (30, 31)) == ["duplicate", "stored"]
    assert results[30]["reference"] == results[31]["reference"]
    value = hub.request("GET", f"/fhir/{results[7]['reference']}").json()["valueQuantity"]["value"]
    assert (value, bed.count()) == (67, 97)


def test_a_pressure_by_mdc_codes_in_kilopascal(hub: RunningHub) -> None:
    bed = Bedside(hub)
    parts = [{"code": "150021", "value": "16.0", "unit": "265987"}, {"code": "150022", "value": 10.5, "unit": "kPa"}]
    (result,) = bed.post({"system": "mdc", "code": "150020", "components": parts, "at": AT})
    stored = hub.request("GET", f"/fhir/{result['reference']}").json()
    assert [c["code"] for c in stored["code"]["coding"]] == ["85354-9", "150020"]
    assert [part["valueQuantity"]["value"] for part in stored["component"]] == [120.0, 78.8]
    original = stored["component"][0]["valueQuantity"]["extension"][0]["valueQuantity"]
    assert (original["value"], original["code"]) == (16.0, "kPa")


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        pytest.param({"unit": "furlong"}, "unit-unknown", id="an unknown unit"),
        pytest.param({"unit": "kg"}, "unit-mismatch", id="a unit of another dimension"),
        pytest.param({"value": "9000"}, "value-implausible", id="an implausible value"),
        pytest.param({"at": "20/11/2026"}, "time-unreadable", id="an unreadable time"),
        pytest.param({"code": "1-8"}, "code-unknown", id="an unknown code"),
    ],
)
def test_what_cannot_be_taken_is_kept_with_a_reason_and_no_value(
    hub: RunningHub, odd: dict[str, str], reason: str
) -> None:
    bed = Bedside(hub)
    (french,) = bed.post({**PULSE, **odd})
    (english,) = bed.post({**PULSE, **odd}, Accept_Language="en")
    assert (french["status"], french["reason"]) == ("quarantined", reason)
    assert french["text"] != english["text"]
    assert not any(value in french["text"] for value in ("72.0", "9000", "furlong"))
    (row,) = [row for row in quarantined(hub) if row["device"]["value"] == bed.serial]
    assert (row["reason"], row["times"]) == (reason, 2)
    assert row["reading"] == {**PULSE, **odd}
    assert bed.count() == 0


def quarantined(hub: RunningHub) -> list[dict[str, Any]]:
    """Return all rows, page by page."""
    rows: list[dict[str, Any]] = []
    while page := hub.request("GET", f"/devices/quarantine?after={rows[-1]['seq'] if rows else 0}").json()[
        "quarantined"
    ]:
        rows += page
    return rows


def test_a_reading_of_an_unknown_device_is_taken_once_the_device_is_known(hub: RunningHub) -> None:
    bed = Bedside(hub, is_assigned=False)
    (before,) = bed.post(PULSE)
    assert (before["status"], before["reason"]) == ("quarantined", "patient-unassigned")
    device = hub.request("GET", f"/fhir/{bed.device}").json()
    hub.request("PUT", f"/fhir/{bed.device}", json={**device, "patient": {"reference": bed.patient}})
    (after,) = bed.post(PULSE)
    assert after["status"] == "stored"
    assert [row for row in quarantined(hub) if row["device"]["value"] == bed.serial] == []


def test_an_unknown_device_is_not_created(hub: RunningHub) -> None:
    body = {"device": {"system": SYSTEM, "value": uuid.uuid4().hex}, "readings": [PULSE]}
    (result,) = hub.request("POST", "/devices", json=body).json()["results"]
    assert (result["status"], result["reason"]) == ("quarantined", "device-unknown")
    assert hub.search(f"Device?identifier={SYSTEM}|{body['device']['value']}&_summary=count")["total"] == 0  # type: ignore[index]


def test_a_device_out_of_service_is_unknown(hub: RunningHub) -> None:
    bed = Bedside(hub)
    device = hub.request("GET", f"/fhir/{bed.device}").json()
    hub.request("PUT", f"/fhir/{bed.device}", json={**device, "status": "inactive"})
    assert bed.post(PULSE)[0]["reason"] == "device-unknown"


def test_a_late_reading_goes_to_who_had_the_device_then(hub: RunningHub) -> None:
    bed = Bedside(hub, is_assigned=False)
    before = patient(hub)
    use(hub, bed.device, before, "completed", start="2026-10-01", end="2026-10-31")
    use(hub, bed.device, bed.patient, start="2026-11-01")
    now, late = bed.post(PULSE, {**PULSE, "id": "2", "at": "2026-10-15T08:00:00+02:00"})
    subjects = [hub.request("GET", f"/fhir/{r['reference']}").json()["subject"]["reference"] for r in (now, late)]
    assert subjects == [bed.patient, before]
    (early,) = bed.post({**PULSE, "id": "3", "at": "2026-09-15T08:00:00+02:00"})
    assert early["reason"] == "patient-unassigned"


def test_a_reading_withdrawn_from_the_wrong_patient_is_filed_to_the_right_one_when_it_is_sent_again(
    hub: RunningHub,
) -> None:
    bed, right = Bedside(hub, is_assigned=False), Bedside(hub)
    use = {
        "resourceType": "DeviceUseStatement",
        "status": "active",
        "subject": {"reference": bed.patient},
        "device": {"reference": bed.device},
        "timingPeriod": {"start": "2026-11-01"},
    }
    made = hub.create(use)
    (wrong,) = bed.post(PULSE)
    use |= {"id": made["id"], "subject": {"reference": right.patient}}
    assert hub.request("PUT", f"/fhir/DeviceUseStatement/{made['id']}", json=use).status_code == 200
    assert bed.post(PULSE) == [{"status": "duplicate", "reference": wrong["reference"]}]
    observation = hub.request("GET", f"/fhir/{wrong['reference']}").json()
    withdrawn = {**observation, "status": "entered-in-error"}
    assert hub.request("PUT", f"/fhir/{wrong['reference']}", json=withdrawn).status_code == 200
    (again,), (copy,) = bed.post(PULSE), bed.post(PULSE)
    assert (again["status"], copy["status"], copy["reference"]) == ("stored", "duplicate", again["reference"])
    assert hub.request("GET", f"/fhir/{again['reference']}").json()["subject"]["reference"] == right.patient


@pytest.mark.every_store
def test_a_late_reading_is_of_whom_device_patient_named_then(hub: RunningHub) -> None:
    bed, other = Bedside(hub), Bedside(hub)
    device = hub.request("GET", f"/fhir/{bed.device}").json()
    then = datetime.now(UTC)
    time.sleep(1 - then.microsecond / 1_000_000)  # a change is told to the second
    given = {**device, "patient": {"reference": other.patient}}
    assert hub.request("PUT", f"/fhir/{bed.device}", json=given).status_code == 200
    at = [moment.isoformat(timespec="milliseconds") for moment in (then, datetime.now(UTC))]
    results = bed.post({**PULSE, "at": at[0], "id": "late"}, {**PULSE, "at": at[1], "id": "new"})
    whose = [hub.request("GET", f"/fhir/{each['reference']}").json()["subject"]["reference"] for each in results]
    assert whose == [bed.patient, other.patient]


def test_a_grave_reading_raises_its_alert_in_the_same_transaction(hub: RunningHub) -> None:
    bed = Bedside(hub)
    bed.post({**PULSE, "value": "134"}, {"code": "9279-1", "value": 27, "unit": "resp/min", "at": AT})
    bed.post({"code": "59408-5", "value": 88, "unit": "%", "at": AT})
    flags = [entry["resource"] for entry in hub.search(f"Flag?subject={bed.patient}")["entry"]]
    assert "active" in [flag["status"] for flag in flags]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        pytest.param(b"not json", 400, id="no JSON"),
        pytest.param(b'{"nonsense":1}', 400, id="another shape"),
        pytest.param(b'{"device":{"system":"a","value":"b"},"readings":[{"value":NaN}]}', 400, id="NaN"),
        pytest.param(b'{"device":{"system":"a","value":"\xff"},"readings":[{}]}', 400, id="no UTF-8"),
        pytest.param(b'{"a":1,"a":2}', 400, id="a key twice"),
        pytest.param(
            b'{"device":{"system":"a","value":"b"},"readings":[' + b"{}," * 1000 + b"{}]}", 413, id="1,001 readings"
        ),
        pytest.param(b"[" * 5_000, 400, id="deep"),
        pytest.param(b" " * 2_100_000, 413, id="beyond 2 MiB"),
    ],
)
def test_a_bad_body_gets_an_operation_outcome(hub: RunningHub, content: bytes, status: int) -> None:
    answer = hub.request("POST", "/devices", content=content, Content_Type="application/json")
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/devices"), ("DELETE", "/devices"), ("PUT", "/devices/sessions"), ("GET", "/hl7v2")]
)
def test_a_method_that_a_path_does_not_take_gets_an_operation_outcome(hub: RunningHub, method: str, path: str) -> None:
    answer = hub.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["issue"][0]["code"] == "not-supported"


def test_another_media_type_is_refused(hub: RunningHub) -> None:
    assert hub.request("POST", "/devices", content=b"{}", Content_Type="text/plain").status_code == 415


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        pytest.param("gzip", gzip.compress, 200, id="gzip"),
        pytest.param("zstd", zstandard.compress, 200, id="zstd"),
        pytest.param("identity", bytes, 200, id="as it is"),
        pytest.param("gzip", lambda body: gzip.compress(body)[:-3], 400, id="gzip that was cut off"),
        pytest.param("gzip", lambda body: gzip.compress(b" " * 40_000_000 + body), 413, id="gzip of forty megabytes"),
        pytest.param("br", bytes, 415, id="a coding that is not read"),
    ],
)
def test_a_compressed_body_is_read_within_the_same_bounds(
    hub: RunningHub, coding: str, body: Callable[[bytes], bytes], status: int
) -> None:
    bed = Bedside(hub)
    reading = {"code": "8867-4", "value": 71, "unit": "/min", "at": AT}
    sent = body(json.dumps({"device": {"system": SYSTEM, "value": bed.serial}, "readings": [reading]}).encode())
    headers = {"Content_Type": "application/json", "Content_Encoding": coding}
    answer = hub.request("POST", "/devices", content=sent, **headers)
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.json()["results"][0]["status"] == "stored"
    else:
        assert answer.json()["resourceType"] == "OperationOutcome"


def test_who_may_send_and_who_may_look(hub: RunningHub) -> None:
    body = {"device": {"system": SYSTEM, "value": "x"}, "readings": [PULSE]}
    assert hub.request("POST", "/devices", json=body, token=None).status_code == 401
    assert hub.request("POST", "/devices", json=body, token=hub.token("system/*.rs")).status_code == 403
    gateway = hub.token("system/Observation.c", actor="Organization/gateway")
    assert hub.request("POST", "/devices", json=body, token=gateway).status_code == 200
    assert hub.request("GET", "/devices/quarantine", token=gateway).status_code == 403
    assert hub.request("GET", "/devices/quarantine", token=None).status_code == 401
    assert hub.request("GET", "/devices/quarantine?after=x").status_code == 400


def test_a_gateway_may_write_without_reading(hub: RunningHub) -> None:
    bed = Bedside(hub)
    gateway = hub.token("system/Observation.c", actor="Organization/gateway")
    assert [bed.post(PULSE, token=gateway)[0]["status"] for _ in range(2)] == ["stored", "duplicate"]


def test_a_patients_token_writes_that_patients_readings_and_learns_nothing_of_others(hub: RunningHub) -> None:
    bed, other = Bedside(hub), Bedside(hub)
    own = hub.token("patient/*.cruds", patient=bed.patient.partition("/")[2])
    assert bed.post(PULSE, token=own)[0]["status"] == "stored"
    assert other.post(PULSE, token=own)[0]["reason"] == "device-unknown"
    assert other.count() == 0


def test_readings_leave_no_trace_in_log_and_metrics(hub: RunningHub) -> None:
    bed = Bedside(hub)
    mark = "Zymurgie"
    bed.post({**PULSE, "unit": mark, "id": mark}, {**PULSE, "value": "76.543"})
    metrics = hub.request("GET", "/metrics").text
    assert 'predmp_device_readings_total{status="quarantined",reason="unit-unknown"}' in metrics
    assert not any(text in hub.logged() + metrics for text in (mark, "76.543", bed.serial))


def test_the_openapi_document_shows_the_shape(hub: RunningHub) -> None:
    paths = hub.request("GET", "/openapi.json").json()["paths"]
    schema = paths["/devices"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert json.dumps(schema).count("components") == 1
    assert "/devices/quarantine" in paths

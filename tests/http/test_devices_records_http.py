"""What readings become in the record, over HTTP: each kind in its own resource, with its traces, once."""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.parse
import uuid
from typing import Any

import pytest

from tests.bedside import SYSTEM, Bedside, ago
from tests.running import PATIENCE_S, RunningHub

MDC = "urn:iso:std:iso:11073:10101"
GATEWAY = {"system": "urn:example:gateway", "value": "G-1"}
PULSE = {"system": "mdc", "code": "149530", "unit": "264864"}


def coded(concept: dict[str, Any], system: str) -> list[str]:
    return [item["code"] for item in concept["coding"] if item["system"] == system]


def test_a_reading_has_its_gateway_its_supplemental_type_and_the_guides_identifier(hub: RunningHub) -> None:
    bed = Bedside(hub)
    made = bed.stored({**PULSE, "value": "48.0", "at": ago(60), "types": ["150588"]}, gateway=GATEWAY)
    assert coded(made["code"], "http://loinc.org") == ["8867-4", "8889-8"] and coded(made["code"], MDC) == ["149530"]
    (extension,) = made["extension"]
    assert extension["url"].endswith("/observation-gatewayDevice")
    assert extension["valueReference"]["identifier"] == GATEWAY
    (component,) = made["component"]
    assert coded(component["code"], MDC) == ["68193"]
    assert coded(component["valueCodeableConcept"], MDC) == ["150588"]
    values = [item["value"] for item in made["identifier"] if item["system"].endswith("/PhdBaseObservation")]
    assert [value.startswith(f"{bed.serial}-{bed.ins}-urn:example:ins-149530-") for value in values] == [True]
    (metric,) = bed.found(f"DeviceMetric?source={bed.device}")
    assert (metric["category"], metric["unit"]["coding"][0]["code"]) == ("measurement", "/min")
    bed.send({**PULSE, "value": "49", "at": ago(30)})
    assert len(bed.found(f"DeviceMetric?source={bed.device}")) == 1


@pytest.mark.parametrize(
    ("status", "element", "expected"),
    [
        pytest.param("invalid", "status", "entered-in-error", id="invalid is entered in error"),
        pytest.param("early", "status", "preliminary", id="an early estimate is preliminary"),
        pytest.param("not-available", "dataAbsentReason", "not-performed", id="not available has no value"),
        pytest.param("questionable", "interpretation", "questionable", id="questionable is said in the interpretation"),
        pytest.param("test", "meta", "HTEST", id="a test is labelled"),
    ],
)
def test_status_bits(hub: RunningHub, status: str, element: str, expected: str) -> None:
    bed = Bedside(hub)
    made = bed.stored({**PULSE, "value": "190", "at": ago(60), "status": [status]})
    assert f'"{expected}"' in json.dumps(made[element])
    assert ("valueQuantity" in made) == (status not in ("invalid", "not-available"))


def test_a_test_reading_is_not_judged(hub: RunningHub) -> None:
    bed = Bedside(hub)
    readings: list[dict[str, Any]] = [
        {"code": "9279-1", "value": 31, "unit": "/min", "at": ago(60)},
        {"code": "59408-5", "value": 84, "unit": "%", "at": ago(60)},
        {"system": "mdc", "code": "8519681", "at": ago(60)},
    ]
    assert {result["status"] for result in bed.send(*readings, test=True)} == {"stored"}
    assert bed.found(f"Task?patient={bed.patient}") == []


VITALS: dict[str, tuple[str, dict[str, Any]]] = {
    "85354-9": ("bp", {"components": [
        {"code": "8480-6", "value": 128, "unit": "mmHg"}, {"code": "8462-4", "value": "10.5", "unit": "kPa"}]}),
    "8867-4": ("heartrate", {"value": "72.0", "unit": "bpm"}),
    "9279-1": ("resprate", {"value": 15, "unit": "/min"}),
    "2708-6": ("oxygensat", {"value": 97, "unit": "%"}),
    "59408-5": ("oxygensat", {"value": "NaN", "unit": "%"}),
    "8310-5": ("bodytemp", {"value": "98.6", "unit": "degF"}),
    "29463-7": ("bodyweight", {"value": "154.3", "unit": "lb"}),
    "8302-2": ("bodyheight", {"value": "1.71", "unit": "m"}),
    "9843-4": ("headcircum", {"value": "14.0", "unit": "in"}),
    "39156-5": ("bmi", {"value": "23.1", "unit": "kg/m2"}),
}  # fmt: skip


@pytest.mark.parametrize("code", [pytest.param(code, id=f"{name} {code}") for code, (name, _) in VITALS.items()])
def test_vital_signs_conform_to_r4s_profiles(hub: RunningHub, code: str) -> None:
    bed, (profile, reading) = Bedside(hub), VITALS[code]
    made = bed.stored({"code": code, "at": ago(60), **reading}, gateway=GATEWAY)
    url = f"/fhir/Observation/$validate?profile=http://hl7.org/fhir/StructureDefinition/{profile}"
    without = {key: value for key, value in made.items() if key != "category"}
    errors = [
        [issue for issue in hub.request("POST", url, json=one).json()["issue"] if issue["severity"] == "error"]
        for one in (made, without)
    ]
    assert errors[0] == [] and errors[1] != [], "it conforms; without its category it would not"


def test_a_wave_is_cut_into_observations_of_half_a_minute(hub: RunningHub) -> None:
    bed = Bedside(hub)
    data = [n % 50 - 25 for n in range(250 * 70)]
    samples = {"origin": 0, "unit": "266418", "period": 4, "factor": "0.00488", "data": data}
    reading = {"system": "mdc", "code": "131330", "at": "2026-11-20T08:00:00+01:00", "samples": samples}
    (result,) = bed.send(reading)
    assert result["status"] == "stored", result
    waves = bed.found(f"Observation?patient={bed.patient}&code={MDC}|131330&_sort=date")
    periods = [(wave["effectivePeriod"]["start"][11:19], wave["effectivePeriod"]["end"][11:19]) for wave in waves]
    assert periods == [("08:00:00", "08:00:30"), ("08:00:30", "08:01:00"), ("08:01:00", "08:01:10")]
    first = waves[0]["valueSampledData"]
    assert (first["origin"]["code"], first["period"], first["factor"]) == ("mV", 4, 0.00488)
    assert [int(text) for wave in waves for text in wave["valueSampledData"]["data"].split()] == data
    assert bed.send(reading)[0] == {**result, "status": "duplicate"}
    assert len(bed.found(f"Observation?patient={bed.patient}")) == 3


def test_a_long_wave_is_one_document(hub: RunningHub) -> None:
    bed = Bedside(hub)
    samples = {"unit": "mV", "period": 100, "data": " ".join(str(n % 7) for n in range(6_000))}
    made = bed.stored({"system": "mdc", "code": "131329", "at": ago(700), "samples": samples})
    attachment = made["content"][0]["attachment"]
    body = json.loads(base64.b64decode(attachment["data"]))
    assert (made["resourceType"], attachment["contentType"]) == ("DocumentReference", "application/json")
    assert len(body["data"].split()) == 6_000 and body["period"] == 100
    assert made["subject"]["reference"] == bed.patient


def test_a_rhythm_is_a_code(hub: RunningHub) -> None:
    bed = Bedside(hub)
    made = bed.stored({"system": "mdc", "code": "184327", "coded": {"code": "147720"}, "at": ago(60)})
    assert coded(made["code"], "http://loinc.org") == ["8884-9"]
    assert coded(made["valueCodeableConcept"], MDC) == ["147720"]


def test_what_a_dispenser_gives_out_is_an_administration(hub: RunningHub) -> None:
    bed = Bedside(hub)
    medication = {"system": "http://www.whocc.no/atc", "code": "C07AB07", "text": "Bisoprolol"}
    reading = {"system": "mdc", "code": "8532993", "at": ago(60), "medication": medication}
    made = bed.stored({**reading, "value": "2", "unit": "{dose}"})
    assert (made["resourceType"], made["status"]) == ("MedicationAdministration", "completed")
    assert made["medicationCodeableConcept"]["coding"][0]["code"] == "C07AB07"
    assert (made["dosage"]["dose"]["value"], made["subject"]["reference"]) == (2, bed.patient)
    missed = bed.stored({**reading, "at": ago(50), "coded": {"system": "urn:x:feedback", "code": "missed"}})
    assert missed["status"] == "not-done"


def test_a_clock_that_begins_anew_each_time_makes_no_two_measurements_one(hub: RunningHub) -> None:
    bed, reading = Bedside(hub), {"code": "8310-5", "value": "36.6", "unit": "Cel", "at": "1970-01-01T00:00:30Z"}
    results, late = [], ago(3600)
    for read in (ago(7200), late, late):
        clock = {"device": "1970-01-01T00:01:00Z", "gateway": read}
        results += bed.send(reading, clock=clock)
    assert [result["status"] for result in results] == ["stored", "stored", "duplicate"]
    assert results[2]["reference"] == results[1]["reference"]


def test_control_solution_is_never_a_patients(hub: RunningHub) -> None:
    bed = Bedside(hub)
    (result,) = bed.send({"system": "mdc", "code": "160208", "value": 110, "unit": "mg/dL", "at": ago(60)})
    assert (result["status"], result["reason"]) == ("quarantined", "control-solution")
    assert bed.found(f"Observation?patient={bed.patient}") == []


@pytest.mark.parametrize(
    ("system", "value", "status"),
    [
        pytest.param("urn:example:ins", None, "stored", id="the identifier of who has the device"),
        pytest.param("urn:example:ins", "another", "quarantined", id="another person's"),
    ],
)
def test_a_payload_that_names_a_person_is_compared(hub: RunningHub, system: str, value: str, status: str) -> None:
    bed = Bedside(hub)
    named = {"system": system, "value": value or bed.ins}
    (result,) = bed.send({**PULSE, "value": 70, "at": ago(60)}, patient=named)
    assert result["status"] == status
    assert value is None or result["reason"] == "patient-mismatch"


def test_many_devices_in_one_body_and_as_lines(hub: RunningHub) -> None:
    bed, other = Bedside(hub), Bedside(hub)
    messages = [
        {"device": one.name, "readings": [{**PULSE, "value": 70 + n, "at": ago(60 + n)} for n in range(2)]}
        for one in (bed, other)
    ]
    lines = "\n".join(json.dumps(message) for message in messages).encode()
    for body, kind in ((json.dumps(messages).encode(), "application/json"), (lines, "application/x-ndjson")):
        answer = hub.request("POST", "/devices", content=body, Content_Type=kind)
        assert answer.status_code == 200 and len(answer.json()["results"]) == 4
    assert {result["status"] for result in answer.json()["results"]} == {"duplicate"}
    assert len(bed.found(f"Observation?patient={other.patient}")) == 2
    bad = hub.request("POST", "/devices", content=lines + b"\n{}", Content_Type="application/x-ndjson")
    assert bad.status_code == 400 and "Line 3" in bad.text


@pytest.mark.parametrize(
    ("code", "unit", "values"),
    [
        pytest.param("59408-5", "%", (97, 55), id="a saturation"),
        pytest.param("29463-7", "kg", (82, 61), id="a weight: another person stood on the scale"),
    ],
)
def test_a_jump_no_body_makes_is_stored_and_told(
    hub: RunningHub, code: str, unit: str, values: tuple[int, int]
) -> None:
    bed = Bedside(hub)
    readings = [
        {"code": code, "unit": unit, "value": value, "at": ago(before)}
        for value, before in zip(values, (60, 50), strict=True)
    ]
    bed.send(*readings)
    bed.send(*readings)
    assert len(bed.found(f"Observation?patient={bed.patient}&code={code}")) == 2
    (issue,) = bed.found(f"DetectedIssue?patient={bed.patient}")
    assert issue["code"]["coding"][0]["code"] == "artefact"
    (task,) = bed.found(f"Task?patient={bed.patient}&code=urn:predmp:triage:family|artefact")
    assert task["priority"] == "routine"


def test_a_session_of_a_cart_is_one_encounter_with_everything_in_it(hub: RunningHub) -> None:
    bed, serials = Bedside(hub), [uuid.uuid4().hex for _ in range(4)]
    for serial in serials:
        bed.add_device(serial, is_assigned=False)
    cuff, oximeter, scale, scope = ({"system": SYSTEM, "value": serial} for serial in serials)
    picture = base64.b64encode(b"\x89PNG" + bytes(2_000)).decode()
    pressure = [{"code": "8480-6", "value": 128, "unit": "mmHg"}, {"code": "8462-4", "value": 79, "unit": "mmHg"}]
    body = {
        "id": uuid.uuid4().hex,
        "patient": {"system": "urn:example:ins", "value": bed.ins},
        "location": "Cabine 3",
        "messages": [
            {"device": cuff, "readings": [{"code": "85354-9", "components": pressure, "at": ago(300)}]},
            {
                "device": oximeter,
                "readings": [
                    {"code": "59408-5", "value": 97, "unit": "%", "at": ago(280)},
                    {"code": "8310-5", "value": "36.80", "unit": "Cel", "id": "t1"},
                ],
            },
            {"device": scale, "readings": [{"code": "29463-7", "value": "71.5", "unit": "kg", "at": ago(200)}]},
            {
                "device": scope,
                "readings": [
                    {"system": "local", "code": code, "at": ago(100), "media": {"contentType": kind, "data": picture}}
                    for code, kind in (("otoscope", "image/png"), ("stethoscope-heart", "audio/wav"))
                ],
            },
        ],
    }
    first = hub.request("POST", "/devices/sessions", json=body)
    assert first.status_code == 200, first.text
    assert [result["status"] for result in first.json()["results"]] == ["stored"] * 6, first.text
    encounter = bed.get(first.json()["encounter"])
    assert (encounter["class"]["code"], encounter["status"], encounter["subject"]["reference"]) == (
        "VR",
        "finished",
        bed.patient,
    )
    of_session = bed.found(f"Observation?encounter={first.json()['encounter']}")
    pictures = bed.found(f"Media?encounter={first.json()['encounter']}")
    assert len(of_session) == 4 and {media["type"]["coding"][0]["code"] for media in pictures} == {"image", "audio"}
    assert all(base64.b64decode(media["content"]["data"]).startswith(b"\x89PNG") for media in pictures)
    again = hub.request("POST", "/devices/sessions", json=body).json()
    assert [result["status"] for result in again["results"]] == ["duplicate"] * 6
    assert again["encounter"] == first.json()["encounter"]
    # The cart is nobody's once the session is over.
    late = hub.request("POST", "/devices", json={"device": cuff, "readings": [{**PULSE, "value": 70, "at": ago(-60)}]})
    assert late.json()["results"][0]["reason"] == "patient-unassigned"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"patient": {"system": "urn:example:ins", "value": "nobody"}}, 422, id="an unknown patient"),
        pytest.param({"patient": {"reference": ["Patient/1"]}}, 400, id="a patient whose reference is a list"),
        pytest.param({"start": "yesterday"}, 400, id="a time that is none"),
        pytest.param({"messages": {}}, 400, id="messages that are no list"),
        pytest.param({"more": 1}, 400, id="a field without meaning"),
    ],
)
def test_a_bad_session_is_refused(hub: RunningHub, change: dict[str, Any], status: int) -> None:
    body = {"id": uuid.uuid4().hex, "patient": {"reference": Bedside(hub).patient}, "messages": [], **change}
    answer = hub.request("POST", "/devices/sessions", json=body)
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")


def test_sessions_and_events_leave_no_trace_in_log_and_metrics(hub: RunningHub) -> None:
    bed, mark = Bedside(hub), "Zymurgie"
    reading = {"code": "59408-5", "value": "76.543", "unit": mark, "at": ago(60), "id": mark}
    body = {
        "id": mark + uuid.uuid4().hex,
        "patient": {"system": "urn:example:ins", "value": bed.ins},
        "location": mark,
        "reason": mark,
        "messages": [{"device": bed.name, "readings": [reading, {"system": "mdc", "code": "8519681", "at": ago(5)}]}],
    }
    assert hub.request("POST", "/devices/sessions", json=body).status_code == 200
    refused = hub.request("POST", "/devices/sessions", json={**body, "patient": {"system": mark, "value": mark}})
    assert refused.status_code == 422 and mark not in refused.text
    traces = hub.logged() + hub.request("GET", "/metrics").text
    assert not any(text in traces for text in (mark, "76.543", bed.serial, bed.ins))


def test_a_session_stays_with_its_patient(hub: RunningHub) -> None:
    id = uuid.uuid4().hex
    answers = [
        hub.request(
            "POST",
            "/devices/sessions",
            json={"id": id, "patient": {"reference": Bedside(hub).patient}, "messages": [], "open": True},
        ).status_code
        for _ in range(2)
    ]
    assert answers == [200, 409]


def test_the_page_of_what_was_kept_aside_tries_again_and_leaves_out(hub: RunningHub) -> None:
    bed = Bedside(hub)
    bed.send({**PULSE, "value": 9_000, "at": ago(60)})
    page = hub.request("GET", "/admin/devices")
    assert page.status_code == 200 and "csrf" in page.text
    assert hub.request("GET", "/admin/devices", token=hub.token(actor="Practitioner/1")).status_code == 403
    (row,) = kept_aside(hub, bed)
    reader = hub.token("system/*.rs")
    refused = hub.request("POST", "/admin/devices", token=reader, content=f"key={row['key']}&action=dismiss".encode(),
                          Content_Type="application/x-www-form-urlencoded")  # fmt: skip
    assert (refused.status_code, len(kept_aside(hub, bed))) == (403, 1), "who only reads leaves nothing out"
    form = {"csrf": re.findall(r'name="csrf" value="([^"]+)"', page.text)[0], "key": row["key"]}
    for action, left in (("again", 1), ("dismiss", 0)):
        content = urllib.parse.urlencode({**form, "action": action}).encode()
        answer = hub.request(
            "POST", "/admin/devices", content=content, Content_Type="application/x-www-form-urlencoded"
        )
        assert answer.status_code == 303, answer.text
        assert len(kept_aside(hub, bed)) == left
    assert row["times"] == 1
    bed.send({**PULSE, "value": 9_000, "at": row["reading"]["at"]})
    assert kept_aside(hub, bed) == [], "what a person left out stays out when it comes again"


def kept_aside(hub: RunningHub, bed: Bedside) -> list[dict[str, Any]]:
    """Return the rows of a device, page by page."""
    rows: list[dict[str, Any]] = []
    while page := hub.request("GET", f"/devices/quarantine?after={rows[-1]['seq'] if rows else 0}").json()[
        "quarantined"
    ]:
        rows += page
    return [row for row in rows if row["device"]["value"] == bed.serial]


def test_what_is_expected_and_does_not_come_opens_an_alert_that_ends_when_it_comes() -> None:
    with RunningHub(env={"PREDMP_DEVICE_WATCH": "1"}) as hub:
        bed = Bedside(hub)
        timing = {"repeat": {"frequency": 1, "period": 3, "periodUnit": "s"}}
        order = hub.create(
            {
                "resourceType": "ServiceRequest",
                "status": "active",
                "intent": "order",
                "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
                "subject": {"reference": bed.patient},
                "occurrenceTiming": timing,
            }
        )
        use = {"resourceType": "DeviceUseStatement", "status": "active", "timingTiming": timing}
        gateway = bed.add_device("G-7", is_assigned=False)
        for device in (bed.device, gateway):
            hub.create({**use, "subject": {"reference": bed.patient}, "device": {"reference": device}})
        query = f"Task?patient={bed.patient}&status=requested"
        tasks = wait_for(lambda: bed.found(query), 3)
        families = {code for task in tasks for code in coded(task["code"], "urn:predmp:triage:family")}
        assert families == {"measurement-missing", "device-silent"}
        assert len(bed.found(f"DetectedIssue?patient={bed.patient}")) == 3
        assert bed.found(f"Observation?patient={bed.patient}") == [], "what is missing scores nothing"
        hub.request("PUT", f"/fhir/ServiceRequest/{order['id']}", json={**order, "status": "completed"})
        (done,) = bed.found(f"Task?patient={bed.patient}&status=cancelled")
        assert coded(done["code"], "urn:predmp:triage:family") == ["measurement-missing"], "its order is done"
        weight = {"code": "29463-7", "value": "71.5", "unit": "kg", "at": ago()}
        bed.send(weight, gateway={"system": SYSTEM, "value": "G-7"})
        ended = wait_for(lambda: bed.found(f"Task?patient={bed.patient}&status=cancelled"), 3)
        assert {bed.device, gateway} <= {task.get("requester", {}).get("reference", "") for task in ended}
        assert len(bed.found(f"Flag?patient={bed.patient}&status=inactive")) >= 3


def wait_for(look: Any, count: int) -> list[dict[str, Any]]:
    """Look until so many are there."""
    end = time.monotonic() + PATIENCE_S
    while len(found := look()) < count and time.monotonic() < end:
        time.sleep(0.1)
    assert len(found) >= count, found
    made: list[dict[str, Any]] = found
    return made

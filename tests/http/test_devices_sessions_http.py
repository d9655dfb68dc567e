"""Sessions of a telemedicine cart that follow one another, are opened first and measured later, or have odd times."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import pytest

from tests.bedside import SYSTEM, Bedside, ago
from tests.running import RunningHub


def pulse(**more: Any) -> dict[str, Any]:
    return {"code": "8867-4", "value": 71, "unit": "/min", **more}


class Cart:
    """One device that is nobody's, and the sessions it is used in."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub, self.bed = hub, Bedside(hub)
        self.name = {"system": SYSTEM, "value": uuid.uuid4().hex}
        self.device = self.bed.add_device(self.name["value"], is_assigned=False)

    def session(self, patient: str, *readings: dict[str, Any], **more: Any) -> dict[str, Any]:
        body = {
            "id": uuid.uuid4().hex,
            "patient": {"reference": patient},
            "messages": [{"device": self.name, "readings": list(readings)}],
        }
        answer = self.hub.request("POST", "/devices/sessions", json={**body, **more})
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def uses(self) -> list[dict[str, Any]]:
        return self.bed.found(f"DeviceUseStatement?device={self.device}")


def test_two_patients_one_after_the_other_within_a_second_keep_their_own(hub: RunningHub) -> None:
    cart, at = Cart(hub), ago()
    patients = [Bedside(hub).patient for _ in range(2)]
    for number, patient in enumerate(patients):
        (result,) = cart.session(patient, pulse(at=at, id=str(number)))["results"]
        assert result["status"] == "stored", result
        assert cart.bed.get(result["reference"])["subject"]["reference"] == patient


def test_a_session_left_open_does_not_keep_the_next_ones_readings_aside(hub: RunningHub) -> None:
    cart, forgotten = Cart(hub), Bedside(hub).patient
    cart.session(forgotten, pulse(at=ago(60)), open=True)
    (result,) = cart.session(cart.bed.patient, pulse(at=ago()))["results"]
    assert cart.bed.get(result["reference"])["subject"]["reference"] == cart.bed.patient


def test_a_device_of_another_persons_own_stays_aside_in_a_session_too(hub: RunningHub) -> None:
    bed, cart = Bedside(hub), Cart(hub)
    cart.name = bed.name
    (result,) = cart.session(cart.bed.patient, pulse(at=ago()))["results"]
    assert result["reason"] == "patient-ambiguous"


def test_a_session_takes_no_device_from_whom_it_is_assigned_to(hub: RunningHub) -> None:
    bed, cart, id = Bedside(hub), Cart(hub), uuid.uuid4().hex
    cart.name, cart.device = bed.name, bed.device
    cart.session(cart.bed.patient, id=id, open=True)
    assert not cart.uses()
    assert bed.stored(pulse(at=ago()))["subject"]["reference"] == bed.patient
    (result,) = cart.session(cart.bed.patient, pulse(at=ago(5)), id=id)["results"]
    assert result["reason"] == "patient-ambiguous"


def test_a_session_takes_the_patients_own_device_too(hub: RunningHub) -> None:
    bed, cart = Bedside(hub), Cart(hub)
    cart.name = bed.name
    made = cart.session(bed.patient, pulse(at=ago()))
    assert bed.get(made["results"][0]["reference"])["encounter"]["reference"] == made["encounter"]


def test_a_session_opened_with_its_devices_takes_what_they_send_later(hub: RunningHub) -> None:
    cart, id = Cart(hub), uuid.uuid4().hex
    assert cart.session(cart.bed.patient, id=id, open=True)["results"] == []
    body = {"device": cart.name, "session": id, "readings": [pulse(at=ago())]}
    (result,) = hub.request("POST", "/devices", json=body).json()["results"]
    assert result["status"] == "stored", result
    made = cart.bed.get(result["reference"])
    assert made["subject"]["reference"] == cart.bed.patient
    assert made["encounter"]["reference"] == cart.session(cart.bed.patient, id=id)["encounter"]


def test_pictures_of_one_second_are_kept_each_and_once(hub: RunningHub) -> None:
    cart = Cart(hub)
    left, right = (
        {
            "system": "local",
            "code": "otoscope",
            "at": "2026-11-20T08:00:00Z",
            "media": {"contentType": "image/jpeg", "data": base64.b64encode(picture).decode()},
        }
        for picture in (b"left", b"right")
    )
    results = [
        *cart.session(cart.bed.patient, left, right)["results"],
        *cart.session(cart.bed.patient, right)["results"],
    ]
    assert [result["status"] for result in results] == ["stored", "stored", "duplicate"]
    assert results[2]["reference"] == results[1]["reference"]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        pytest.param("audio/webm;codecs=opus", "audio/webm;codecs=opus", id="a parameter"),
        pytest.param('Audio/WAV; codecs="1"', "audio/wav;codecs=1", id="in any case, quoted"),
        pytest.param("audio/wav;", "", id="a parameter that is none"),
        pytest.param("application/pdf", "", id="neither a picture nor a sound"),
    ],
)
def test_a_media_type_with(hub: RunningHub, sent: str, stored: str) -> None:
    cart = Cart(hub)
    media = {"contentType": sent, "data": base64.b64encode(b"RIFF").decode()}
    reading = {"system": "local", "code": "stethoscope-heart", "at": ago(10), "media": media}
    (result,) = cart.session(cart.bed.patient, reading)["results"]
    assert (result["status"] == "stored") == bool(stored), result
    if stored:
        assert cart.bed.get(result["reference"])["content"]["contentType"] == stored


def test_a_device_named_twice_is_given_once(hub: RunningHub) -> None:
    cart = Cart(hub)
    messages = [{"device": cart.name, "readings": [pulse(at=ago(seconds))]} for seconds in (20, 10)]
    results = cart.session(cart.bed.patient, messages=messages)["results"]
    assert [result["status"] for result in results] == ["stored", "stored"]
    assert len(cart.uses()) == 1


@pytest.mark.parametrize(
    ("at", "clock"),
    [
        pytest.param("1970-01-01T00:05:00Z", None, id="a clock that was never set"),
        pytest.param("9999-12-31T23:59:59Z", None, id="the last second there is"),
        pytest.param(
            "9999-12-31T23:59:59Z",
            {"device": "0001-01-01T00:00:00Z", "gateway": "2026-11-23T00:00:00Z"},
            id="a correction beyond the calendar",
        ),
    ],
)
def test_a_time_that_is_not_believed_begins_no_session(hub: RunningHub, at: str, clock: dict[str, str] | None) -> None:
    cart, before = Cart(hub), ago(120)
    readings = [pulse(at=at), pulse(at=before, id="good")] if clock is None else [pulse(at=at)]
    message = {"device": cart.name, "readings": readings, **({"clock": clock} if clock else {})}
    made = cart.session(cart.bed.patient, messages=[message])
    assert made["results"][0]["status"] == "quarantined"
    start = cart.bed.get(made["encounter"])["period"]["start"]
    assert start == before if clock is None else start[:4] not in ("9999", "0001")
    (use,) = cart.uses()
    assert use["timingPeriod"]["start"] == start


def test_a_device_that_joins_a_session_that_is_over_stays_in_nobodys_hands(hub: RunningHub) -> None:
    cart, id = Cart(hub), uuid.uuid4().hex
    cart.session(cart.bed.patient, pulse(at=ago(60)), id=id)
    first, cart.name = cart.device, {"system": SYSTEM, "value": uuid.uuid4().hex}
    cart.device = cart.bed.add_device(cart.name["value"], is_assigned=False)
    results = cart.session(cart.bed.patient, pulse(at=ago(30)), pulse(at=ago(-60)), id=id)["results"]
    assert [result["status"] for result in results] == ["stored", "quarantined"]
    assert results[1]["reason"] == "patient-unassigned"
    (use,) = cart.uses()
    assert use["status"] == "completed"
    cart.device = first
    assert [other["timingPeriod"]["end"] for other in cart.uses()] == [use["timingPeriod"]["end"]]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="a clock that runs ahead a little"),
        pytest.param({"end": ago(600)}, id="an end before the first reading"),
    ],
)
def test_a_session_is_closed_whatever_its_clocks_show(hub: RunningHub, more: dict[str, str]) -> None:
    cart = Cart(hub)
    made = cart.session(cart.bed.patient, pulse(at=ago(-100)), **more)
    assert [result["status"] for result in made["results"]] == ["stored"]
    encounter, (use,) = cart.bed.get(made["encounter"]), cart.uses()
    assert (encounter["status"], use["status"]) == ("finished", "completed")
    assert encounter["period"]["start"] == encounter["period"]["end"] == use["timingPeriod"]["end"]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"start": ago(-3_600)}, id="begins in an hour"),
        pytest.param({"end": ago(-3_600)}, id="ends in an hour"),
        pytest.param({"start": "2026-11-20T08:00:00Z", "end": "2026-11-20T07:59:59Z"}, id="ends before it begins"),
    ],
)
def test_a_session_of_no_time_is_refused_whole(hub: RunningHub, more: dict[str, str]) -> None:
    cart, id = Cart(hub), uuid.uuid4().hex
    body = {"id": id, "patient": {"reference": cart.bed.patient}, "messages": [{"device": cart.name, "readings": []}]}
    answer = hub.request("POST", "/devices/sessions", json={**body, **more})
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")
    assert not cart.uses() and not cart.bed.found(f"Encounter?identifier=urn:predmp:devices:session|{id}")


def test_an_open_session_does_not_end_before_it_began(hub: RunningHub) -> None:
    cart, id = Cart(hub), uuid.uuid4().hex
    cart.session(cart.bed.patient, pulse(at=ago(60)), id=id, open=True)
    body = {"id": id, "patient": {"reference": cart.bed.patient}, "end": ago(120), "messages": []}
    assert hub.request("POST", "/devices/sessions", json=body).status_code == 400
    assert cart.uses()[0]["status"] == "active"
    assert cart.session(cart.bed.patient, id=id, end=ago(10), messages=[])["status"] == "finished"
    assert cart.uses()[0]["status"] == "completed"

"""Triage over real HTTP: the published vectors, one episode, two people at once, CDS Hooks, the worklist's pages."""

from __future__ import annotations

import json
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningHub

pytestmark = pytest.mark.every_store

VECTORS = Path(__file__).parents[3] / "shared" / "data" / "triage_vectors.json"
AT = "2026-11-20T08:00:00+01:00"
LOINC = "http://loinc.org"
SIGN = "urn:predmp:triage:sign"
SCORE = "urn:predmp:triage:score"
NUMBERS = {
    "resp_rate": ("9279-1", "/min"),
    "spo2": ("2708-6", "%"),
    "systolic_bp": ("8480-6", "mm[Hg]"),
    "pulse": ("8867-4", "/min"),
    "temperature": ("8310-5", "Cel"),
}
CALM: dict[str, Any] = {
    "resp_rate": 16,
    "spo2": 97,
    "on_oxygen": False,
    "systolic_bp": 125,
    "pulse": 72,
    "consciousness": "A",
    "temperature": Decimal("36.8"),
}
GRAVE = {"resp_rate": 28, "spo2": 88, "pulse": 135}
WATCH = {"spo2": 90}


def vectors(rule: str) -> list[dict[str, Any]]:
    if not VECTORS.exists():
        pytest.skip("the triage vectors (../shared/data/triage_vectors.json) are not here")
    found = json.loads(VECTORS.read_text(), parse_float=Decimal)["vectors"]
    return [vector for vector in found if vector["rule"] == rule]


def new_patient(hub: RunningHub, **more: Any) -> str:
    """Create a patient and return its id."""
    name = [{"family": f"Essai{uuid.uuid4().hex[:6]}", "given": ["Zoé"]}]
    return str(hub.create({"resourceType": "Patient", "birthDate": "1951-04-23", "name": name, **more})["id"])


def observation(name: str, value: Any, patient: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "resourceType": "Observation",
        "status": "final",
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": AT,
    }
    if name in NUMBERS:
        code, unit = NUMBERS[name]
        made["valueQuantity"] = {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
        return {**made, "code": {"coding": [{"system": LOINC, "code": code}]}}
    if name == "on_oxygen":
        return {**made, "valueBoolean": value, "code": {"coding": [{"system": SIGN, "code": "on-oxygen"}]}}
    answer = {"coding": [{"system": "urn:predmp:triage:acvpu", "code": value}]}
    return {**made, "valueCodeableConcept": answer, "code": {"coding": [{"system": LOINC, "code": "67775-7"}]}}


def measure(hub: RunningHub, patient: str, values: dict[str, Any]) -> None:
    """Send measurements of one moment as one transaction."""
    entries = [
        {"resource": observation(name, value, patient), "request": {"method": "POST", "url": "Observation"}}
        for name, value in values.items()
    ]
    body = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    text = json.dumps(body, default=lambda number: f"decimal{number}")
    content = re.sub(r'"decimal([0-9.]+)"', r"\1", text).encode()
    answer = hub.request("POST", "/fhir", content=content)
    assert answer.status_code == 200, answer.text


def found(hub: RunningHub, query: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in hub.search(query).get("entry", [])]


def scored(hub: RunningHub, values: dict[str, Any], scale: int) -> dict[str, Any]:
    """Measure a new patient and return the score's parts by code, with `total` and `level`."""
    patient = new_patient(hub, gender="male")
    if scale == 2:
        doctor = hub.create({"resourceType": "Practitioner"})["id"]
        setting = {"system": "urn:predmp:triage:setting", "code": "news2-spo2-scale-2"}
        flag = {"resourceType": "Flag", "status": "active", "code": {"coding": [setting]}}
        author = {"reference": f"Practitioner/{doctor}"}
        hub.create({**flag, "subject": {"reference": f"Patient/{patient}"}, "author": author})
    measure(hub, patient, values)
    (score,) = found(hub, f"Observation?patient={patient}&code={SCORE}%7Cnews2")
    parts = {part["code"]["coding"][0]["code"]: part["valueInteger"] for part in score["component"]}
    assert score["status"] == "final"
    return {**parts, "total": score["valueInteger"], "level": score["interpretation"][0]["coding"][0]["code"]}


def test_news2_totals_give_the_published_result(hub: RunningHub) -> None:
    wrong = []
    for vector in vectors("news2_total"):
        values = dict(vector["input"])
        score = scored(hub, values, values.pop("spo2_scale"))
        points = [score[f"news2-{name.replace('_', '-')}"] for name in CALM]
        got = {"total": score["total"], "single_red": 3 in points, "level": score["level"]}
        if got != vector["expected"]:
            wrong.append((vector["id"], got))
    assert wrong == []


def test_news2_subscores_give_the_published_result(hub: RunningHub) -> None:
    wrong = []
    for vector in vectors("news2_subscore"):
        given = vector["input"]
        name = {"supplemental_oxygen": "on_oxygen"}.get(given["parameter"], given["parameter"])
        values = {**CALM, "on_oxygen": given.get("on_oxygen", False), name: given["value"]}
        score = scored(hub, values, given.get("scale", 1))
        if score[f"news2-{name.replace('_', '-')}"] != vector["expected"]["points"]:
            wrong.append((vector["id"], score))
    assert wrong == []


def used(hub: RunningHub, patient: str) -> list[int]:
    """Return of how many measurements each score of a patient is made."""
    return [len(score["derivedFrom"]) for score in found(hub, f"Observation?patient={patient}&code={SCORE}%7Cnews2")]


def test_after_a_merge_the_measurements_of_both_count(hub: RunningHub) -> None:
    source, target = new_patient(hub, gender="male"), new_patient(hub, gender="male")
    measure(hub, source, {"resp_rate": 16})
    measure(hub, target, {"pulse": 72})
    both = {"source": source, "target": target}
    parts = [{"name": f"{role}-patient", "valueReference": {"reference": f"Patient/{id}"}} for role, id in both.items()]
    body = json.dumps({"resourceType": "Parameters", "parameter": parts}).encode()
    assert hub.request("POST", "/fhir/Patient/$merge", content=body).status_code == 200
    measure(hub, target, {"temperature": Decimal("36.8")})
    assert used(hub, target) == [3]


def test_what_was_erased_is_in_no_later_score(hub: RunningHub) -> None:
    patient = new_patient(hub, gender="male")
    measure(hub, patient, {"resp_rate": 16, "pulse": 72})
    (erased,) = found(hub, f"Observation?patient={patient}&code=8867-4")
    assert hub.request("POST", f"/fhir/Observation/{erased['id']}/$erase").status_code == 200
    measure(hub, patient, {"temperature": Decimal("36.8")})
    assert used(hub, patient) == []
    measure(hub, patient, {"spo2": 97})
    assert used(hub, patient) == [3]


def test_the_measurement_is_never_seen_without_its_alert(hub: RunningHub) -> None:
    patient = new_patient(hub)
    seen: list[tuple[int, int]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            measured = hub.search(f"Observation?patient={patient}&code=9279-1&_summary=count")["total"]
            seen.append((measured, hub.search(f"Task?patient={patient}&_summary=count")["total"]))

    watcher = threading.Thread(target=look)
    watcher.start()
    measure(hub, patient, GRAVE)
    ended.set()
    watcher.join()
    assert [pair for pair in seen if pair[0] and not pair[1]] == []
    assert len(found(hub, f"Task?patient={patient}&priority=stat")) == 1


def test_one_grave_set_sent_at_once_from_many_sides_is_one_episode(hub: RunningHub) -> None:
    patient = new_patient(hub)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: measure(hub, patient, GRAVE), range(8)))
    assert len(found(hub, f"Task?patient={patient}")) == 1
    assert len(found(hub, f"Flag?patient={patient}")) == 1
    assert len(found(hub, f"Observation?patient={patient}&code={SCORE}%7Cnews2")) == 1, "a copy is no news"


def test_a_worse_set_raises_the_alert_without_touching_its_flag(hub: RunningHub) -> None:
    patient = new_patient(hub)
    measure(hub, patient, WATCH)
    (before,), (flag,) = found(hub, f"Task?patient={patient}"), found(hub, f"Flag?patient={patient}")
    measure(hub, patient, GRAVE)
    (after,) = found(hub, f"Task?patient={patient}")
    assert (before["priority"], after["priority"], after["id"]) == ("urgent", "stat", before["id"])
    assert found(hub, f"Flag?patient={patient}") == [flag]
    assert len(found(hub, f"RiskAssessment?patient={patient}")) == 2


def test_of_eight_who_take_an_alert_one_wins_and_illegal_steps_are_409(hub: RunningHub) -> None:
    patient = new_patient(hub)
    measure(hub, patient, GRAVE)
    (task,) = found(hub, f"Task?patient={patient}")
    path, taken = f"/fhir/Task/{task['id']}", {**task, "status": "accepted"}

    def take(number: int) -> int:
        body = {**taken, "note": [{"text": str(number)}]}
        return hub.request("PUT", path, json=body, If_Match='W/"1"').status_code

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(take, range(8)))
    assert answers[0] == 200 and set(answers[1:]) == {412}
    now = hub.request("GET", path).json()
    for status in ("draft", "requested"):
        refused = hub.request("PUT", path, json={**now, "status": status})
        assert (refused.status_code, refused.json()["issue"][0]["code"]) == (409, "conflict")
    assert hub.request("DELETE", path).status_code == 409
    assert hub.request("PUT", path, json={**now, "status": "completed"}).status_code == 200
    assert [flag["status"] for flag in found(hub, f"Flag?patient={patient}")] == ["inactive"]


# --- CDS Hooks -------------------------------------------------------------------


def call(patient: str, **more: Any) -> dict[str, Any]:
    context = {"userId": "Practitioner/x", "patientId": patient}
    return {"hook": "patient-view", "hookInstance": str(uuid.uuid4()), "context": context, **more}


SERVICE = "/cds-services/worklist-status"


def test_discovery_is_open_and_calls_are_not(hub: RunningHub) -> None:
    services = hub.request("GET", "/cds-services", token=None).json()["services"]
    assert [service["id"] for service in services] == ["worklist-status"]
    refused = hub.request("POST", SERVICE, json=call("x"), token=None)
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (401, "login")


def test_open_alerts_are_cards_with_prefetch_and_without(hub: RunningHub) -> None:
    patient = new_patient(hub)
    measure(hub, patient, GRAVE)
    (service,) = hub.request("GET", "/cds-services", token=None).json()["services"]
    queries = {key: query.replace("{{context.patientId}}", patient) for key, query in service["prefetch"].items()}
    prefetch = {key: hub.search(query) for key, query in queries.items()}
    without = hub.request("POST", SERVICE, json=call(patient)).json()["cards"]
    given = hub.request("POST", SERVICE, json=call(patient, prefetch=prefetch)).json()["cards"]
    assert without == given
    (card,) = given
    assert card["indicator"] == "critical" and len(card["summary"]) < 140
    nothing = hub.request("POST", SERVICE, json=call(patient, prefetch={"alerts": None, "risks": None}))
    assert (nothing.status_code, nothing.json()) == (200, {"cards": []})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"{", 400, id="no JSON"),
        pytest.param(json.dumps(call("x", hook="order-sign")).encode(), 400, id="another hook"),
        pytest.param(json.dumps({**call("x"), "context": {"userId": "u"}}).encode(), 422, id="no patient"),
        pytest.param(json.dumps(call("never-there")).encode(), 412, id="a patient unknown here, and no prefetch"),
        pytest.param(
            json.dumps(call("x", fhirServer="https://ehr.example/fhir")).encode(), 412, id="another server's patient"
        ),
        pytest.param(
            json.dumps(call("x", prefetch={"alerts": {"resourceType": "Task", "for": 1}})).encode(),
            400,
            id="a prefetch that is no R4",
        ),
    ],
)
def test_calls_that_cannot_be_answered_say_why(hub: RunningHub, body: bytes, status: int) -> None:
    answer = hub.request("POST", SERVICE, content=body, Content_Type="application/json")
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    if status == 412:
        assert answer.json()["issue"][0]["expression"] == ["prefetch.alerts"]
    assert hub.request("POST", "/cds-services/none", content=body).status_code == 404


def test_feedback_is_kept_and_nonsense_is_refused(hub: RunningHub) -> None:
    item = {
        "card": str(uuid.uuid4()),
        "outcome": "overridden",
        "outcomeTimestamp": "2026-11-20T09:00:00Z",
        "overrideReason": {"userComment": "known"},
    }
    for _ in range(2):
        assert hub.request("POST", f"{SERVICE}/feedback", json={"feedback": [item]}).status_code == 200
    refused = hub.request("POST", f"{SERVICE}/feedback", json={"feedback": [{**item, "card": "1"}]})
    assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (400, ["feedback[0].card"])


# --- the worklist ------------------------------------------------------------------


def page(hub: RunningHub, path: str, token: str = "") -> str:
    answer = hub.request("GET", path, token=token)
    assert answer.status_code == 200, answer.text
    return answer.text


def filtered(hub: RunningHub, patient: str) -> str:
    """Return the path of the worklist that shows one patient."""
    name = hub.request("GET", f"/fhir/Patient/{patient}").json()["name"][0]["family"]
    return f"/worklist?patient={name}"


def test_the_worklist_needs_somebody(hub: RunningHub) -> None:
    answer = hub.request("GET", "/worklist", token=None)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/worklist")


def test_the_worklist_shows_who_how_much_and_what_is_missing(hub: RunningHub) -> None:
    patient = new_patient(hub)
    measure(hub, patient, GRAVE)
    text = page(hub, filtered(hub, patient))
    assert "1 alerte ouverte." in text
    for shown in (
        "Zoé",
        "<strong>28</strong> /min",
        "<strong>9</strong> au moins",
        "Manque :",
        "appelez le 15",
        "NEWS2 1.0.0",
    ):
        assert shown in text, shown
    english = hub.request("GET", filtered(hub, patient), Accept_Language="en").text
    assert "1 open alert." in english and "call 15" in english


def test_the_part_that_updates_answers_only_when_something_changed(hub: RunningHub) -> None:
    patient = new_patient(hub)
    measure(hub, patient, WATCH)
    path = filtered(hub, patient).replace("/worklist", "/worklist/rows")
    text = page(hub, path)
    state = re.search(r"state=([0-9a-f]{16})", text)
    assert state is not None and "<html" not in text
    assert hub.request("GET", f"{path}&state={state[1]}").status_code == 204
    measure(hub, patient, GRAVE)
    assert "appelez le 15" in page(hub, f"{path}&state={state[1]}")


def test_an_alert_is_taken_and_closed_by_buttons_and_the_slower_one_is_told(hub: RunningHub) -> None:
    doctor = f"Practitioner/{hub.create({'resourceType': 'Practitioner'})['id']}"
    patient = new_patient(hub)
    team = {"resourceType": "CareTeam", "status": "active", "participant": [{"member": {"reference": doctor}}]}
    hub.create({**team, "subject": {"reference": f"Patient/{patient}"}})
    measure(hub, patient, GRAVE)
    (task,) = found(hub, f"Task?patient={patient}")
    path, token = f"/worklist/{task['id']}", hub.token(actor=doctor)

    def press(**fields: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return hub.http.post(path, data=fields, headers=headers, follow_redirects=False)

    assert press(action="take", version="1").status_code == 303
    slower = press(action="take", version="1")
    assert slower.status_code == 412 and "Quelqu’un d’autre a changé" in slower.text
    assert press(action="dance", version="2").status_code == 400
    assert press(action="close", version="2").status_code == 422
    assert press(action="close", version="2", outcome="true-acted", comment="Appelée.").status_code == 303
    closed = hub.request("GET", f"/fhir/Task/{task['id']}").json()
    assert (closed["status"], closed["owner"]["reference"]) == ("completed", doctor)
    assert closed["statusReason"]["coding"][0]["code"] == "true-acted"
    assert "Appelée." in page(hub, path)
    assert "Aucune alerte ouverte." in page(hub, filtered(hub, patient), token)


def test_a_patient_sees_their_alert_and_answers_none(hub: RunningHub) -> None:
    patient = new_patient(hub)
    measure(hub, patient, GRAVE)
    (task,) = found(hub, f"Task?patient={patient}")
    token, path = hub.token("patient/*.cruds", patient=patient), f"/worklist/{task['id']}"
    listed, one = page(hub, filtered(hub, patient), token), page(hub, path, token)
    assert task["id"] in listed and "Appelez le 15" in one
    assert 'name="action"' not in listed + one
    headers = {"Authorization": f"Bearer {token}"}
    pressed = hub.http.post(path, data={"action": "take", "version": "1"}, headers=headers, follow_redirects=False)
    assert pressed.status_code == 403
    assert hub.request("GET", f"/fhir/Task/{task['id']}").json()["status"] == "requested"


def test_who_may_not_see_the_patient_sees_no_alert(hub: RunningHub) -> None:
    stranger = hub.token(actor=f"Practitioner/{hub.create({'resourceType': 'Practitioner'})['id']}")
    patient = new_patient(hub)
    measure(hub, patient, GRAVE)
    (task,) = found(hub, f"Task?patient={patient}")
    text = page(hub, filtered(hub, patient), stranger)
    assert "Aucune alerte ouverte." in text and task["id"] not in text
    assert hub.request("GET", f"/worklist/{task['id']}", token=stranger).status_code == 404
    assert hub.request("POST", SERVICE, json=call(patient), token=stranger).status_code == 412


def test_the_engine_in_the_log_names_nobody(hub: RunningHub) -> None:
    name = f"Secret{uuid.uuid4().hex}"
    patient = new_patient(hub, name=[{"family": name}])
    measure(hub, patient, GRAVE)
    page(hub, f"/worklist?patient={name}")
    assert name not in hub.logged()

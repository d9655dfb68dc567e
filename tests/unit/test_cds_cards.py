"""CDS Hooks: calls read strictly, cards as the specification wants them, feedback kept once."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from fhir_server.errors import BadRequest, FhirError, NotFound, Unprocessable
from triage_hooks import cards, feedback
from triage_hooks.codes import EXTENSION_RANK, FAMILY, RULE, TASK

SERVICE = cards.SERVICES[0]
CALL: dict[str, Any] = {
    "hook": "patient-view",
    "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
    "context": {"userId": "Practitioner/1", "patientId": "p1"},
}
RISK = {
    "resourceType": "RiskAssessment",
    "id": "r1",
    "method": {"coding": [{"system": RULE, "code": "news2", "display": "NEWS2", "version": "1.0.0"}]},
    "note": [{"text": "NEWS2 9"}],
}


def task(id: str = "t1", rank: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "id": id,
        "status": "requested",
        "extension": [{"url": EXTENSION_RANK, "valueInteger": rank}],
        "code": {"coding": [{"system": TASK, "code": "alert-review"}, {"system": FAMILY, "code": "vitals"}]},
        "description": "NEWS2 9 (FR 28, SpO2 88).",
        "for": {"reference": "Patient/p1"},
        "authoredOn": "2026-11-20T07:00:00.000Z",
        "focus": {"reference": "RiskAssessment/r1"},
        "restriction": {"period": {"end": "2026-11-20T08:00:00.000Z"}},
        **more,
    }


def answer(*tasks: dict[str, Any]) -> list[dict[str, Any]]:
    return cards.cards(SERVICE, "p1", tasks, [RISK], root="https://hub.example", zone=ZoneInfo("Europe/Paris"))


def test_discovery_has_what_the_specification_requires() -> None:
    services = cards.discovery()["services"]
    assert services
    assert all({"hook", "description", "id", "prefetch"} <= set(service) for service in services)


def test_a_card_has_what_the_specification_requires() -> None:
    (card,) = answer(task())
    assert UUID(card["uuid"])
    assert card["summary"] == "Alerte rang 1 : NEWS2 9 (FR 28, SpO2 88)."
    assert card["indicator"] == "critical"
    assert card["source"]["label"] == "NEWS2 (règle 1.0.0)"
    assert "À prendre avant le 20/11/2026 à 09:00 (CET)" in card["detail"]
    assert "Appelez le 15" in card["detail"]
    assert all(reason["display"] for reason in card["overrideReasons"])
    assert all(link["type"] == "absolute" and link["url"] for link in card["links"])
    assert all(empty not in json.dumps(card) for empty in ("null", '""', "[]", "{}"))


def test_summary_is_shorter_than_140() -> None:
    assert [len(answer(task(description="x" * length))[0]["summary"]) for length in (50, 123, 124, 500)] == [
        66,
        139,
        139,
        139,
    ]


@pytest.mark.parametrize(
    ("rank", "indicator"), [(1, "critical"), (2, "critical"), (3, "warning"), (4, "warning"), (5, "info"), (6, "info")]
)
def test_indicator_follows_the_rank(rank: int, indicator: str) -> None:
    assert answer(task(rank=rank))[0]["indicator"] == indicator


def test_the_most_urgent_comes_first_and_only_open_alerts_of_the_patient() -> None:
    other = {"for": {"reference": "Patient/p2"}}
    found = answer(task("a", 4), task("b", 2), task("c", 1, status="completed"), task("d", 1, **other))
    assert [card["summary"][:15] for card in found] == ["Alerte rang 2 :", "Alerte rang 3B "]


def test_the_same_alert_is_the_same_card_until_its_rank_rises() -> None:
    once, again, raised = answer(task()), answer(task(status="accepted")), answer(task(rank=2))
    assert once[0]["uuid"] == again[0]["uuid"] != raised[0]["uuid"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param([], BadRequest, id="no object"),
        pytest.param({**CALL, "hook": "order-sign"}, BadRequest, id="another hook"),
        pytest.param({**CALL, "hookInstance": "1"}, BadRequest, id="hookInstance is no UUID"),
        pytest.param({**CALL, "hookInstance": None}, BadRequest, id="hookInstance is null"),
        pytest.param({**CALL, "context": None}, BadRequest, id="no context"),
        pytest.param({**CALL, "context": {"patientId": "p1"}}, Unprocessable, id="no userId"),
        pytest.param({**CALL, "context": {"userId": "u"}}, Unprocessable, id="no patientId"),
        pytest.param({**CALL, "context": {"userId": "u", "patientId": "a?b"}}, Unprocessable, id="patientId is no id"),
        pytest.param({**CALL, "prefetch": []}, BadRequest, id="prefetch is a list"),
        pytest.param({**CALL, "fhirServer": 1}, BadRequest, id="fhirServer is a number"),
    ],
)
def test_calls_that_are_none_are_refused(body: Any, error: type[FhirError]) -> None:
    with pytest.raises(error):
        cards.read_call(body, SERVICE)


@pytest.mark.parametrize(
    ("prefetch", "expected"),
    [
        pytest.param({}, None, id="absent: not given"),
        pytest.param({"alerts": None}, [], id="null: asked, and nothing there"),
        pytest.param({"alerts": {"resourceType": "OperationOutcome"}}, None, id="the client failed to get it"),
        pytest.param({"alerts": {"resourceType": "Bundle"}}, [], id="an empty Bundle"),
        pytest.param({"alerts": {"resourceType": "Bundle", "entry": [{"resource": RISK}]}}, [RISK], id="a Bundle"),
        pytest.param({"alerts": RISK}, [RISK], id="one resource"),
    ],
)
def test_prefetch(prefetch: dict[str, Any], expected: Any) -> None:
    call = cards.read_call({**CALL, "prefetch": prefetch}, SERVICE)
    assert cards.given(call, "alerts") == expected


def test_unknown_services_are_not_found() -> None:
    with pytest.raises(NotFound):
        cards.service("none")


def outcome(**more: Any) -> dict[str, Any]:
    made = {
        "card": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "outcome": "overridden",
        "outcomeTimestamp": "2026-11-20T09:00:00Z",
        "overrideReason": {"userComment": "known"},
    }
    return {"feedback": [{**made, **more}]}


def test_feedback_is_read() -> None:
    (item,) = feedback.read_feedback(outcome())
    assert (item.outcome, item.comment) == ("overridden", "known")
    accepted = {"outcome": "accepted", "acceptedSuggestions": [{"id": "e1577c69-dfbe-44ad-ba6d-3e05e953b2ea"}]}
    (item,) = feedback.read_feedback(outcome(**accepted))
    assert item.accepted == ("e1577c69-dfbe-44ad-ba6d-3e05e953b2ea",)


def test_the_same_feedback_has_the_same_key_and_another_caller_another() -> None:
    (item,) = feedback.read_feedback(outcome())
    assert item.key("s", "a") == item.key("s", "a") != item.key("s", "b")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(None, id="no object"),
        pytest.param({"feedback": []}, id="an empty list"),
        pytest.param({"feedback": [1]}, id="a number for an object"),
        pytest.param(outcome(card="1"), id="card is no UUID"),
        pytest.param(outcome(outcome="liked"), id="unknown outcome"),
        pytest.param(outcome(outcomeTimestamp="2026-11-20T09:00:00"), id="a moment without zone"),
        pytest.param(outcome(outcomeTimestamp=5), id="a number for a moment"),
        pytest.param(outcome(outcome="accepted"), id="accepted without suggestions"),
        pytest.param(outcome(overrideReason="known"), id="a text for a reason"),
    ],
)
def test_feedback_that_is_none_is_refused(body: Any) -> None:
    with pytest.raises(BadRequest):
        feedback.read_feedback(body)

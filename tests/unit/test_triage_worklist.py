"""The worklist's rows: their order, what they show, what a button does to a Task."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from triage_hooks import alert, worklist
from triage_hooks.codes import OPEN
from triage_hooks.engine import Reading, Series, evaluate
from triage_hooks.moment import written
from triage_hooks.observation import score_observation
from triage_hooks.ranks import rank
from triage_hooks.rules.news2 import NEWS2
from triage_hooks.worklist import Known

PARIS = ZoneInfo("Europe/Paris")
MINUTE = 60_000_000
NOW = 1_795_500_000_000_000
PERSON = {
    "resourceType": "Patient",
    "id": "p",
    "birthDate": "1951-04-23",
    "name": [{"use": "old", "family": "AVANT"}, {"use": "official", "family": "DURAND", "given": ["Zoé", "Anne"]}],
}


def task(id: str, code: str = "3A", opened_min: int = 0, **more: Any) -> dict[str, Any]:
    cause = alert.Cause("p", "vitals", rank(code), NOW - opened_min * MINUTE, "NEWS2 5.", 5, ())
    return {**alert.task(cause, device="Device/d"), "id": id, "meta": {"versionId": "1"}, **more}


def rows(*tasks: dict[str, Any], viewer: str = "", known: Known | None = None) -> list[worklist.Row]:
    return worklist.rows(tasks, known or Known.of([PERSON]), viewer=viewer, now=NOW, zone=PARIS)


def test_rank_then_overdue_then_acute_then_oldest() -> None:
    chronic = [{**item, "valueCode": "chronic"} if "valueCode" in item else item for item in task("x")["extension"]]
    found = rows(
        task("young", "3A", 1),
        task("chronic", "3A", 50, extension=chronic),
        task("old", "3A", 40),
        task("overdue", "3A", 61),
        task("less urgent, overdue", "3B", 900),
        task("most urgent", "2", 0),
    )
    assert [row.id for row in found] == [
        "most urgent",
        "overdue",
        "old",
        "young",
        "chronic",
        "less urgent, overdue",
    ]


@pytest.mark.parametrize(
    ("opened_min", "status", "left", "overdue"),
    [
        pytest.param(10, "requested", 50, False, id="fifty minutes left"),
        pytest.param(75, "requested", 15, True, id="fifteen minutes over"),
        pytest.param(75, "accepted", 15, False, id="taken: the clock has stopped"),
    ],
)
def test_the_clock(opened_min: int, status: str, left: int, overdue: bool) -> None:
    (row,) = rows(task("t", "3A", opened_min, status=status))
    assert (row.left_min, row.is_overdue) == (left, overdue)


def test_a_row_shows_who_how_much_what_is_missing_and_what_was_measured() -> None:
    at = NOW - MINUTE
    observation = {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2708-6"}]},
        "effectiveDateTime": written(at),
        "valueQuantity": {"value": Decimal("88.5"), "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
    }
    readings = [Reading("spo2", at, Decimal("88.5"), "Observation/o1")]
    judged = evaluate(NEWS2, Series(readings), at)
    score = {**score_observation(judged, patient="p", device="Device/d"), "id": "s1"}
    risk = alert.risk_assessment(judged, rank("3B"), patient="p", device="Device/d", score="Observation/s1")
    cause = alert.Cause("p", "vitals", rank("3B"), NOW, "x", 3, (("score", "Observation/s1"),))
    held = {**alert.task(cause, device="Device/d", focus="RiskAssessment/r1"), "id": "t", "meta": {"versionId": "3"}}
    (row,) = rows(held, known=Known.of([PERSON, observation, score, {**risk, "id": "r1"}]))
    assert (row.name, row.age, row.version) == ("DURAND Zoé Anne", 75, "3")
    assert (row.minimum, row.maximum, row.rule) == (3, 20, "NEWS2 1.0.0")
    assert len([part for part in row.parts if part.problem == ("pas de mesure récente", "no recent measurement")]) == 6
    shown = [(part.text, part.unit, part.at, part.points) for part in row.parts if part.at]
    assert shown == [(("88,5", "88.5"), "%", at, ("3", "3"))]
    assert row.title == ("Constantes vitales", "Vital signs")
    assert worklist.references([held]) == ["s1"]


def test_what_is_hidden_from_the_viewer_is_not_shown() -> None:
    (row,) = rows(task("t"), known=Known.of([]))
    assert (row.name, row.age, row.minimum, row.parts) == ("", None, None, ())


def test_mine_is_mine() -> None:
    owned = task("t", status="accepted", owner={"reference": "Practitioner/a"})
    assert [rows(owned, viewer=viewer)[0].is_mine for viewer in ("Practitioner/a", "Practitioner/b", "")] == [
        True,
        False,
        False,
    ]


def test_every_open_status_has_its_words_and_only_legal_actions() -> None:
    from triage_hooks.state import may_step

    for status in OPEN:
        assert status in worklist.STATUSES
        for action in worklist.POSSIBLE[status]:
            assert may_step(status, worklist.ACTIONS[action][0])


def stepped(held: dict[str, Any], action: str, **more: Any) -> dict[str, Any]:
    given = {"actor": "Practitioner/a", "name": "a", "now": NOW, "outcome": "", "comment": ""}
    return worklist.stepped(held, action, **{**given, **more})


def test_taking_sets_the_owner_and_the_start() -> None:
    made = stepped(task("t"), "take")
    assert (made["status"], made["owner"]) == ("accepted", {"reference": "Practitioner/a"})
    assert made["executionPeriod"] == {"start": written(NOW)}
    assert stepped(task("t"), "take", actor="", name="operator")["owner"] == {"display": "operator"}


def test_closing_keeps_how_it_ended_and_the_comment() -> None:
    made = stepped(task("t", status="accepted"), "close", outcome="true-acted", comment="Appelé, 15 prévenu.")
    assert made["status"] == "completed"
    assert made["statusReason"]["coding"][0]["code"] == "true-acted"
    assert made["output"][0]["valueCodeableConcept"] == made["statusReason"]
    assert made["note"][0]["text"] == "Appelé, 15 prévenu."

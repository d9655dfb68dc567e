"""The states of an alert: each legal step, and that all others are refused."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.errors import Conflict
from fhir_server.model import Actor, Change, Version
from triage_hooks import state
from triage_hooks.codes import CLOSED, EPISODE, OPEN, TASK


def alert(status: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "status": status,
        "identifier": [{"system": EPISODE, "value": "e1"}],
        "code": {"coding": [{"system": TASK, "code": "alert-review"}]},
        "for": {"reference": "Patient/1"},
        **more,
    }


@pytest.mark.parametrize(
    ("before", "after", "legal"),
    [
        pytest.param("requested", "accepted", True, id="taken"),
        pytest.param("requested", "received", True, id="seen"),
        pytest.param("accepted", "in-progress", True, id="begun"),
        pytest.param("in-progress", "completed", True, id="closed"),
        pytest.param("accepted", "accepted", True, id="staying, e.g. handed over to somebody else"),
        pytest.param("requested", "completed", False, id="closed by nobody"),
        pytest.param("accepted", "draft", False, id="back to draft"),
        pytest.param("accepted", "requested", False, id="back to nobody"),
        pytest.param("completed", "in-progress", False, id="opened again"),
        pytest.param("completed", "entered-in-error", True, id="closed, and was wrong"),
    ],
)
def test_steps(before: str, after: str, legal: bool) -> None:
    assert state.may_step(before, after) is legal
    if legal:
        state.check_step(alert(before), alert(after))
    else:
        with pytest.raises(Conflict):
            state.check_step(alert(before), alert(after))


def test_nothing_that_is_closed_opens_again() -> None:
    assert [(a, b) for a in CLOSED for b in OPEN if state.may_step(a, b)] == []


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(alert("accepted", code={"text": "x"}), id="without its code"),
        pytest.param(alert("accepted", identifier=[{"system": EPISODE, "value": "e2"}]), id="another episode"),
        pytest.param(alert("accepted", **{"for": {"reference": "Patient/2"}}), id="another patient"),
    ],
)
def test_what_makes_an_alert_cannot_be_taken_off(after: dict[str, Any]) -> None:
    with pytest.raises(Conflict):
        state.check_step(alert("requested"), after)


def change(before: dict[str, Any] | None, after: dict[str, Any], method: str = "PUT") -> Change:
    return Change(Version("Task", "t1", 2, 0, method, b""), after, before)


async def check(change: Change) -> None:
    actor = Actor("default", "someone", ())
    await state.CHECK.run(None, change, actor)  # type: ignore[arg-type]  # it asks nothing of the state


async def test_an_open_alert_is_not_deleted() -> None:
    with pytest.raises(Conflict):
        await check(change(alert("requested"), alert("requested"), "DELETE"))
    await check(change(alert("completed"), alert("completed"), "DELETE"))


async def test_other_tasks_are_their_owners_business() -> None:
    own = {"resourceType": "Task", "status": "completed", "code": {"text": "call"}}
    await check(change(own, {**own, "status": "draft"}))
    await check(change(None, alert("requested"), "POST"))

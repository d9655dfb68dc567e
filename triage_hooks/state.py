"""The states an alert's Task goes through; what leads nowhere is refused.

A part of the Task state machine of FHIR R4 4.0.1 (https://hl7.org/fhir/R4/task.html#statemachine): an alert is
requested when it opens; seen (received) or taken (accepted) by a person; worked on (in-progress, on-hold);
closed. Closed stays closed, but for a wrong entry. Only this hub's alert Tasks are held to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir_server.errors import Conflict
from fhir_server.interface import Asking, Check
from fhir_server.model import Actor, Change, Resource
from triage_hooks.codes import EPISODE, LIFECYCLE, OPEN, TASK, codes_of

STEPS: Final[Mapping[str, frozenset[str]]] = {
    "requested": frozenset({"received", "accepted", "rejected", "cancelled", "entered-in-error"}),
    "received": frozenset({"accepted", "rejected", "cancelled", "entered-in-error"}),
    "accepted": frozenset({"in-progress", "on-hold", "completed", "cancelled", "failed", "entered-in-error"}),
    "in-progress": frozenset({"on-hold", "completed", "cancelled", "failed", "entered-in-error"}),
    "on-hold": frozenset({"in-progress", "completed", "cancelled", "failed", "entered-in-error"}),
    "completed": frozenset({"entered-in-error"}),
    "rejected": frozenset({"entered-in-error"}),
    "cancelled": frozenset({"entered-in-error"}),
    "failed": frozenset({"entered-in-error"}),
    "entered-in-error": frozenset(),
}


def is_alert(task: Resource) -> bool:
    """Whether a Task is one of this hub's alerts."""
    return task.get("resourceType") == "Task" and bool(codes_of(task.get("code"), TASK))


def episode(task: Resource) -> str:
    """Return the episode key of an alert; "" where it has none."""
    found = (item.get("value", "") for item in task.get("identifier", ()) if item.get("system") == EPISODE)
    return str(next(found, ""))


def may_step(before: str, after: str) -> bool:
    """Whether an alert may go from one status to another; staying is no step."""
    return before == after or after in STEPS.get(before, frozenset())


def check_step(before: Resource, after: Resource) -> None:
    """Raise Conflict where an update of an alert is no legal step."""
    if not may_step(before.get("status", ""), after.get("status", "")):
        raise Conflict("This alert cannot go from its status to that one.", expression="Task.status")
    if not is_alert(after) or episode(after) != episode(before):
        raise Conflict("An alert keeps its code and its episode identifier.", expression="Task.identifier")
    if before.get("for") != after.get("for"):
        raise Conflict("An alert stays with its patient.", expression="Task.for")


async def _check(asking: Asking, change: Change, actor: Actor) -> None:
    before = change.before
    if before is None or not is_alert(before):
        return
    if not change.version.is_deleted:
        if before.get("for") != change.resource.get("for") and await _is_merged(asking, change, actor):
            before = {**before, "for": change.resource.get("for")}
        check_step(before, change.resource)
    elif before.get("status") in OPEN:
        raise Conflict("An open alert is closed, not deleted.", expression="Task.status")


async def _is_merged(asking: Asking, change: Change, actor: Actor) -> bool:
    """Whether this version is part of a merge of two Patients, or its undoing: the hub's own Provenance says so."""
    made = f"{change.version.reference}/_history/{change.version.version}"
    return actor.is_operator and any(
        {"merge", "unmerge"}.intersection(codes_of(found.get("activity"), LIFECYCLE))
        and any(target.get("reference") == made for target in found.get("target", ()))
        for found in await asking.find(f"Provenance?target={change.version.reference}&_sort=-_lastUpdated&_count=5")
    )


CHECK: Final = Check(types=frozenset({"Task"}), run=_check)

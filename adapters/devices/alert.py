"""Alerts of devices as resources: the event itself is an Observation, the alert a Flag and a Task beside it.

The worklist shows every Task with the codes below, in the order of its rank; who takes or closes it does so there. This
room knows those codes as the published names that they are (docs/reference/rules.md) and imports nothing of the other.
Ranks and delays are those of the French emergency triage grid (SFMU, FRENCH, V1, March 2018, p. 8); which event
gets which rank is this hub's own and for clinicians to confirm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from adapters.devices.instant import exact, written
from fhir_server.interface import Asking, Writing
from fhir_server.model import Entry, Resource

TASK: Final = "urn:predmp:triage:task"
FAMILY: Final = "urn:predmp:triage:family"
INPUT: Final = "urn:predmp:triage:input"
EPISODE: Final = "urn:predmp:triage:episode"
RANK: Final = "urn:predmp:triage:extension:worklist-rank"
TRACK: Final = "urn:predmp:triage:extension:track"
SIGNAL: Final = "urn:predmp:devices:signal"  # code of DetectedIssue, identifier system of what has one
FLAG_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/flag-category"
OPEN: Final = ("requested", "received", "accepted", "in-progress", "on-hold")
MAX_INPUTS: Final = 60
_MINUTE: Final = 60_000_000


class Rank(NamedTuple):
    """One level of the grid."""

    place: int
    priority: str
    sla_min: int


RANKS: Final[Mapping[str, Rank]] = MappingProxyType(
    {
        "1": Rank(1, "stat", 0),
        "2": Rank(2, "stat", 20),
        "3A": Rank(3, "asap", 60),
        "3B": Rank(4, "urgent", 90),
        "4": Rank(5, "routine", 120),
        "5": Rank(6, "routine", 240),
    }
)


class Alarm(NamedTuple):
    """Why somebody has to look."""

    patient: str  # Patient/ID
    family: str  # fall, measurement-missing, device-silent, artefact …
    rank: str
    title: str
    line: str  # one line for people
    device: str  # Device/ID, whose alarm it is
    focus: str = ""  # reference of what tells why
    inputs: Sequence[tuple[str, str]] = ()  # (what it is, reference)
    key: str = ""  # makes the episode's identifier; the moment does where it is empty
    about: str = ""  # reference that tells it from others of its family: one is open for each


async def open_task(asking: Asking, patient: str, family: str, about: str = "") -> Resource | None:
    """Return the open alert of a patient and family, and of what it is about."""
    query = f"Task?patient={patient}&code={quote(f'{FAMILY}|{family}')}&status={','.join(OPEN)}&_count=50&_total=none"
    found = await asking.find(query)
    return next((task for task in found if not about or _is_about(task, about)), None)


async def alarmed(writing: Writing, alarm: Alarm) -> list[Entry]:
    """Return what opens an alert, or adds to the open one: never a second one beside it."""
    held = await open_task(writing, alarm.patient, alarm.family, alarm.about)
    if held is not None:
        return [Entry("PUT", f"Task/{held['id']}", added(held, alarm, writing.now))]
    flag = f"urn:uuid:{_uuid(alarm, writing)}"
    return [
        Entry("POST", "Flag", build_flag(alarm, writing.now), flag),
        Entry("POST", "Task", build_task(alarm, flag, writing.now)),
    ]


def build_flag(alarm: Alarm, now: int) -> Resource:
    """Return the visible state."""
    made: Resource = {
        "resourceType": "Flag",
        "status": "active",
        "category": [{"coding": [{"system": FLAG_CATEGORY, "code": "safety"}]}],
        "code": {"coding": [{"system": FAMILY, "code": alarm.family}], "text": alarm.title},
        "subject": {"reference": alarm.patient},
        "period": {"start": written(now)},
    }
    if alarm.device:
        made["author"] = {"reference": alarm.device}
    return made


def build_task(alarm: Alarm, flag: str, now: int) -> Resource:
    """Return the work: to be taken before `restriction.period.end`."""
    rank = RANKS[alarm.rank]
    made: Resource = {
        "resourceType": "Task",
        "extension": _extensions(rank),
        "identifier": [{"system": EPISODE, "value": episode(alarm, now)}],
        "status": "requested",
        "intent": "order",
        "priority": rank.priority,
        "code": {
            "coding": [{"system": TASK, "code": "alert-review"}, {"system": FAMILY, "code": alarm.family}],
            "text": alarm.title,
        },
        "description": alarm.line,
        "for": {"reference": alarm.patient},
        "authoredOn": written(now),
        "lastModified": written(now),
        "reasonReference": {"reference": flag},
        "restriction": {"period": {"end": written(now + rank.sla_min * _MINUTE)}},
    }
    if alarm.device:
        made["requester"] = {"reference": alarm.device}
    if alarm.focus:
        made["focus"] = {"reference": alarm.focus}
    if inputs := _inputs(alarm):
        made["input"] = inputs
    return made


def episode(alarm: Alarm, now: int = 0) -> str:
    """Return the identifier of an episode: the same cause gives the same one."""
    return _digest(alarm.family, alarm.patient, alarm.key or str(now))


def added(held: Resource, alarm: Alarm, now: int) -> Resource:
    """Return an open Task with what came since: the gravest says what it is about and how soon it is to be taken."""
    inputs = (held.get("input", []) + _inputs(alarm))[-MAX_INPUTS:]
    made = {**held, "lastModified": written(now), **({"input": inputs} if inputs else {})}
    rank, place = RANKS[alarm.rank], _place(held)
    if rank.place > place:
        return made
    made["description"] = alarm.line
    return {**made, **_sooner(held, alarm, rank, now)} if rank.place < place else made


def _sooner(held: Resource, alarm: Alarm, rank: Rank, now: int) -> Resource:
    """Return the elements of an open Task that a graver alarm changes; it is never due later than it was."""
    restriction = held.get("restriction", {})
    period, due = restriction.get("period", {}), now + rank.sla_min * _MINUTE
    told = [item for item in held.get("extension", ()) if item.get("url") not in (RANK, TRACK)]
    made = {
        "extension": [*_extensions(rank), *told],
        "priority": rank.priority,
        "restriction": {
            **restriction,
            "period": {**period, "end": written(min(due, exact(period.get("end", "")) or due))},
        },
    }
    return {**made, "focus": {"reference": alarm.focus}} if alarm.focus else made


def _extensions(rank: Rank) -> list[Resource]:
    return [{"url": RANK, "valueInteger": rank.place}, {"url": TRACK, "valueCode": "acute"}]


def _place(task: Resource) -> int:
    """Return the place of a Task in the worklist; one that lost it is behind all."""
    found = [item.get("valueInteger") for item in task.get("extension", ()) if item.get("url") == RANK]
    return found[0] if found and isinstance(found[0], int) else len(RANKS) + 1


async def settled(writing: Writing, task: Resource, why: str) -> list[Entry]:
    """Return what ends an alert whose cause is gone, where nobody has taken it yet."""
    if task.get("status") != "requested":
        return []
    now = written(writing.now)
    made = {**task, "status": "cancelled", "statusReason": {"text": why}, "lastModified": now}
    flag = task.get("reasonReference", {}).get("reference", "")
    held = await writing.resource(flag) if flag.startswith("Flag/") else None
    entries = [Entry("PUT", f"Task/{task['id']}", made)]
    if held is not None and held.get("status") == "active":
        ended = {**held, "status": "inactive", "period": {**held.get("period", {}), "end": now}}
        entries.append(Entry("PUT", flag, ended))
    return entries


def build_issue(alarm: Alarm, now: int) -> Resource:
    """Return the DetectedIssue that tells what is odd, for programs."""
    made: Resource = {
        "resourceType": "DetectedIssue",
        "identifier": [{"system": SIGNAL, "value": _digest(alarm.family, alarm.patient, alarm.key or str(now))}],
        "status": "preliminary",
        "code": {"coding": [{"system": SIGNAL, "code": alarm.family}], "text": alarm.title},
        "severity": "low" if alarm.rank in ("4", "5") else "moderate",
        "patient": {"reference": alarm.patient},
        "identifiedDateTime": written(now),
        "detail": alarm.line,
    }
    if alarm.device:
        made["author"] = {"reference": alarm.device}
    if implicated := [{"reference": reference} for _, reference in alarm.inputs]:
        made["implicated"] = implicated
    return made


def _inputs(alarm: Alarm) -> list[dict[str, Any]]:
    told = [("about", alarm.about)] if alarm.about else []
    return [
        {"type": {"coding": [{"system": INPUT, "code": kind}]}, "valueReference": {"reference": where}}
        for kind, where in (*told, *alarm.inputs)
    ]


def _is_about(task: Resource, about: str) -> bool:
    return any(item.get("valueReference", {}).get("reference") == about for item in task.get("input", ()))


def _uuid(alarm: Alarm, writing: Writing) -> str:
    digits = _digest(writing.tenant, str(writing.now), alarm.family, alarm.patient, alarm.about)
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def _digest(*texts: str) -> str:
    return sha256("|".join(texts).encode()).hexdigest()[:40]

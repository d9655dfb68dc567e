"""The rows of the worklist: what a person needs to choose the next alert, in the order to choose it. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final, NamedTuple

from fhir_server.model import Resource
from triage_hooks import alert, gathering, vital_signs, words
from triage_hooks.codes import (
    EXTENSION_TRACK,
    FAMILY,
    INPUT,
    OUTCOME,
    RULE,
    SCORE,
    codes_of,
    coding,
    concept,
    extension_of,
)
from triage_hooks.engine import Reading
from triage_hooks.moment import span, written
from triage_hooks.ranks import Rank, at_place
from triage_hooks.rules.inputs import INPUTS, Input

STATUSES: Final[Mapping[str, tuple[str, str]]] = {
    "requested": ("à prendre", "to be taken"),
    "received": ("vue", "seen"),
    "accepted": ("prise en charge", "taken"),
    "in-progress": ("en cours", "in progress"),
    "on-hold": ("en attente", "on hold"),
    "completed": ("close", "closed"),
    "rejected": ("refusée", "rejected"),
    "cancelled": ("annulée", "cancelled"),
    "failed": ("échouée", "failed"),
    "entered-in-error": ("erreur de saisie", "entered in error"),
}
# action -> (new status, French, English)
ACTIONS: Final[Mapping[str, tuple[str, str, str]]] = {
    "acknowledge": ("received", "J’ai vu", "Seen"),
    "take": ("accepted", "Prendre en charge", "Take"),
    "start": ("in-progress", "Commencer", "Start"),
    "close": ("completed", "Clore", "Close"),
}
POSSIBLE: Final[Mapping[str, tuple[str, ...]]] = {
    "requested": ("acknowledge", "take"),
    "received": ("take",),
    "accepted": ("start", "close"),
    "in-progress": ("close",),
    "on-hold": ("start", "close"),
}
OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "true-acted": ("Alerte juste, action menée", "True alert, acted upon"),
    "true-watch": ("Alerte juste, surveillance", "True alert, watching"),
    "false-artifact": ("Fausse alerte : mesure fausse", "False alert: wrong measurement"),
    "false-threshold": ("Fausse alerte : seuil inadapté", "False alert: threshold does not suit"),
    "duplicate": ("Doublon", "Duplicate"),
}
_MINUTE: Final = 60_000_000


class Part(NamedTuple):
    """One input of a score: what was measured and its points, or why it is missing. Words are (French, English)."""

    name: tuple[str, str]
    text: tuple[str, str]  # ("", "") where nothing usable was measured
    unit: str
    at: int  # 0 where nothing was measured
    points: tuple[str, str]
    problem: tuple[str, str]  # ("", "") where there is none


class Row(NamedTuple):
    """One open alert."""

    id: str
    version: str
    rank: Rank
    track: str
    status: str
    patient: str
    name: str
    age: int | None
    title: tuple[str, str]  # French, English
    line: str
    minimum: int | None
    maximum: int | None
    parts: tuple[Part, ...]
    rule: str
    opened: int
    deadline: int | None
    left_min: int  # whole minutes until the deadline, or since it when `is_overdue`
    is_waiting: bool  # nobody has taken it: the clock runs
    is_overdue: bool  # the deadline went by with nobody taking it
    owner: str
    is_mine: bool
    actions: tuple[str, ...]

    @property
    def order(self) -> tuple[int, bool, bool, int]:
        """What the worklist is sorted by: rank, overdue, acute before chronic, oldest."""
        return (self.rank.place, not self.is_overdue, self.track != "acute", self.opened)


class Known(NamedTuple):
    """What the person who looks may see beside the Tasks, by reference."""

    resources: Mapping[str, Resource]

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> Known:
        """Return them by `Type/id`."""
        return cls({f"{resource['resourceType']}/{resource.get('id', '')}": resource for resource in resources})

    def get(self, resource: Resource, element: str) -> Resource:
        """Return what an element refers to; empty where it is hidden or absent."""
        return self.resources.get(resource.get(element, {}).get("reference", ""), {})


def rows(tasks: Sequence[Resource], known: Known, *, viewer: str, now: int, zone: tzinfo) -> list[Row]:
    """Return open alerts in the order in which they should be taken.

    Args:
        tasks: Open alert Tasks.
        known: Patients, RiskAssessments and Observations that they refer to.
        viewer: Reference of who looks, "" for the operator.
        now: Microseconds.
        zone: Of dates without a zone.
    """
    made = [row(task, known, viewer=viewer, now=now, zone=zone) for task in tasks]
    return sorted(made, key=lambda item: (*item.order, item.id))


def row(task: Resource, known: Known, *, viewer: str, now: int, zone: tzinfo) -> Row:
    """Return one alert as people see it."""
    person, risk, score = known.get(task, "for"), known.get(task, "focus"), _score(task, known)
    deadline = _at(task.get("restriction", {}).get("period", {}).get("end"), zone)
    status, owner = task.get("status", ""), task.get("owner", {})
    return Row(
        id=task["id"],
        version=task["meta"]["versionId"],
        rank=at_place(alert.place(task)),
        track=str(extension_of(task, EXTENSION_TRACK) or "acute"),
        status=status,
        patient=task.get("for", {}).get("reference", ""),
        name=name_of(person),
        age=gathering.oldest_age(person, now, zone=zone),
        title=_title(task),
        line=task.get("description", ""),
        minimum=_component(score, "-minimum"),
        maximum=_component(score, "-maximum"),
        parts=_parts(score, known, now=now, zone=zone),
        rule=_rule(risk),
        opened=_at(task.get("authoredOn"), zone) or now,
        deadline=deadline,
        left_min=abs(deadline - now) // _MINUTE if deadline is not None else 0,
        is_waiting=status == "requested",
        is_overdue=status == "requested" and deadline is not None and deadline < now,
        owner=owner.get("display") or owner.get("reference", ""),
        is_mine=bool(viewer) and owner.get("reference") == viewer,
        actions=POSSIBLE.get(status, ()),
    )


def name_of(person: Resource) -> str:
    """Return a Patient's name, family first; "" where it is hidden."""
    names = [name for name in person.get("name", ()) if name.get("use") not in ("old", "nickname", "anonymous")]
    for name in sorted(names, key=lambda item: item.get("use") != "official"):
        given = " ".join(name.get("given", ()))
        if told := f"{name.get('family', '')} {given}".strip() or name.get("text", ""):
            return unicodedata.normalize("NFC", told)
    return ""


def stepped(task: Resource, action: str, *, actor: str, name: str, now: int, outcome: str, comment: str) -> Resource:
    """Return a Task after a person's action; the state machine judges whether it may be.

    Args:
        task: As it is.
        action: One of ACTIONS.
        actor: Reference of who acts; "" for the operator.
        name: How the person is called where there is no reference.
        now: Microseconds.
        outcome: One of OUTCOMES, when closing.
        comment: Free text, may be empty.
    """
    made = {**task, "status": ACTIONS[action][0], "lastModified": written(now)}
    person = {"reference": actor} if actor else {"display": name}
    if action in ("acknowledge", "take"):
        made["owner"] = person
        made["executionPeriod"] = {**task.get("executionPeriod", {}), "start": written(now)}
    if action == "close":
        reason = concept(coding(OUTCOME, outcome, OUTCOMES[outcome][1]), text=OUTCOMES[outcome][0])
        made["statusReason"] = reason
        made["executionPeriod"] = {**task.get("executionPeriod", {}), "end": written(now)}
        told = {"type": concept(coding(INPUT, "outcome")), "valueCodeableConcept": reason}
        made["output"] = [*task.get("output", ()), told]
    if comment:
        author = {"authorReference": person} if actor else {"authorString": name}
        made["note"] = [*task.get("note", ()), {**author, "time": written(now), "text": comment}]
    return made


def references(tasks: Sequence[Resource]) -> list[str]:
    """Return the ids of the Observations that Tasks name, each once."""
    found = (item.get("valueReference", {}).get("reference", "") for task in tasks for item in task.get("input", ()))
    return list(dict.fromkeys(text.removeprefix("Observation/") for text in found if text.startswith("Observation/")))


def _at(text: object, zone: tzinfo) -> int | None:
    meant = span(text, zone)
    return meant.first if meant else None


def _score(task: Resource, known: Known) -> Resource:
    """Return the newest score of an alert."""
    for item in reversed(task.get("input", ())):
        if "score" in codes_of(item.get("type"), INPUT):
            return known.resources.get(item.get("valueReference", {}).get("reference", ""), {})
    return {}


def _component(score: Resource, ending: str) -> Any:
    for part in score.get("component", ()):
        if any(code.endswith(ending) for code in codes_of(part.get("code"), SCORE)):
            return part.get("valueInteger")
    return None


def _title(task: Resource) -> tuple[str, str]:
    for code in codes_of(task.get("code"), FAMILY):
        if family := alert.FAMILIES.get(code):
            return family.french, family.english
    text = task.get("code", {}).get("text", "")
    return text, text


def _parts(score: Resource, known: Known, *, now: int, zone: tzinfo) -> tuple[Part, ...]:
    """Return the inputs of a score in the rule's order, with the measurements that the viewer may see."""
    derived = [known.resources.get(item.get("reference", ""), {}) for item in score.get("derivedFrom", ())]
    readings = {
        reading.input: reading
        for observation in derived
        for reading in vital_signs.readings(observation, zone=zone, now=now)
        if reading.value is not None
    }
    made = []
    for component in score.get("component", ()):
        for code in codes_of(component.get("code"), SCORE):
            name = code.partition("-")[2].replace("-", "_")
            if name in INPUTS:
                made.append(_part(INPUTS[name], component, readings.get(name)))
    return tuple(made)


def _part(item: Input, component: Mapping[str, Any], reading: Reading | None) -> Part:
    text = words.measured(reading) if reading and not component.get("dataAbsentReason") else ("", "")
    points = component.get("valueInteger")
    ends = component.get("valueRange") or {}
    low, high = (ends.get(end, {}).get("value", "") for end in ("low", "high"))
    told = (f"{low} à {high}", f"{low} to {high}") if ends else ("", "") if points is None else (str(points),) * 2
    reason = component.get("dataAbsentReason", {}).get("text", "")
    problem = next((pair for pair in words.PROBLEMS.values() if pair[0] == reason), (reason, reason))
    at = reading.at if reading and text[0] else 0
    return Part((item.french, item.english), text, words.UNITS[item.unit], at, (told[0], told[1]), problem)


def _rule(risk: Resource) -> str:
    for item in risk.get("method", {}).get("coding", ()):
        if item.get("system") == RULE:
            return f"{item.get('display') or item.get('code', '')} {item.get('version', '')}".strip()
    return ""

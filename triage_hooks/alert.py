"""What an alert is made of: RiskAssessment (why), Flag (visible state), Task (the work), and who made them.

Pure: resources in, resources out. Source of the shapes: FHIR R4 4.0.1; the division of the work among them
follows the Danish national telemedicine guide (fut-infrastructure/implementation-guide).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from fhir_server.model import Resource
from triage_hooks import words
from triage_hooks.codes import (
    ALERT_REVIEW,
    DEVICE,
    ENGINE_FAILURE,
    EPISODE,
    EXTENSION_RANK,
    EXTENSION_SCORE,
    EXTENSION_TRACK,
    FAMILY,
    FLAG_CATEGORY,
    INPUT,
    RANK,
    TASK,
    coding,
    concept,
    extension_of,
)
from triage_hooks.engine import Evaluation
from triage_hooks.moment import written
from triage_hooks.observation import method, sources
from triage_hooks.ranks import Rank, at_place

ENGINE: Final = "triage-engine"
MAX_INPUTS: Final = 60  # of a Task: the first ones make room for the newest


class Family(NamedTuple):
    """What alerts are about; one is open for each patient and family."""

    french: str
    english: str
    track: str  # acute | chronic


FAMILIES: Final = {
    "vitals": Family("Constantes vitales", "Vital signs", "acute"),
    "vitals-history": Family("Mesure ancienne, reçue tard", "Old measurement that came late", "acute"),
    "failure": Family("Analyse automatique en échec", "Automatic analysis failed", "acute"),
}
_MINUTE: Final = 60_000_000


class Cause(NamedTuple):
    """Why an alert opens or is raised."""

    patient: str
    family: str
    rank: Rank
    now: int  # microseconds
    line: str  # one line for people
    score: int  # least reachable; 0 where there is none
    inputs: tuple[tuple[str, str], ...]  # (what it is, reference)


def engine_device() -> Resource:
    """Return the Device that stands for this engine as author."""
    return {
        "resourceType": "Device",
        "identifier": [{"system": DEVICE, "value": ENGINE}],
        "status": "active",
        "deviceName": [{"name": "predmp triage_hooks", "type": "model-name"}],
        "note": [{"text": "Moteur de règles de la plateforme : auteur des scores et des alertes automatiques."}],
    }


def risk_assessment(evaluation: Evaluation, rank: Rank, *, patient: str, device: str, score: str) -> Resource:
    """Return why: the rule and version, what it used, the rank it gives."""
    text = FAMILIES[evaluation.rule.family].french
    return {
        "resourceType": "RiskAssessment",
        "status": "final" if evaluation.score.is_complete else "preliminary",
        "method": method(evaluation),
        "code": concept(coding(FAMILY, evaluation.rule.family), text=text),
        "subject": {"reference": f"Patient/{patient}"},
        "occurrenceDateTime": written(evaluation.at),
        "performer": {"reference": device},
        "basis": [{"reference": reference} for reference in (score, *sources(evaluation))],
        "prediction": [
            {
                "outcome": {"text": "Aggravation aiguë"},
                "qualitativeRisk": concept(coding(RANK, rank.code, rank.french)),
                "rationale": words.line(evaluation),
            }
        ],
        "note": [{"text": words.table(evaluation)}],
    }


def flag(cause: Cause, *, device: str) -> Resource:
    """Return the visible state. It holds nothing that changes while the alert is open: each is told once."""
    return {
        "resourceType": "Flag",
        "status": "active",
        "category": [concept(coding(FLAG_CATEGORY, "clinical", "Clinical"))],
        "code": concept(coding(FAMILY, cause.family), text=FAMILIES[cause.family].french),
        "subject": {"reference": f"Patient/{cause.patient}"},
        "period": {"start": written(cause.now)},
        "author": {"reference": device},
    }


def task(cause: Cause, *, device: str, focus: str = "", flagged: str = "", part_of: str = "") -> Resource:
    """Return the work: to be taken before `restriction.period.end`."""
    code = ENGINE_FAILURE if cause.family == "failure" else ALERT_REVIEW
    family = FAMILIES[cause.family]
    made: Resource = {
        "resourceType": "Task",
        "extension": _extensions(cause.rank, family.track, cause.score),
        "identifier": [{"system": EPISODE, "value": episode_key(cause)}],
        "status": "requested",
        "intent": "order",
        "priority": cause.rank.priority,
        "code": concept(coding(TASK, code), coding(FAMILY, cause.family), text=family.french),
        "description": cause.line,
        "for": {"reference": f"Patient/{cause.patient}"},
        "authoredOn": written(cause.now),
        "lastModified": written(cause.now),
        "requester": {"reference": device},
        "restriction": {"period": {"end": written(deadline(cause))}},
        "input": _inputs(cause.inputs),
    }
    if part_of:
        made["partOf"] = [{"reference": part_of}]
    if focus:
        made["focus"] = {"reference": focus}
    if flagged:
        made["reasonReference"] = {"reference": flagged}
    return made


def raised(held: Resource, cause: Cause, *, focus: str) -> Resource:
    """Return an open Task made more urgent, or given a higher score; never less of either."""
    before = place(held)
    rank = at_place(min(before, cause.rank.place))
    score = max(cause.score, highest(held))
    made = {
        **held,
        "extension": _extensions(rank, str(extension_of(held, EXTENSION_TRACK) or "acute"), score),
        "priority": rank.priority,
        "description": cause.line,
        "focus": {"reference": focus},
        "lastModified": written(cause.now),
        "input": (held.get("input", []) + _inputs(cause.inputs))[-MAX_INPUTS:],
    }
    if rank.place < before:
        made["restriction"] = {**held.get("restriction", {}), "period": {"end": _sooner(held, deadline(cause))}}
    return made


def is_worse(held: Resource, cause: Cause) -> bool:
    """Whether a cause adds something to an open Task."""
    return cause.rank.place < place(held) or cause.score > highest(held)


def highest(held: Resource) -> int:
    """Return the highest score of an episode so far."""
    score = extension_of(held, EXTENSION_SCORE)
    return score if isinstance(score, int) else 0


def place(held: Resource) -> int:
    """Return the place of a Task in the worklist, 1 first."""
    return at_place(extension_of(held, EXTENSION_RANK)).place


def ended(held: Resource, now: int) -> Resource:
    """Return a Flag whose alert is closed."""
    return {**held, "status": "inactive", "period": {**held.get("period", {}), "end": written(now)}}


def episode_key(cause: Cause) -> str:
    """Return the identifier of an episode: the same cause at the same moment gives the same one."""
    return sha256(f"{cause.patient}|{cause.family}|{cause.now}".encode()).hexdigest()


def deadline(cause: Cause) -> int:
    """Return until when somebody must have taken the alert, in microseconds."""
    return cause.now + cause.rank.sla_min * _MINUTE


def _sooner(held: Resource, end: int) -> str:
    before = held.get("restriction", {}).get("period", {}).get("end", "")
    return min(written(end), before) if before.endswith("Z") else written(end)


def _inputs(inputs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"type": concept(coding(INPUT, kind)), "valueReference": {"reference": where}} for kind, where in inputs]


def _extensions(rank: Rank, track: str, score: int) -> list[dict[str, Any]]:
    return [
        {"url": EXTENSION_RANK, "valueInteger": rank.place},
        {"url": EXTENSION_TRACK, "valueCode": track},
        {"url": EXTENSION_SCORE, "valueInteger": score},
    ]

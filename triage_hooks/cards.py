"""CDS Hooks: which services there are, what a call asks, which cards answer it. Pure.

Source: CDS Hooks 2.0.1, https://cds-hooks.hl7.org/2.0/ (calls, prefetch, cards, feedback). JSON there holds no
null, no empty text, list or object but where the specification says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from fhir_server.errors import BadRequest, FhirError, NotFound, Unprocessable
from fhir_server.model import Resource
from triage_hooks import alert
from triage_hooks.codes import ALERT_REVIEW, ENGINE_FAILURE, FAMILY, OPEN, RANK, RULE, codes_of
from triage_hooks.moment import moment, span
from triage_hooks.ranks import Rank, at_place

NAMESPACE: Final = UUID("3b9b1f54-2c1e-5b77-8f1d-9a3c5e0d7b12")  # of cards: one alert at one rank is one card
MAX_SUMMARY: Final = 139  # characters; the specification says less than 140
ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
OVERRIDE: Final = "urn:predmp:triage:override"
EMERGENCY: Final = (
    "**Appelez le 15** (SAMU). La télésurveillance ne remplace pas les secours. "
    "*Call 15: telemonitoring is not an emergency service.*"
)


class MissingData(FhirError):
    """A service has no way to the data it needs."""

    status, code = 412, "required"


class Service(NamedTuple):
    """One CDS Hooks service, as discovery lists it."""

    id: str
    hook: str
    title: str
    description: str
    prefetch: Mapping[str, str]
    usage: str


PREFETCH: Final = {
    "alerts": (
        f"Task?patient={{{{context.patientId}}}}&code={ALERT_REVIEW},{ENGINE_FAILURE}&status={','.join(OPEN)}&_count=50"
    ),
    "risks": "RiskAssessment?patient={{context.patientId}}&_sort=-date&_count=20",
}
SERVICES: Final = (
    Service(
        "worklist-status",
        "patient-view",
        "Alertes ouvertes",
        "Les alertes ouvertes du patient, avec leur rang, leur règle et ce qui manque au score. "
        "The patient's open alerts, with their rank, their rule and what the score lacks.",
        PREFETCH,
        "Aide au tri, non validée à domicile ; ne remplace ni les secours ni l’avis d’un médecin.",
    ),
)
NEEDED: Final = ("alerts",)  # keys without which no answer can be given


class Call(NamedTuple):
    """What a client asks of a service."""

    hook: str
    instance: str
    patient: str
    fhir_server: str  # "" where the client names none
    prefetch: Mapping[str, Any]


def service(id: str) -> Service:
    """Return a service; raise NotFound."""
    for one in SERVICES:
        if one.id == id:
            return one
    raise NotFound("There is no such CDS service.")


def discovery() -> dict[str, Any]:
    """Return the answer of `GET /cds-services`."""
    return {
        "services": [
            {
                "hook": one.hook,
                "title": one.title,
                "description": one.description,
                "id": one.id,
                "prefetch": dict(one.prefetch),
                "usageRequirements": one.usage,
            }
            for one in SERVICES
        ]
    }


def read_call(body: Any, asked: Service) -> Call:
    """Read a call.

    Raises:
        BadRequest: The body is no call, or one of another hook.
        Unprocessable: The context lacks what the hook requires.
    """
    if not isinstance(body, dict):
        raise BadRequest("A CDS Hooks call is a JSON object.")
    if body.get("hook") != asked.hook:
        raise BadRequest(f"This service answers the hook {asked.hook}.", expression="hook")
    try:
        instance = str(UUID(body["hookInstance"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadRequest("hookInstance is required and is a UUID.", expression="hookInstance") from None
    context, prefetch = body.get("context"), body.get("prefetch", {})
    if not isinstance(context, dict) or not isinstance(prefetch, dict):
        raise BadRequest("context is required; context and prefetch are objects.", expression="context")
    if not isinstance(context.get("userId"), str) or not context["userId"]:
        raise Unprocessable("context.userId is required.", expression="context.userId")
    patient = context.get("patientId")
    if not isinstance(patient, str) or not ID.fullmatch(patient):
        raise Unprocessable("context.patientId is required and is the id of a Patient.", expression="context.patientId")
    server = body.get("fhirServer", "")
    if not isinstance(server, str):
        raise BadRequest("fhirServer is a URL.", expression="fhirServer")
    return Call(asked.hook, instance, patient, server.rstrip("/"), prefetch)


def given(call: Call, key: str) -> list[Resource] | None:
    """Return the resources of a prefetch key; None where the client gives none or failed to get them.

    `null` is an answer: the client ran the query and found nothing.
    """
    if key not in call.prefetch:
        return None
    value = call.prefetch[key]
    if value is None:
        return []
    if not isinstance(value, dict) or value.get("resourceType") == "OperationOutcome":
        return None
    if value.get("resourceType") != "Bundle":
        return [value]
    entries = value.get("entry", [])
    if not isinstance(entries, list):
        raise BadRequest("A prefetched Bundle has a list of entries.", expression=f"prefetch.{key}")
    found = [entry.get("resource") for entry in entries if isinstance(entry, dict)]
    return [resource for resource in found if isinstance(resource, dict)]


def query(asked: Service, key: str, patient: str) -> str:
    """Return the search that a prefetch key stands for."""
    return asked.prefetch[key].replace("{{context.patientId}}", patient)


def cards(
    asked: Service, patient: str, alerts: Sequence[Resource], risks: Sequence[Resource], *, root: str, zone: tzinfo
) -> list[dict[str, Any]]:
    """Return a card for each open alert of a patient, the most urgent first.

    Args:
        asked: The service that answers.
        patient: Id of the Patient; Tasks of others are left out.
        alerts: Tasks.
        risks: RiskAssessments that they may refer to.
        root: Address of this hub, without a closing slash; cards link to its worklist.
        zone: In which moments are written.
    """
    by_reference = {f"RiskAssessment/{risk.get('id')}": risk for risk in risks}
    open_alerts = [task for task in alerts if _is_open(task, patient)]
    open_alerts.sort(key=lambda task: (alert.place(task), str(task.get("authoredOn", ""))))
    return [_card(asked, task, by_reference.get(_reference(task, "focus"), {}), root, zone) for task in open_alerts]


def _is_open(task: Resource, patient: str) -> bool:
    own = task.get("resourceType") == "Task" and task.get("status") in OPEN and codes_of(task.get("code"), FAMILY)
    return bool(own) and _reference(task, "for").endswith(f"Patient/{patient}")


def _reference(resource: Resource, element: str) -> str:
    held = resource.get(element)
    return str(held.get("reference", "")) if isinstance(held, dict) else ""


def _card(asked: Service, task: Resource, risk: Resource, root: str, zone: tzinfo) -> dict[str, Any]:
    rank = at_place(alert.place(task))
    made = {
        "uuid": card_uuid(asked, task, rank),
        "summary": _summary(task, rank),
        "indicator": rank.indicator,
        "detail": _detail(task, risk, rank, zone),
        "source": _source(risk, asked, root),
        "overrideReasons": OVERRIDE_REASONS,
        "links": [{"label": "Liste de travail", "url": f"{root}/worklist", "type": "absolute"}],
    }
    return {key: value for key, value in made.items() if value}


def card_uuid(asked: Service, task: Resource, rank: Rank) -> str:
    """Return the same uuid for the same alert at the same rank, in every call: feedback then finds it."""
    return str(uuid5(NAMESPACE, f"{asked.id}|{task.get('id')}|{rank.code}"))


def _summary(task: Resource, rank: Rank) -> str:
    """Return one line without any identifier of the person."""
    text = f"Alerte rang {rank.code} : {task.get('description') or 'à examiner'}"
    return text if len(text) <= MAX_SUMMARY else text[: MAX_SUMMARY - 1].rstrip() + "…"


def _detail(task: Resource, risk: Resource, rank: Rank, zone: tzinfo) -> str:
    """Return GitHub-flavoured Markdown, as cards have it."""
    notes = [note.get("text", "") for note in risk.get("note", ())] or [str(task.get("description", ""))]
    deadline = span(task.get("restriction", {}).get("period", {}).get("end"), zone)
    lines = [f"**Rang {rank.code}** ({rank.french})"]
    if task.get("status") == "requested" and deadline:
        lines.append(f"À prendre avant le {moment(deadline.first).astimezone(zone):%d/%m/%Y à %H:%M (%Z)}")
    if rank.place <= 2:
        lines.append(EMERGENCY)
    return "\n\n".join(line for line in (*lines, *notes) if line)


def _source(risk: Resource, asked: Service, root: str) -> dict[str, Any]:
    label = asked.title
    for coding in risk.get("method", {}).get("coding", ()):
        if coding.get("system") == RULE:
            label = f"{coding.get('display', coding.get('code'))} (règle {coding.get('version', '')})"
    return {"label": label, "url": f"{root}/worklist", "topic": {"system": RANK, "code": "alert"}}


OVERRIDE_REASONS: Final = [
    {"system": OVERRIDE, "code": code, "display": display}
    for code, display in (
        ("known", "Situation connue, prise en charge en cours"),
        ("artifact", "Mesure fausse ou mal prise"),
        ("threshold", "Seuil inadapté à ce patient"),
        ("other", "Autre raison"),
    )
]

"""Builders of what consent tests are about."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from consent.decide import Decision, decide
from consent.matching import Asker
from consent.provisions import compile_consent
from consent.team import compile_team

ZONE = ZoneInfo("Europe/Paris")
SYSTEM = "http://terminology.hl7.org/CodeSystem/"
DOCTOR, VENDOR, OTHER = "Practitioner/doctor", "Organization/vendor", "Practitioner/other"


def coding(system: str, code: str) -> dict[str, str]:
    return {"system": SYSTEM + system, "code": code}


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [coding(system, code)]}


def actor(reference: str | dict[str, Any], role: str = "IRCP") -> dict[str, Any]:
    target = {"reference": reference} if isinstance(reference, str) else reference
    return {"role": concept("v3-ParticipationType", role), "reference": target}


def consent(type: str = "", *actors: str, **more: Any) -> dict[str, Any]:
    """A Consent with a root provision; `provision_...` keywords go into it, the others into the Consent."""
    root: dict[str, Any] = {"type": type} if type else {}
    if actors:
        root["actor"] = [actor(one) for one in actors]
    root |= {name.removeprefix("provision_"): more.pop(name) for name in list(more) if name.startswith("provision_")}
    made = {
        "resourceType": "Consent",
        "id": "c",
        "meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00.000Z"},
        "status": "active",
        "scope": concept("consentscope", "patient-privacy"),
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/p"},
        "dateTime": "2026-01-01",
        "policyRule": concept("v3-ActCode", "OPTIN"),
        "provision": root,
    }
    return {name: value for name, value in (made | more).items() if value is not None}


def care_team(*members: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "CareTeam", "id": "t", "status": "active", "subject": {"reference": "Patient/p"},
        "participant": [{"member": {"reference": one}} for one in members], **more,
    }  # fmt: skip


def observation(*labels: dict[str, str], **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "resourceType": "Observation", "id": "o", "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    }  # fmt: skip
    return made | ({"meta": {"security": list(labels)}} if labels else {}) | more


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def decided(
    *consents: dict[str, Any],
    names: tuple[str, ...] = (VENDOR,),
    purpose: str = "TREAT",
    now: str = "2026-06-01T12:00:00+02:00",
    teams: tuple[dict[str, Any], ...] = (),
) -> Decision:
    """Decide for one patient."""
    rules = [rule for one in consents if (rule := compile_consent(one, zone=ZONE, base_url="http://hub.example/fhir"))]
    joined = [team for one in teams if (team := compile_team(one, zone=ZONE))]
    return decide(Asker(frozenset(names), purpose), rules, joined, now=at(now), zone=ZONE)


def sees(decision: Decision, resource: dict[str, Any]) -> bool:
    """Whether a decision shows a resource."""
    return decision.sees(resource) if decision.sees else decision.outcome == "permit"

"""A second opinion on consent: the rules of docs/reference/consent.md, evaluated on plain JSON, one resource at a time.

It shares no code with the room: no compiling, no reducing, no spans; what is in doubt is passed down as a flag.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Paris")
RECIPIENTS = {"IRCP", "PRCP"}
PARENT = {"ETREAT": "TREAT", "BTG": "ETREAT", "CLINTRCH": "HRESCH"}
UNDER_ETH = {"SUD", "ETHUD", "OPIOIDUD"}


def first(text: str) -> datetime:
    """The first moment of a date."""
    if "T" in text:
        return datetime.fromisoformat(text)
    return datetime.fromisoformat((text + "-01-01")[:10]).replace(tzinfo=ZONE)


def past(text: str) -> datetime:
    """The first moment after a date; dates here are years, days or whole seconds."""
    if "T" in text:
        return first(text) + timedelta(seconds=1)
    return first(str(int(text) + 1)) if len(text) == 4 else first(text) + timedelta(days=1)


def within(period: dict[str, Any], at: datetime) -> bool:
    return ("start" not in period or at >= first(period["start"])) and ("end" not in period or at < past(period["end"]))


def one_of(values: list[Any], test: Any, doubt: bool) -> bool:
    """OR over values; a test gives None where it cannot say."""
    return any(doubt if said is None else said for said in map(test, values))


def actor(one: dict[str, Any], ask: dict[str, Any]) -> bool | None:
    """Whether the caller is this one."""
    reference = one["reference"].get("reference", "")
    unclear = "/" not in reference or reference.startswith(("http", "Group/"))
    return None if unclear or one["role"]["coding"][0]["code"] not in RECIPIENTS else reference in ask["names"]


def action(one: dict[str, Any]) -> bool | None:
    """Whether reading is the action."""
    return {"access": True, "use": None, "disclose": None}.get(one["coding"][0]["code"], False)


def purpose(one: dict[str, Any], ask: dict[str, Any]) -> bool | None:
    """Whether the purpose asked for is this one, or below it."""
    if "ActReason" not in one["system"]:
        return None
    asked: str | None = ask["purpose"]
    while asked and asked != one["code"]:
        asked = PARENT.get(asked)
    return asked is not None


def label(one: dict[str, Any], resource: dict[str, Any], kind: str) -> bool | None:
    """Whether the resource carries this label; confidentiality counts up for a denial, down for a permit."""
    carried = [(s["system"], s["code"]) for s in resource.get("meta", {}).get("security", [])]
    if "Confidentiality" in one["system"]:
        ranks = ["ULMNRV".index(code) for system, code in carried if "Confidentiality" in system] or [3]
        wanted = "ULMNRV".index(one["code"])
        return None if not kind else max(ranks) <= wanted if kind == "permit" else max(ranks) >= wanted
    below = {one["code"]} | (UNDER_ETH if one["code"] == "ETH" else set())
    return bool({code for system, code in carried if "Confidentiality" not in system} & below)


def code(one: dict[str, Any], resource: dict[str, Any]) -> bool | None:
    """Whether the resource has this code as its own."""
    wanted = json.dumps(one["coding"][0], sort_keys=True)
    if wanted in json.dumps(resource.get("code", {}), sort_keys=True):
        return True
    return None if wanted in json.dumps(resource, sort_keys=True) else False


def datum(one: dict[str, Any], resource: dict[str, Any]) -> bool | None:
    """Whether the resource is this datum, or hangs on it as its meaning says."""
    wanted = str(one["reference"]["reference"])
    is_it: bool = one["reference"]["reference"] == f"Observation/{resource['id']}"
    if one["meaning"] == "instance":
        return is_it
    if one["meaning"] == "dependents":
        return is_it or f'"{wanted}"' in json.dumps(resource)
    if one["meaning"] == "authoredby":
        return any(by["reference"] == wanted for by in resource.get("performer", []))
    return True if is_it else None


def dated(period: dict[str, Any], resource: dict[str, Any]) -> bool | None:
    """Whether all of the resource's time is in this period."""
    if "effectiveDateTime" not in resource:
        return None
    at = resource["effectiveDateTime"]
    starts, ends = within(period, first(at)), within(period, past(at) - timedelta(microseconds=1))
    around = (
        "start" in period and "end" in period and first(at) < first(period["start"]) < past(period["end"]) < past(at)
    )
    return True if starts and ends else None if starts or ends or around else False


def matches(p: dict[str, Any], ask: dict[str, Any], doubt: bool, kind: str) -> bool:
    """AND over the criteria that are there; `doubt` is what an unclear one counts as."""
    resource = ask["resource"]
    if "modifierExtension" in p and not doubt:
        return False
    if "period" in p and not within(p["period"], ask["now"]):
        return False
    if "dataPeriod" in p and not one_of([p["dataPeriod"]], lambda one: dated(one, resource), doubt):
        return False
    tests: dict[str, Callable[[dict[str, Any]], bool | None]] = {
        "actor": lambda one: actor(one, ask),
        "action": action,
        "purpose": lambda one: purpose(one, ask),
        "securityLabel": lambda one: label(one, resource, kind),
        "code": lambda one: code(one, resource),
        "class": lambda one: bool(one["code"] == resource["resourceType"]),
        "data": lambda one: datum(one, resource),
    }
    return all(one_of(p[name], test, doubt) for name, test in tests.items() if name in p)


def says(p: dict[str, Any], kind: str, ask: dict[str, Any], certain: bool, named: bool, root: bool) -> str:
    """What one provision says: deny, grant, leave (permits, names nobody) or ""."""
    if not matches(p, ask, True, kind):
        return ""
    certain = certain and matches(p, ask, False, kind)
    named = named or "actor" in p
    inner = {says(q, q.get("type", ""), ask, certain, named, False) for q in p.get("provision", [])}
    for strongest in ("deny", "grant", "leave"):
        if strongest in inner:
            return strongest
    if kind == "permit":
        return ("grant" if named else "leave") if certain else ""
    return "deny" if kind == "deny" or not root else ""


def older(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a Consent is replaced by another: the same matter, both dated, and that one is newer."""

    def about(c: dict[str, Any]) -> Any:
        actors = c.get("provision", {}).get("actor")
        parties = actors and sorted(
            json.dumps(
                [
                    a["reference"].get("reference", "")[
                        : 0 if "http" in a["reference"].get("reference", "http") else 99
                    ],
                    a["role"]["coding"][0]["code"] in RECIPIENTS,
                ]
            )
            for a in actors
        )
        return c.get("organization"), parties and sorted(set(parties))

    if about(one) != about(other) or "dateTime" not in one or "dateTime" not in other:
        return False
    ages = [(first(c["dateTime"]), c["meta"]["lastUpdated"], int(c["meta"]["versionId"])) for c in (one, other)]
    return ages[0] < ages[1]


def may_see(consents: list[dict[str, Any]], member: bool, ask: dict[str, Any]) -> bool:
    """Whether who asks may see the resource."""
    active = [c for c in consents if c["status"] == "active"]
    said = set()
    for consent in active:
        if not any(older(consent, other) for other in active):
            root = consent.get("provision", {})
            policy = consent.get("policyRule", {}).get("coding", [{}])[0].get("code")
            kind = root.get("type") or {"OPTIN": "permit", "OPTOUT": "deny"}.get(policy, "")
            said.add(says(root, kind, ask, "modifierExtension" not in consent, False, True))
    return "deny" not in said and (member or "grant" in said)

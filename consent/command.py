"""`predmp consent explain`: who may see whose record, and why."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from consent.decide import Decision
from consent.guard import ConsentGuard
from consent.people import names_of_all
from consent.provisions import Rule
from consent.words import LANGUAGES, reason_in_words, rule_in_words
from fhir_server.interface import Asking, Command
from fhir_server.settings import PREFIX, Settings

SETTINGS = ("store", "tenant", "zone")
_ACTOR = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")
_ID = re.compile(r"(?:Patient/)?([A-Za-z0-9.-]{1,64})")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands of `predmp consent`."""
    explain = parser.add_subparsers(required=True, metavar="WHAT").add_parser(
        "explain", help="say whether an actor may see a patient's record, by which rule, in words"
    )
    explain.add_argument("--patient", required=True, metavar="ID", help="id of the Patient")
    explain.add_argument("--actor", required=True, metavar="TYPE/ID", help="Practitioner/ID or Organization/ID")
    explain.add_argument("--purpose", default="TREAT", help="v3-PurposeOfUse, e.g. TREAT")
    explain.add_argument("--json", action="store_true", help="print one JSON object")
    for item in fields(Settings):
        if item.name in SETTINGS:
            text = f"{item.metadata['help']} ({PREFIX}{item.name.upper()})"
            explain.add_argument(f"--{item.name}", metavar="VALUE", help=text)
    explain.add_argument("--config", type=Path, metavar="FILE", help="TOML file with the same names")


def run(args: argparse.Namespace) -> int:
    """Print the decision; return 0 decided, 1 no such patient, 2 bad usage."""
    patient, actor = _ID.fullmatch(args.patient), _ACTOR.fullmatch(args.actor)
    if patient is None or actor is None:
        print("predmp: --patient takes an id, --actor reads TYPE/ID", file=sys.stderr)
        return 2
    flags = {name: getattr(args, name) for name in SETTINGS}
    settings = Settings.read(os.environ, flags, args.config)
    found = asyncio.run(_explained(settings, patient[1], args.actor, args.purpose))
    if found is None:
        print("predmp: there is no such patient in this store; nobody may see what is not there", file=sys.stderr)
        return 1
    print(json.dumps(found, ensure_ascii=False, indent=2) if args.json else _text(found))
    return 0


async def _explained(settings: Settings, patient: str, actor: str, purpose: str) -> dict[str, Any] | None:
    from fhir_server.app import opened  # here: other commands start without the whole hub

    async with opened(settings) as composed:
        guard, now = ConsentGuard(ZoneInfo(settings.zone), composed.hub.base_url), composed.hub.now()

        async def work(asking: Asking) -> dict[str, Any] | None:
            if await asking.resource(f"Patient/{patient}") is None:
                return None
            decision = await guard.decision(asking, actor, purpose, patient, now)
            rules = (await guard.gathering.rules(asking, {patient})).get(patient, [])
            deciding = [rule for rule in rules if f"Consent/{rule.id}" in decision.rules]
            named = {party.reference for rule in deciding for p in rule.root.walk() for party in p.parties or ()}
            names = await names_of_all(asking, {*named, actor})
            return explained(decision, deciding, names, patient, actor, purpose, guard.gathering.zone)

        found: dict[str, Any] | None = await composed.hub.ask(settings.tenant, work)
        return found


def explained(
    decision: Decision,
    rules: list[Rule],
    names: dict[str, str],
    patient: str,
    actor: str,
    purpose: str,
    zone: ZoneInfo,
) -> dict[str, Any]:
    """Return a decision as JSON, in French and English."""
    return {
        "outcome": decision.outcome,
        "patient": f"Patient/{patient}",
        "actor": actor,
        "purpose": purpose,
        "careTeamMember": decision.member,
        "rules": list(decision.rules),
        "expires": decision.expires,  # microseconds since 1970: when time alone may change it
        "reason": {name: reason_in_words(decision, say) for name, say in LANGUAGES.items()},
        "words": {
            f"Consent/{rule.id}": {
                name: rule_in_words(rule, names, say, zone, own=False) for name, say in LANGUAGES.items()
            }
            for rule in rules
        },
    }


def _text(found: dict[str, Any]) -> str:
    lines = [
        f"{found['outcome']}: {found['actor']} -> {found['patient']}, {found['purpose']}",
        *found["reason"].values(),
        *(f"{rule}: {words}" for rule, said in found["words"].items() for words in said.values()),
    ]
    if others := [rule for rule in found["rules"] if rule not in found["words"]]:
        lines.append(", ".join(others))
    return "\n".join(lines)


CONSENT = Command("consent", "who may see whose record", configure, run)

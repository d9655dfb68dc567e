"""What decisions rest on, gathered from one state of the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from consent.provisions import Rule, compile_consent, local
from consent.team import Role, Team, compile_role, compile_team
from fhir_server.interface import Asking
from fhir_server.model import Resource

PAGE = 1_000  # resources asked for at once: the largest page there is
SOME = 200  # references asked for at once


async def every(asking: Asking, query: str, *, since: str = "") -> list[Resource]:
    """Return all that a query finds, however many, oldest change first.

    Args:
        asking: One consistent state.
        query: A search without `_sort`, `_count` and `_lastUpdated`.
        since: meta.lastUpdated from which on.
    """
    found: dict[str, Resource] = {}
    after = f"&_lastUpdated=ge{since}" if since else ""
    while True:
        # What shares the last millisecond of a full page is asked for by itself, so that no page repeats.
        page = await asking.find(f"{query}{after}&_sort=_lastUpdated&_count={PAGE}&_total=none")
        found.update((resource["id"], resource) for resource in page)
        if len(page) < PAGE:
            return list(found.values())
        last = page[-1]["meta"]["lastUpdated"]
        same = await asking.find(f"{query}&_lastUpdated={last}&_total=none")
        found.update((resource["id"], resource) for resource in same)
        after = f"&_lastUpdated=gt{last}"


def earlier(instant: str) -> str:
    """Return the instant a minute before: what was written meanwhile by a transaction that ended late is seen too."""
    return (datetime.fromisoformat(instant) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(slots=True)
class Exceptions:
    """Which active Consents name someone in a nested provision only: R4's search does not find those by actor.

    Kept between questions and brought up to date by what changed since; one entry too many costs a look, and
    decides nothing.
    """

    base_url: str
    named: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)  # Consent id -> patient, references
    since: str = ""

    async def refresh(self, asking: Asking) -> None:
        """Take in the Consents that changed."""
        since = earlier(self.since) if self.since else ""
        for consent in await every(asking, "Consent?actor:missing=true", since=since):
            patient = local(consent.get("patient"), self.base_url)
            nested = frozenset(_named(consent.get("provision", {}), self.base_url))
            if nested and consent.get("status") == "active":
                self.named[consent["id"]] = (patient, nested)
            else:
                self.named.pop(consent["id"], None)
            self.since = max(self.since, consent["meta"]["lastUpdated"])

    def patients(self, names: frozenset[str]) -> set[str]:
        """Return references of the Patients who name one of these in an exception."""
        return {patient for patient, nested in self.named.values() if nested & names}


def _named(provision: Mapping[str, Any], base_url: str) -> Iterator[str]:
    for inner in provision.get("provision", ()):
        found = (local(actor.get("reference"), base_url) for actor in inner.get("actor", ()))
        yield from (reference for reference in found if reference)
        yield from _named(inner, base_url)


@dataclass(frozen=True, slots=True)
class Gathering:
    """Reads and compiles what decisions rest on."""

    zone: ZoneInfo
    base_url: str

    async def role_resources(self, asking: Asking, reference: str) -> list[Resource]:
        """Return the PractitionerRoles that give an actor further names."""
        type = reference.partition("/")[0]
        if type == "Practitioner":
            return await every(asking, f"PractitionerRole?practitioner={reference}")
        one = await asking.resource(reference) if type == "PractitionerRole" else None
        return [one] if one else []

    async def team_resources(self, asking: Asking, patient: str) -> list[Resource]:
        """Return the active CareTeams of `Patient/id`."""
        return await every(asking, f"CareTeam?patient={patient}&status=active")

    async def consent_resources(self, asking: Asking, patient: str) -> list[Resource]:
        """Return the active Consents of `Patient/id`."""
        return await every(asking, f"Consent?patient={patient}&status=active")

    async def roles(self, asking: Asking, reference: str) -> list[Role]:
        """Return the roles that give an actor further names."""
        return self.compiled_roles(await self.role_resources(asking, reference))

    async def teams(self, asking: Asking, names: frozenset[str]) -> list[Team]:
        """Return the active care teams that one of these names is in."""
        found = [await every(asking, f"CareTeam?participant={some}&status=active") for some in _parted(names)]
        return self.compiled_teams({team["id"]: team for teams in found for team in teams}.values())

    def compiled_roles(self, roles: Iterable[Resource]) -> list[Role]:
        """Compile PractitionerRoles; those that are not active are left out."""
        made = (compile_role(role, zone=self.zone, base_url=self.base_url) for role in roles)
        return [role for role in made if role]

    def compiled_teams(self, teams: Iterable[Resource]) -> list[Team]:
        """Compile CareTeams; those that are not active or of no patient are left out."""
        made = (compile_team(team, zone=self.zone, base_url=self.base_url) for team in teams)
        return [team for team in made if team]

    async def patients_naming(self, asking: Asking, names: frozenset[str], exceptions: Exceptions) -> set[str]:
        """Return ids of Patients who name one of these in an active Consent."""
        await exceptions.refresh(asking)
        found = exceptions.patients(names)
        for some in _parted(names):
            naming = await every(asking, f"Consent?actor={some}&status=active")
            found |= {local(consent.get("patient"), self.base_url) for consent in naming}
        return {patient.removeprefix("Patient/") for patient in found if patient.startswith("Patient/")}

    async def rules(self, asking: Asking, patients: Iterable[str]) -> dict[str, list[Rule]]:
        """Return the compiled active Consents of each of these patients."""
        made: dict[str, list[Rule]] = {}
        for some in _parted(f"Patient/{id}" for id in patients):
            for rule in self.compiled_rules(await every(asking, f"Consent?patient={some}&status=active")):
                made.setdefault(rule.patient, []).append(rule)
        return made

    def compiled_rules(self, consents: Sequence[Resource]) -> list[Rule]:
        """Compile Consents; those that say nothing about who may see a record are left out."""
        made = (compile_consent(consent, zone=self.zone, base_url=self.base_url) for consent in consents)
        return [rule for rule in made if rule]


def _parted(references: Iterable[str]) -> Iterator[str]:
    """Return references as values of a search parameter, some at a time."""
    ordered = sorted(references)
    for start in range(0, len(ordered), SOME):
        yield ",".join(ordered[start : start + SOME])

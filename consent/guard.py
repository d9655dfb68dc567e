"""The guard: what an actor may see, from the Consents and care teams of one state."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from consent.decide import DENY, PARTIAL, PERMIT, Decision, decide, next_change
from consent.gathering import Exceptions, Gathering
from consent.matching import Asker
from consent.provisions import Rule, local
from consent.team import Team, names_of
from fhir_server.errors import TooCostly, Unavailable
from fhir_server.interface import Asking
from fhir_server.model import EVERYTHING, Actor, Visibility

TYPES = frozenset({"Consent", "CareTeam", "PractitionerRole"})


class ConsentGuard:
    """`interface.Guard` of the room.

    Args:
        zone: In which bare dates are days.
        base_url: Of this server's FHIR root.
    """

    types = TYPES

    def __init__(self, zone: ZoneInfo, base_url: str) -> None:
        self.gathering = Gathering(zone, base_url)
        self._exceptions: dict[str, Exceptions] = {}

    async def visibility(self, asking: Asking, actor: Actor, now: int) -> Visibility:
        """Return what the actor may see.

        Raises:
            Unavailable: It cannot be decided; nothing is shown then.
        """
        if actor.is_operator:
            return EVERYTHING
        if not actor.reference:
            return Visibility(frozenset({actor.patient}))
        try:
            return await self._visibility(asking, actor, now)
        except TooCostly:
            raise Unavailable("Who may see which record cannot be decided: too many Consents at one instant.") from None

    async def decision(self, asking: Asking, reference: str, purpose: str, patient: str, now: int) -> Decision:
        """Decide for one actor and one patient, with the reasons."""
        asker, teams, _ = await self._asker(asking, reference, purpose, now)
        rules = await self.gathering.rules(asking, {patient})
        own = [team for team in teams if team.patient == patient]
        return self._decide(asker, rules.get(patient, []), own, now)

    async def _visibility(self, asking: Asking, actor: Actor, now: int) -> Visibility:
        asker, teams, changes = await self._asker(asking, actor.reference, actor.purpose, now)
        by_patient: dict[str, list[Team]] = {}
        for team in teams:
            by_patient.setdefault(team.patient, []).append(team)
        if not asker.names:
            return Visibility(frozenset(), expires=changes)
        exceptions = self._exceptions.setdefault(asking.tenant, Exceptions(self.gathering.base_url))
        patients = by_patient.keys() | await self.gathering.patients_naming(asking, asker.names, exceptions)
        if actor.patient:
            patients &= {actor.patient}
        rules = await self.gathering.rules(asking, patients)
        decided = {id: self._decide(asker, rules.get(id, []), by_patient.get(id, []), now) for id in patients}
        ends = [at for at in (changes, *(one.expires for one in decided.values())) if at is not None]
        return Visibility(
            frozenset(id for id, one in decided.items() if one.outcome == PERMIT),
            {id: one.sees for id, one in decided.items() if one.outcome == PARTIAL and one.sees is not None},
            expires=min(ends, default=None),
        )

    async def _asker(
        self, asking: Asking, reference: str, purpose: str, now: int
    ) -> tuple[Asker, list[Team], int | None]:
        """Return who asks by all names, the teams they are in, and when time alone changes that next."""
        if not local({"reference": reference}):
            return Asker(frozenset(), purpose), [], None
        roles = await self.gathering.roles(asking, reference)
        names = names_of(reference, roles, now)
        teams = await self.gathering.teams(asking, names) if names else []
        joined = frozenset(f"CareTeam/{team.id}" for team in teams if team.has(names, now))
        spans = (*(role.period for role in roles), *(span for team in teams for span in team.spans()))
        return Asker(names | joined, purpose), teams, next_change(spans, now)

    def _decide(self, asker: Asker, rules: list[Rule], teams: list[Team], now: int) -> Decision:
        if not asker.names:
            return Decision(DENY, (), False)
        gathering = self.gathering
        return decide(asker, rules, teams, now=now, zone=gathering.zone, base_url=gathering.base_url)

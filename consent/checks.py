"""Who may write what decisions rest on: Consents, care teams, roles.

Without these checks a caller with a wide scope could name itself in a care team and so let itself in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from consent.decide import DENY, decide
from consent.guard import TYPES, ConsentGuard
from consent.matching import Asker
from consent.provisions import MAX_DEPTH, compile_consent, depth, local
from consent.team import names_of
from fhir_server.errors import Forbidden, Issue, Unprocessable
from fhir_server.interface import Asking, Check
from fhir_server.model import Actor, Change, Resource

WHO_CONSENTS = "A consent is recorded by the patient, the operator, or a practitioner of the patient's care team."
WHO_CHANGES = "A consent is changed by the patient or the operator only; it is ended by its status, not deleted."
WHO_NAMES = "A care team is changed by the patient, the operator, or who may see the patient's record."
WHO_EMPLOYS = "A practitioner's role is changed by the operator or the organization of the role."


KEPT = 256  # transactions whose writes are remembered; more than run at once

_Key = tuple[str, int]  # tenant and time of a transaction, which no other has


@dataclass(frozen=True, slots=True)
class Writes:
    """The checks of the room."""

    guard: ConsentGuard
    now: Callable[[], int]  # microseconds since 1970
    _written: OrderedDict[_Key, dict[str, bool]] = field(default_factory=OrderedDict)  # reference -> whether it is new

    def checks(self) -> tuple[Check, ...]:
        """Return the checks for `interface.Room`."""
        return (
            Check(TYPES | {"Patient"}, self.note),  # first: it has seen all changes before another sees one
            Check(frozenset({"Consent"}), self.consent),
            Check(frozenset({"CareTeam"}), self.care_team),
            Check(frozenset({"PractitionerRole"}), self.role),
        )

    async def note(self, asking: Asking, change: Change, actor: Actor) -> None:
        """Remember what a transaction writes, to tell it from what was there before."""
        if not actor.is_operator:
            key = (asking.tenant, change.version.at)
            self._written.setdefault(key, {})[change.version.reference] = change.version.version == 1
            while len(self._written) > KEPT:
                self._written.popitem(last=False)

    async def consent(self, asking: Asking, change: Change, actor: Actor) -> None:
        """Refuse a Consent that is nested too deep, or written by who may not.

        Raises:
            Unprocessable: Provisions are nested deeper than 2 (business-rule).
            Forbidden: The actor may not record or change it.
        """
        if not change.version.is_deleted and depth(change.resource) > MAX_DEPTH:
            text = f"Provisions are nested at most {MAX_DEPTH} deep inside the root provision."
            raise Unprocessable(text, issues=[Issue("business-rule", text, "Consent.provision")])
        if actor.is_operator:
            return
        if change.version.is_deleted:
            raise Forbidden(WHO_CHANGES)
        if not actor.reference:
            self._own(change, actor)
        elif change.before is not None:
            raise Forbidden(WHO_CHANGES)
        elif not await self._may_record(asking, change, actor):
            raise Forbidden(WHO_CONSENTS)

    def _own(self, change: Change, actor: Actor) -> None:
        """Let a patient write Consents about themself only."""
        for resource in (change.resource, change.before):
            if resource is not None and self._local(resource, "patient") != f"Patient/{actor.patient}":
                raise Forbidden(WHO_CONSENTS)

    async def _may_record(self, asking: Asking, change: Change, actor: Actor) -> bool:
        """Whether a practitioner may record this: of the care team, not refused, and no older decision is undone."""
        if not actor.reference.startswith(("Practitioner/", "PractitionerRole/")):
            return False
        patient = self._local(change.resource, "patient")
        if not patient.startswith("Patient/"):
            return False
        if not await self._is_related(asking, change, actor, patient, as_member=True):
            return False
        gathering = self.guard.gathering
        new = compile_consent(change.resource, zone=gathering.zone, base_url=gathering.base_url)
        others = (await gathering.rules(asking, {patient.removeprefix("Patient/")})).values()
        return new is None or not any(
            rule.lineage == new.lineage and rule.id != new.id for rules in others for rule in rules
        )

    async def care_team(self, asking: Asking, change: Change, actor: Actor) -> None:
        """Refuse a care team changed by who may not see the patient's record without it; raise Forbidden."""
        if actor.is_operator:
            return
        for resource in (change.resource, change.before):
            patient = self._local(resource or {}, "subject")
            if not patient.startswith("Patient/"):
                continue
            if actor.patient and not actor.reference:
                allowed = patient == f"Patient/{actor.patient}"
            else:
                allowed = self._is_new(asking, change, patient) or await self._is_related(
                    asking, change, actor, patient
                )
            if not allowed:
                raise Forbidden(WHO_NAMES)

    async def role(self, asking: Asking, change: Change, actor: Actor) -> None:
        """Refuse a role that an organization does not give itself; raise Forbidden."""
        if actor.is_operator:
            return
        organizations = {self._local(one, "organization") for one in (change.resource, change.before) if one}
        if not actor.reference.startswith("Organization/") or organizations != {actor.reference}:
            raise Forbidden(WHO_EMPLOYS)

    def _is_new(self, asking: Asking, change: Change, patient: str) -> bool:
        """Whether the patient is registered in this very transaction: who does so names the care team."""
        return self._written[asking.tenant, change.version.at].get(patient, False)

    async def _is_related(
        self, asking: Asking, change: Change, actor: Actor, patient: str, *, as_member: bool = False
    ) -> bool:
        """Whether the actor may see the patient's record in the state before this transaction.

        What the transaction wrote is left out; of the changed resource itself the version before counts.
        """
        id = patient.removeprefix("Patient/")
        if actor.patient not in ("", id):
            return False
        gathering, now = self.guard.gathering, self.now()
        roles = self._before(
            "PractitionerRole", await gathering.role_resources(asking, actor.reference), asking, change
        )
        names = names_of(actor.reference, gathering.compiled_roles(roles), now)
        teams = self._before("CareTeam", await gathering.team_resources(asking, patient), asking, change)
        own = [team for team in gathering.compiled_teams(teams) if team.patient == id]
        consents = self._before("Consent", await gathering.consent_resources(asking, patient), asking, change)
        joined = frozenset(f"CareTeam/{team.id}" for team in own if team.has(names, now))
        if not names or (as_member and not joined):
            return False
        decision = decide(
            Asker(names | joined, actor.purpose),
            [rule for rule in gathering.compiled_rules(consents) if rule.patient == id],
            own,
            now=now,
            zone=gathering.zone,
            base_url=gathering.base_url,
        )
        return decision.outcome != DENY

    def _before(self, type: str, found: list[Resource], asking: Asking, change: Change) -> list[Resource]:
        """Return resources of a type without what the change's transaction wrote, the changed one as it was."""
        written = self._written[asking.tenant, change.version.at]
        kept = [one for one in found if f"{type}/{one['id']}" not in written]
        return [*kept, change.before] if change.version.type == type and change.before is not None else kept

    def _local(self, resource: Resource, element: str) -> str:
        return local(resource.get(element), self.guard.gathering.base_url)

"""What a patient does on the consent page: allow, object, end. Each makes Consents, none deletes one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from consent.codes import CATEGORY, PARTICIPATION, POLICY, SCOPE
from consent.gathering import Gathering
from consent.provisions import compile_consent
from fhir_server import gate
from fhir_server.errors import Conflict, NotFound
from fhir_server.interface import Asking, Core
from fhir_server.model import Actor, Entry, Resource, Version

ALLOW, OBJECT, END = "allow", "object", "end"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of what was decided: the stored Consent, its version and the hash of its bytes."""

    id: str
    version: int
    at: int  # microseconds since 1970
    hash: str  # SHA-256 of the stored JSON, hexadecimal


@dataclass(frozen=True, slots=True)
class Acts:
    """Writes decisions, as the one who is signed in."""

    core: Core
    gathering: Gathering

    async def decide(self, act: str, patient: str, reference: str, actor: Actor, *, until: str = "") -> Receipt:
        """Allow or refuse somebody the record; what was decided about them before is ended in the same transaction.

        Args:
            act: `allow` or `object`.
            patient: Id of the Patient.
            reference: Whom, `Type/id`.
            actor: Who is signed in; needs the scopes to create and update Consents.
            until: Last day of a permission, `YYYY-MM-DD`; "" for no end.

        Raises:
            NotFound: There is no such person or organisation.
        """
        at = datetime.fromtimestamp(self.core.now() // 1_000_000, self.gathering.zone)
        new = written(patient, reference, permits=act == ALLOW, at=at, until=until)

        async def work(asking: Asking) -> list[Resource]:
            if await asking.resource(reference) is None:
                raise NotFound("There is no such person or organisation.")
            return self._replaced(new, await self.gathering.consent_resources(asking, f"Patient/{patient}"))

        older: list[Resource] = await self.core.ask(actor.tenant, work)
        entries = [Entry("POST", "Consent", new), *(_ended(one) for one in older)]
        outcomes = await self.core.submit(entries, actor=actor)
        assert outcomes[0].version is not None
        return receipt(outcomes[0].version)

    async def end(self, ids: Sequence[str], patient: str, actor: Actor) -> Receipt:
        """End Consents of a patient: their status becomes inactive; raise NotFound, Conflict."""

        async def work(asking: Asking) -> list[Resource]:
            found = [one for id in ids if (one := await asking.resource(f"Consent/{id}"))]
            if not found or any(one["patient"].get("reference") != f"Patient/{patient}" for one in found):
                raise NotFound("There is no such consent.")
            if any(one["status"] != "active" for one in found):
                raise Conflict("This consent is no longer active.")
            return found

        found: list[Resource] = await self.core.ask(actor.tenant, work)
        outcomes = await self.core.submit([_ended(one) for one in found], actor=actor)
        assert outcomes[0].version is not None
        return receipt(outcomes[0].version)

    def _replaced(self, new: Resource, consents: Sequence[Resource]) -> list[Resource]:
        """Return the active Consents about the same matter as a new one."""
        zone, base = self.gathering.zone, self.gathering.base_url
        lineage = compile_consent(new, zone=zone, base_url=base)
        assert lineage is not None
        rules = ((one, compile_consent(one, zone=zone, base_url=base)) for one in consents)
        return [one for one, rule in rules if rule is not None and rule.lineage == lineage.lineage]


def receipt(version: Version) -> Receipt:
    """Return the receipt of a stored Consent."""
    return Receipt(version.id, version.version, version.at, hashlib.sha256(version.body).hexdigest())


def written(patient: str, reference: str, *, permits: bool, at: datetime, until: str = "") -> dict[str, Any]:
    """Return a Consent by which a patient allows somebody the record, or refuses it."""
    role = {"coding": [{"system": PARTICIPATION, "code": "IRCP"}]}
    provision: dict[str, Any] = {"type": "permit" if permits else "deny"}
    if until:
        provision["period"] = {"end": until}
    provision["actor"] = [{"role": role, "reference": {"reference": reference}}]
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": SCOPE[0], "code": SCOPE[1]}]},
        "category": [{"coding": [{"system": CATEGORY[0], "code": CATEGORY[1]}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": at.isoformat(timespec="seconds"),
        "performer": [{"reference": f"Patient/{patient}"}],
        "policyRule": {"coding": [{"system": POLICY, "code": "OPTIN" if permits else "OPTOUT"}]},
        "provision": provision,
    }


def _ended(consent: Resource) -> Entry:
    version = consent["meta"]["versionId"]
    resource = gate.load(gate.write({**consent, "status": "inactive"}))
    return Entry("PUT", f"Consent/{consent['id']}", resource, if_match=f'W/"{version}"')


def is_day(text: str, zone: ZoneInfo, after: int) -> bool:
    """Whether a text is a day, `YYYY-MM-DD`, that is not over at `after` (microseconds since 1970)."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone)
    except ValueError:
        return False
    return day.date() >= datetime.fromtimestamp(after // 1_000_000, zone).date()

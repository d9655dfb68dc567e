"""What the hub was told of its senders: their codes (ConceptMap resources) and their profiles; kept in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from adapters.hl7 import codes
from adapters.hl7.codes import NO_CODES, Codes
from fhir_server import gate
from fhir_server.interface import Asking, Core
from fhir_server.model import Change, Record, Resource


@dataclass(frozen=True, slots=True)
class Local:
    """What is known of one tenant's senders."""

    codes: Codes = field(default=NO_CODES)
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # sender, `MSH-3|MSH-4` -> its profile


NOTHING_LOCAL: Final = Local()
QUERY: Final = "ConceptMap?status=active"
NEWEST: Final = "ConceptMap?_sort=-_lastUpdated&_count=1"

PROFILE: Final = "hl7-profile"
"""Kind of the records that hold profiles: the key is the sender, `MSH-3.1|MSH-4.1`."""

PAGE: Final = 100


class Locals:
    """What is known of each tenant's senders; follows each write of a ConceptMap."""

    types = frozenset({"ConceptMap"})

    def __init__(self, core: Core) -> None:
        self._core = core
        self._maps: dict[str, dict[str, Resource]] = {}  # tenant -> id -> a map that some sender's messages use
        self._profiles: dict[str, dict[str, tuple[int, Any]]] = {}  # tenant -> sender -> when it changed, the profile
        self._newest: dict[str, tuple[str, str]] = {}  # tenant -> id and version of the ConceptMap written last
        self._known: dict[str, Local] = {}  # what was made of them; absent after a change, until it is asked for

    async def of(self, tenant: str) -> Local:
        """Return what is known of a tenant's senders."""
        if tenant not in self._maps:
            await self.load(tenant)
        return self.known(tenant)

    def known(self, tenant: str) -> Local:
        """Return what was read of a tenant, nothing where it was not read yet."""
        if tenant not in self._known and tenant in self._maps:
            profiles = {sender: one for sender, (_, one) in self._profiles.get(tenant, {}).items()}
            self._known[tenant] = Local(codes.read(self._maps[tenant].values()), profiles)
        return self._known.get(tenant, NOTHING_LOCAL)

    async def load(self, tenant: str) -> None:
        """Read all of it anew."""

        async def work(asking: Asking) -> tuple[dict[str, Resource], tuple[str, str]]:
            newest = await _newest(asking)
            return {one["id"]: one for one in await asking.find(QUERY) if codes.is_for_senders(one)}, newest

        self._maps[tenant], self._newest[tenant] = await self._core.ask(tenant, work)
        self._known.pop(tenant, None)
        await self._read_profiles(tenant)

    async def refresh(self, tenant: str) -> None:
        """Take over maps and profiles that a command or another process wrote meanwhile."""
        if await self._core.ask(tenant, _newest) != self._newest.get(tenant):
            await self.load(tenant)
        else:
            await self._read_profiles(tenant)

    async def _read_profiles(self, tenant: str) -> None:
        async def work(asking: Asking) -> list[Record]:
            found: list[Record] = []
            while rows := await asking.records(PROFILE, after=found[-1].seq if found else 0, limit=PAGE):
                found += rows
            return found

        rows: list[Record] = await self._core.ask(tenant, work)
        before = self._profiles.get(tenant, {})
        if {row.key: row.at for row in rows} == {sender: at for sender, (at, _) in before.items()}:
            return
        made = {
            row.key: before[row.key] if before.get(row.key, (0,))[0] == row.at else (row.at, gate.load(row.body))
            for row in rows
        }
        self._profiles[tenant] = made
        if tenant in self._known:
            profiles = {sender: one for sender, (_, one) in made.items()}
            self._known[tenant] = replace(self._known[tenant], profiles=profiles)

    async def changed(self, tenant: str, changes: Sequence[Change]) -> None:
        """Take over what was written."""
        if tenant not in self._maps:
            await self.load(tenant)
        for change in changes:
            if change.version.type != "ConceptMap":
                continue
            self._maps[tenant].pop(change.version.id, None)
            if not change.version.is_deleted and codes.is_for_senders(change.resource):
                self._maps[tenant][change.version.id] = change.resource
            self._known.pop(tenant, None)


async def _newest(asking: Asking) -> tuple[str, str]:
    """Return id and version of the ConceptMap that was written last; two "" where there is none."""
    found = await asking.find(NEWEST)
    return (found[0]["id"], found[0]["meta"]["versionId"]) if found else ("", "")

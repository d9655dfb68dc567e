"""What the hub was told of its senders: their codes (ConceptMap resources) and their profiles; kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from adapters.hl7 import codes
from adapters.hl7.codes import NO_CODES, Codes
from fhir_server.interface import Asking, Core
from fhir_server.model import Change, Resource


@dataclass(frozen=True, slots=True)
class Local:
    """What is known of one tenant's senders."""

    codes: Codes = field(default=NO_CODES)


NOTHING_LOCAL: Final = Local()
QUERY: Final = "ConceptMap?status=active"


class Locals:
    """What is known of each tenant's senders; follows each write of a ConceptMap."""

    types = frozenset({"ConceptMap"})

    def __init__(self, core: Core) -> None:
        self._core = core
        self._maps: dict[str, dict[str, Resource]] = {}  # tenant -> id -> a map that some sender's messages use
        self._known: dict[str, Local] = {}  # what was made of them; absent after a change, until it is asked for

    async def of(self, tenant: str) -> Local:
        """Return what is known of a tenant's senders."""
        if tenant not in self._maps:
            await self.load(tenant)
        return self.known(tenant)

    def known(self, tenant: str) -> Local:
        """Return what was read of a tenant, nothing where it was not read yet."""
        if tenant not in self._known and tenant in self._maps:
            self._known[tenant] = Local(codes.read(self._maps[tenant].values()))
        return self._known.get(tenant, NOTHING_LOCAL)

    async def load(self, tenant: str) -> None:
        """Read all of it anew."""

        async def work(asking: Asking) -> dict[str, Resource]:
            return {one["id"]: one for one in await asking.find(QUERY) if codes.is_for_senders(one)}

        self._maps[tenant] = await self._core.ask(tenant, work)
        self._known.pop(tenant, None)

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

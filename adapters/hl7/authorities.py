"""Assigning authorities that a message names by a local name only, from the hub's NamingSystem resources.

An active NamingSystem of kind `identifier` gives the system of the authority that has its name: its preferred
uniqueId (or its only one) of type oid, uuid or uri. A name that two of them claim is not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fhir_server.interface import Asking, Core
from fhir_server.model import Change, Resource

PREFIXES: Final = {"oid": "urn:oid:", "uuid": "urn:uuid:", "uri": ""}
QUERY: Final = "NamingSystem?status=active&kind=identifier"


def system_of(naming: Resource) -> str:
    """Return the identifier system that a NamingSystem stands for, "" where it is not told."""
    ids = [i for i in naming.get("uniqueId", []) if i.get("type") in PREFIXES and i.get("value")]
    chosen = [i for i in ids if i.get("preferred")] or (ids if len(ids) == 1 else [])
    if not chosen:
        return ""
    prefix, value = PREFIXES[chosen[0]["type"]], str(chosen[0]["value"])
    return value if value.startswith(("urn:", "http")) else prefix + value


class Authorities:
    """The names of each tenant, kept until a NamingSystem changes."""

    types = frozenset({"NamingSystem"})

    def __init__(self, core: Core) -> None:
        self._core = core
        self._known: dict[str, Mapping[str, str]] = {}

    async def of(self, tenant: str) -> Mapping[str, str]:
        """Return the systems by name."""
        if tenant not in self._known:
            await self.load(tenant)
        return self._known[tenant]

    def known(self, tenant: str) -> Mapping[str, str]:
        """Return what was read of a tenant, nothing where it was not read yet."""
        return self._known.get(tenant, {})

    async def load(self, tenant: str) -> None:
        """Read the names anew."""

        async def work(asking: Asking) -> list[Resource]:
            return await asking.find(QUERY)

        made: dict[str, set[str]] = {}
        for naming in await self._core.ask(tenant, work):
            if system := system_of(naming):
                made.setdefault(naming["name"], set()).add(system)
        self._known[tenant] = {name: systems.pop() for name, systems in made.items() if len(systems) == 1}

    async def changed(self, tenant: str, changes: Sequence[Change]) -> None:
        """Read the names anew after a NamingSystem was written."""
        await self.load(tenant)

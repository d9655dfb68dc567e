"""The engine's own Device: made once, the first time that it writes anything."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

from fhir_server.interface import Writing
from fhir_server.model import Entry
from triage_hooks import alert
from triage_hooks.codes import DEVICE

NAMESPACE: Final = UUID("6d0c2f0e-6f0b-5b0e-9a51-3f5d0a7b1c44")  # of urn:uuid links inside a transaction


class Author:
    """Who writes scores and alerts in one transaction; `entries` makes it where it is not there yet.

    Args:
        writing: The transaction.
        known: Tenant -> reference of the Device as it was found before. A search costs a hundred reads, and has all
            that waits to be written go first; so the one that is known is read.
    """

    def __init__(self, writing: Writing, known: dict[str, str]) -> None:
        self.writing = writing
        self.entries: list[Entry] = []
        self._known = known
        self._reference = ""

    async def reference(self) -> str:
        """Return the reference of the engine's Device; asked of the store once."""
        if not self._reference:
            known = self._known.get(self.writing.tenant, "")
            self._reference = known if known and await self._is_there(known) else await self._found()
        return self._reference

    async def _is_there(self, reference: str) -> bool:
        held = await self.writing.resource(reference) or {}
        return any(
            one.get("system") == DEVICE and one.get("value") == alert.ENGINE for one in held.get("identifier", ())
        )

    async def _found(self) -> str:
        query = f"identifier={DEVICE}%7C{alert.ENGINE}"
        found = await self.writing.find(f"Device?{query}&_count=1&_total=none")
        if found:
            reference = self._known[self.writing.tenant] = f"Device/{found[0]['id']}"
            return reference
        made = link(self.writing, alert.ENGINE)
        self.entries.append(Entry("POST", "Device", alert.engine_device(), made, if_none_exist=query))
        return made


def link(writing: Writing, *what: object) -> str:
    """Return a urn:uuid by which resources of one transaction refer to each other; the same when it runs again."""
    name = "|".join(str(part) for part in (writing.tenant, writing.now, *what))
    return f"urn:uuid:{uuid5(NAMESPACE, name)}"

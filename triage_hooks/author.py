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
    """Who writes scores and alerts in one transaction; `entries` makes it where it is not there yet."""

    def __init__(self, writing: Writing) -> None:
        self.writing = writing
        self.entries: list[Entry] = []
        self._reference = ""

    async def reference(self) -> str:
        """Return the reference of the engine's Device; asked of the store once."""
        if not self._reference:
            query = f"identifier={DEVICE}%7C{alert.ENGINE}"
            found = await self.writing.find(f"Device?{query}&_count=1&_total=none")
            self._reference = f"Device/{found[0]['id']}" if found else link(self.writing, alert.ENGINE)
            if not found:
                made = Entry("POST", "Device", alert.engine_device(), self._reference, if_none_exist=query)
                self.entries.append(made)
        return self._reference


def link(writing: Writing, *what: object) -> str:
    """Return a urn:uuid by which resources of one transaction refer to each other; the same when it runs again."""
    name = "|".join(str(part) for part in (writing.tenant, writing.now, *what))
    return f"urn:uuid:{uuid5(NAMESPACE, name)}"

"""Whether the server is there: what readiness says, and how long who comes waits for one that is lost.

The driver watches the servers beside all requests. Who comes while a replica set elects a primary waits for it; once
none was there for as long as one waits, who comes then is told at once, until one is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from fhir_server.errors import Unavailable
from fhir_server.store.mongo.connection import Database
from fhir_server.store.mongo.lease import waited

LOOK_S: Final = 0.5  # between two looks at what the driver knows
UNREACHABLE: Final = "The store cannot be reached now."


class Presence:
    """What is known of the servers.

    Args:
        database: The collections, and how long their driver waits for a server.
        timer: Returns seconds that only grow.
    """

    def __init__(self, database: Database, timer: Callable[[], float]) -> None:
        self._client, self._wait_s, self._timer = database.client, database.wait_s, timer
        self._lost_at: float | None = None

    @property
    def is_there(self) -> bool:
        """Whether a server is known that takes writes."""
        return self._client.topology_description.has_writable_server()

    def look(self) -> None:
        """Note whether there is one, and since when there is none."""
        if self.is_there:
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = self._timer()

    def check(self) -> None:
        """Raise Unavailable where a server is missing for longer than one waits for it."""
        if self._lost_at is not None and self._timer() - self._lost_at > self._wait_s and not self.is_there:
            raise Unavailable(UNREACHABLE)

    async def run(self, ended: asyncio.Event) -> None:
        """Look from time to time, until the event is set."""
        while not await waited(ended, LOOK_S):
            self.look()

"""Whether a gateway's device is there: what its `status` topic says, and its last will when it is gone."""

from __future__ import annotations

import json
from typing import Any, Final

from adapters.devices.topic import Topic
from fhir_server import gate
from fhir_server.errors import Malformed
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Record

KIND: Final = "device-presence"
ONLINE: Final = "online"
OFFLINE: Final = "offline"
CLEARED: Final = "cleared"  # an empty retained message: nothing is said any more
_LONGEST: Final = 4_096  # bytes of a status


def read_state(payload: bytes) -> str | None:
    """Return what a status says: the word, or {"status": the word}; None where it says neither."""
    if not payload:
        return CLEARED
    if len(payload) > _LONGEST:
        return None
    word: Any = payload.decode("utf-8", "replace").strip()
    if word.startswith(("{", '"')):
        try:
            value = gate.parse(payload)
        except Malformed:
            return None
        word = value.get("status") if isinstance(value, dict) else value
    word = word.lower() if isinstance(word, str) else ""
    return word if word in (ONLINE, OFFLINE) else None


async def note(core: Core, topic: Topic, state: str) -> bool:
    """Keep what a status says; return whether that is news. A retained one comes again at each start."""

    async def work(writing: Writing) -> bool:
        before = await writing.record(KIND, topic.lane)
        if before is not None and before.state == state:
            return False
        body = {"gateway": topic.gateway, "device": topic.device, "since": writing.now}
        await writing.put_record(KIND, topic.lane, state, json.dumps(body).encode(), lane=topic.gateway)
        return True

    is_news: bool = await core.transact(topic.tenant, work)
    return is_news


async def absent(asking: Asking, *, after: int = 0, limit: int = 100) -> list[Record]:
    """Return rows of what is offline now, oldest first."""
    return await asking.records(KIND, state=OFFLINE, after=after, limit=limit)

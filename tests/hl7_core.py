"""HL7 v2 messages applied one after the other, on the real core over a store in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from adapters.hl7.arrival import read
from adapters.hl7.effect import Effect, take_effect
from adapters.hl7.inbox import Inbox
from fhir_server.app import opened
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Resource
from fhir_server.settings import Settings
from tests.hl7_messages import CHANNEL, header, message, pid, pv1, segment

AUTHORITY = "CHU&1.2.250.1.999.1&ISO"
SYSTEM = "urn:oid:1.2.250.1.999.1"


@asynccontextmanager
async def hub() -> AsyncIterator[Core]:
    """Open a core over an empty store in memory."""
    async with AsyncExitStack() as stack:
        composed = await stack.enter_async_context(opened(Settings(store="memory:", rooms=())))
        yield cast(Core, composed.hub)


async def take(core: Core, *texts: str) -> list[Effect]:
    """Apply messages in this order, each in a transaction of its own; raise what refuses one."""
    made = []
    for text in texts:
        arrival = read(CHANNEL, text.encode())
        assert arrival.fault is None, arrival.fault

        async def work(writing: Writing, arrival: Any = arrival) -> Effect:
            return await take_effect(core, writing, arrival)

        made.append(await core.transact("default", work))
    return made


async def send(core: Core, *texts: str) -> None:
    """Send messages one after the other, as by MLLP; each is settled before the next."""
    inbox = Inbox(core)
    for text in texts:
        await inbox.receive(CHANNEL, text.encode())
        await inbox.drained()


async def find(core: Core, query: str) -> list[Resource]:
    """Return what a search finds, whoever asks."""

    async def work(asking: Asking) -> list[Resource]:
        return await asking.find(query)

    found: list[Resource] = await core.ask("default", work)
    return found


async def one(core: Core, query: str) -> Resource:
    """Return the only one that a search finds."""
    (found,) = await find(core, query)
    return found


def number(value: str) -> str:
    """Return a PID-3 with its authority."""
    return f"{value}^^^{AUTHORITY}^PI"


def at(minute: int) -> str:
    """Return a time of one day, so many minutes after eight."""
    return f"20261120{8 + minute // 60:02}{minute % 60:02}00"


def event(trigger: str, minute: int, *segments: str, person: str = "A", stay: str = "", **more: str) -> str:
    """Return an ADT message about a patient of this number, recorded at this minute; `more` goes to PID."""
    when = at(minute)
    parts = [header(f"ADT^{trigger}", f"C{trigger}{minute}", when), f"EVN||{when}", pid(number(person), **more)]
    return message(*parts, *([stay] if stay else []), *segments)


def merge(minute: int, kept: str, ended: str, trigger: str = "A40") -> str:
    """Return a merge, or a change of number, of one patient into another."""
    return event(trigger, minute, f"MRG|{number(ended)}", person=kept)


__all__ = ["at", "event", "find", "hub", "merge", "number", "one", "pv1", "segment", "send", "take"]

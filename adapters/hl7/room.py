"""Composition of the HL7 v2 room: the ways in, the inbox, the commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from adapters.hl7 import clocks, continuation, grammar, sequence
from adapters.hl7.acquaintance import Acquaintances
from adapters.hl7.authorities import Authorities
from adapters.hl7.channels import Channel
from adapters.hl7.commands import COMMANDS
from adapters.hl7.disk import Disk
from adapters.hl7.feed import make_router
from adapters.hl7.hold import HOLD, names
from adapters.hl7.inbox import KIND, Inbox, holds
from adapters.hl7.local import Locals
from adapters.hl7.log.collector import Collector
from adapters.hl7.log.pages import Pages
from adapters.hl7.log.replaying import Runs
from adapters.hl7.log.router import add_routes
from adapters.hl7.planned import CLOCK
from adapters.hl7.reception import holds as holds_part
from adapters.hl7.stays import MOVEMENTS
from adapters.hl7.ways import Channels, Ways
from fhir_server.interface import Core, Eraser, Room, Task
from fhir_server.interface import Listener as ChangeListener

__all__ = ["COMMANDS", "open"]

USUAL_VERSIONS = ("2.5", "2.5.1")
"""Versions whose tables are read at the start; the others when the first message of theirs comes."""


ERASERS: Final = (
    Eraser(KIND, holds),
    Eraser(HOLD, names),
    Eraser(continuation.KIND, holds_part),
    Eraser(CLOCK, clocks.holds),
    Eraser(MOVEMENTS, clocks.holds),
)


def open(core: Core, settings: Any) -> Room:
    """Return the room; of the settings it uses `hl7_*`, `mllp*`, `max_message`, `max_body`, `store` and `zone`."""
    return _Parts(core, settings).room()


class _Parts:
    """What the room is made of."""

    def __init__(self, core: Core, settings: Any) -> None:
        self.core, self.zone = core, ZoneInfo(settings.zone)
        self.authorities, self.locals, self.known = Authorities(core), Locals(core), Acquaintances()
        self.channels = Channels(core, settings, self.authorities, self.locals)
        self.inbox = Inbox(
            core,
            channels=self.channels.named,
            most=settings.hl7_waiting,
            retry_s=settings.hl7_retry,
            is_low=Disk(settings.store, settings.hl7_disk_low).is_low,
            known=self.known,
            prepare=self.prepare,
        )
        self.inbox.use_hook(sequence.check)
        self.ways = Ways(core, settings, self.channels, self.inbox)
        self.collector = Collector(core, self.zone, self.locals)
        self.runs = Runs(core, self.channels_of)
        self.router = make_router(core, self.ways, max_message=settings.max_message)
        add_routes(self.router, Pages(core, self.channels_of, self.zone), self.runs)

    async def prepare(self, tenant: str) -> None:
        """Have what a tenant's resources say of its senders."""
        await self.authorities.of(tenant)
        await self.locals.of(tenant)

    async def channels_of(self, tenant: str) -> Callable[[str], Channel]:
        """Return what gives a tenant's channels by their names."""
        await self.prepare(tenant)
        return partial(self.channels.named, tenant)

    async def start(self) -> None:
        """Read what messages need, find what waits, then let messages in."""
        grammar.preload(*USUAL_VERSIONS)
        await self.channels.load()
        await self.inbox.start()
        await self.ways.start()

    def metrics(self) -> Mapping[str, float]:
        """Return what is counted."""
        return {**self.inbox.metrics(), **self.collector.metrics(), **self.ways.metrics()}

    def room(self) -> Room:
        """Return the room."""
        told = (self.authorities, self.locals, self.known)
        tasks = (Task("hl7-inbox", self.inbox.watch), Task("hl7-collector", self.collector.run))
        return Room(
            "hl7",
            router=self.router,
            listeners=tuple(ChangeListener(one.types, one.changed) for one in told),
            tasks=(*tasks, *self.ways.tasks),
            starts=(self.start,),
            stops=(self.runs.stop, self.inbox.let_in, self.ways.stop, self.inbox.stop),
            settled=self.inbox.settled,
            metrics=self.metrics,
            templates=Path(__file__).parent / "log" / "templates",
            menu=(("/admin/messages", "Messages", "Messages"),),
            erasers=ERASERS,
        )

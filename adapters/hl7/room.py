"""Composition of the HL7 v2 room: the ways in, the inbox, the commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
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


def open(core: Core, settings: Any) -> Room:
    """Return the room; of the settings it uses `hl7_*`, `mllp*`, `max_message`, `max_body`, `store` and `zone`."""
    authorities, locals_ = Authorities(core), Locals(core)
    channels = Channels(core, settings, authorities, locals_)
    disk, known = Disk(settings.store, settings.hl7_disk_low), Acquaintances()

    async def prepare(tenant: str) -> None:
        await authorities.of(tenant)
        await locals_.of(tenant)

    inbox = Inbox(
        core,
        channels=channels.named,
        most=settings.hl7_waiting,
        retry_s=settings.hl7_retry,
        is_low=disk.is_low,
        known=known,
        prepare=prepare,
    )
    inbox.use_hook(sequence.check)
    ways = Ways(core, settings, channels, inbox)
    zone = ZoneInfo(settings.zone)
    collector = Collector(core, zone, locals_)

    async def channels_of(tenant: str) -> Callable[[str], Channel]:
        await prepare(tenant)
        return partial(channels.named, tenant)

    runs = Runs(core, channels_of)
    router = make_router(core, ways, max_message=settings.max_message)
    add_routes(router, Pages(core, channels_of, zone), runs)

    async def start() -> None:
        grammar.preload(*USUAL_VERSIONS)
        await channels.load()
        await inbox.start()
        await ways.start()

    def metrics() -> Mapping[str, float]:
        return {**inbox.metrics(), **collector.metrics(), **ways.metrics()}

    return Room(
        "hl7",
        router=router,
        listeners=(
            ChangeListener(authorities.types, authorities.changed),
            ChangeListener(locals_.types, locals_.changed),
            ChangeListener(known.types, known.changed),
        ),
        tasks=(Task("hl7-inbox", inbox.watch), Task("hl7-collector", collector.run), *ways.tasks),
        starts=(start,),
        stops=(runs.stop, inbox.let_in, ways.stop, inbox.stop),
        settled=inbox.settled,
        metrics=metrics,
        templates=Path(__file__).parent / "log" / "templates",
        menu=(("/admin/messages", "Messages", "Messages"),),
        erasers=(
            Eraser(KIND, holds),
            Eraser(HOLD, names),
            Eraser(continuation.KIND, holds_part),
            Eraser(CLOCK, clocks.holds),
            Eraser(MOVEMENTS, clocks.holds),
        ),
    )

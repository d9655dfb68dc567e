"""Composition of the device room: its feeds, what is tried again, what is waited for, and what was kept aside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from adapters.devices import ownership, quarantine, register
from adapters.devices.feed import make_router
from adapters.devices.intake import ROOM, Intake
from adapters.devices.pages import PATH, QuarantinePages
from adapters.devices.release import TYPES as RELEASING
from adapters.devices.release import Release
from adapters.devices.transport import open_mqtt, open_webhooks
from adapters.devices.watch import TYPES as WATCHED
from adapters.devices.watch import WATCH, Watch, watches
from fhir_server.interface import Core, Enricher, Eraser, Listener, Room, Task


def open(core: Core, settings: Any) -> Room:
    """Return the room; of the settings it uses `zone`, `device_watch`, `mqtt`, `mqtt_*` and `webhooks`."""
    zone = ZoneInfo(settings.zone)
    intake = Intake(core, zone)
    release = Release(core, intake, ROOM)
    watch = Watch(core, zone, ROOM, settings.device_watch)
    ways = (open_mqtt(core, intake, settings), open_webhooks(core, intake, settings))

    def metrics() -> Mapping[str, float]:
        readings = {
            f'predmp_device_readings_total{{status="{status}",reason="{why}"}}': float(count)
            for (status, why), count in sorted(intake.counts.items())
        }
        return {**readings, **{name: value for way in ways for name, value in way.metrics().items()}}

    router = make_router(core, intake)
    router.include_router(QuarantinePages(core, release).router())
    for part in (part for way in ways for part in way.routers):
        router.include_router(part)
    return Room(
        "devices",
        router=router,
        metrics=metrics,
        enrichers=(Enricher(RELEASING, release.enrich), Enricher(WATCHED, watch.enrich)),
        listeners=(Listener(RELEASING, release.listen),),
        tasks=(
            *(task for way in ways for task in way.tasks),
            Task("devices-release", release.run),
            Task("devices-watch", watch.run),
        ),
        starts=tuple(start for way in ways for start in way.starts),
        erasers=(
            Eraser(register.KIND, register.tells_of),
            Eraser(quarantine.KIND, quarantine.names),
            Eraser(WATCH, watches),
            Eraser(ownership.KIND, ownership.names),
            *(eraser for way in ways for eraser in way.erasers),
        ),
        templates=Path(__file__).parent / "templates",
        menu=((PATH, "Mesures de côté", "Readings aside"),),
    )

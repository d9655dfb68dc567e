"""Composition of the device room: `POST /devices`, and for the operator what was kept aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from adapters.devices.feed import make_router
from adapters.devices.intake import Intake
from adapters.devices.transport import open_mqtt
from fhir_server.interface import Core, Room


def open(core: Core, settings: Any) -> Room:
    """Return the room; of the settings it uses `zone`, `mqtt` and `mqtt_*`."""
    intake = Intake(core, ZoneInfo(settings.zone))

    mqtt = open_mqtt(core, intake, settings)

    def metrics() -> Mapping[str, float]:
        readings = {
            f'predmp_device_readings_total{{status="{status}",reason="{why}"}}': float(count)
            for (status, why), count in sorted(intake.counts.items())
        }
        return {**readings, **mqtt.metrics()}

    return Room("devices", router=make_router(core, intake), metrics=metrics, tasks=mqtt.tasks, starts=mqtt.starts)

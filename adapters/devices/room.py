"""Composition of the device room: `POST /devices`, and for the operator what was kept aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from adapters.devices.feed import make_router
from adapters.devices.intake import Intake
from fhir_server.interface import Core, Room


def open(core: Core, settings: Any) -> Room:
    """Return the room; of the settings it uses `zone`."""
    intake = Intake(core, ZoneInfo(settings.zone))

    def metrics() -> Mapping[str, float]:
        return {
            f'predmp_device_readings_total{{status="{status}",reason="{why}"}}': float(count)
            for (status, why), count in sorted(intake.counts.items())
        }

    return Room("devices", router=make_router(core, intake), metrics=metrics)

"""The room's door: who may see which record, and the pages where patients decide it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from consent.checks import Writes
from consent.command import CONSENT
from consent.guard import ConsentGuard
from consent.pages import PATH, ConsentPages
from fhir_server.interface import Command, Core, Room

COMMANDS: Final[tuple[Command, ...]] = (CONSENT,)


def open(core: Core, settings: Any) -> Room:
    """Return what this room hands in; `settings.zone` is the zone in which a bare date is a day."""
    guard = ConsentGuard(ZoneInfo(settings.zone), core.base_url)
    return Room(
        name="consent",
        router=ConsentPages(core, guard).router(),
        guards=(guard,),
        checks=Writes(guard, core.now).checks(),
        templates=Path(__file__).parent / "templates",
        menu=((PATH, "Consentement", "Consent"),),
    )

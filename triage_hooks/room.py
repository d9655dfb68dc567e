"""The room's door: rules on incoming measurements, alerts, CDS Hooks, the worklist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter

from fhir_server.interface import Command, Core, Enricher, Eraser, Listener, Room, Writing
from fhir_server.model import Change
from triage_hooks import chart, state
from triage_hooks.alert import FAMILIES
from triage_hooks.calm import calm
from triage_hooks.codes import FAMILY, codes_of
from triage_hooks.command import TRIAGE
from triage_hooks.enricher import RULES, Triage
from triage_hooks.hooks import Hooks
from triage_hooks.pages import PATH, Worklist

COMMANDS: Final[tuple[Command, ...]] = (TRIAGE,)


class Counts:
    """How many alerts were opened since the start, by family; told after each commit."""

    def __init__(self) -> None:
        self._opened: dict[str, int] = {}

    async def listen(self, tenant: str, changes: Sequence[Change]) -> None:
        """Count alerts that are new."""
        for change in changes:
            if change.before is None and not change.version.is_deleted:
                for family in FAMILIES.keys() & codes_of(change.resource.get("code"), FAMILY):
                    self._opened[family] = self._opened.get(family, 0) + 1

    def metrics(self) -> Mapping[str, float]:
        """Return the counts by metric name."""
        return {f'triage_alerts_opened_total{{family="{name}"}}': count for name, count in self._opened.items()}


class Merges:
    """Removes the charts of Patients that become one, or two again: their measurements change hands without triage.

    Told after each commit. The next measurement makes the chart anew, of all that is then the Patient's.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    async def listen(self, tenant: str, changes: Sequence[Change]) -> None:
        """Look for Patients whose links to others changed."""
        moved = [
            change.version.id
            for change in changes
            if change.before is not None and change.before.get("link") != change.resource.get("link")
        ]
        if not moved:
            return

        async def drop(writing: Writing) -> None:
            for patient in moved:
                await writing.drop_record(chart.KIND, patient)

        await self._core.transact(tenant, drop)


def open(core: Core, settings: Any) -> Room:
    """Return what this room hands in; `settings.zone` is the zone of dates that have none."""
    zone, counts = ZoneInfo(settings.zone), Counts()
    triage = Triage(core.base_url, zone)
    router = APIRouter()
    router.include_router(Hooks(core, zone).router())
    router.include_router(Worklist(core, zone).router())
    return Room(
        name="triage_hooks",
        router=router,
        checks=(state.CHECK,),
        enrichers=(Enricher(triage.types, triage.run),),
        calm=calm(RULES),
        listeners=(
            Listener(frozenset({"Task"}), counts.listen),
            Listener(frozenset({"Patient"}), Merges(core).listen),
        ),
        templates=Path(__file__).parent / "templates",
        menu=((PATH, "Liste de travail", "Worklist"),),
        metrics=counts.metrics,
        erasers=(Eraser(chart.KIND, chart.is_of),),
    )

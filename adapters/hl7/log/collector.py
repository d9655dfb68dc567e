"""The task that keeps accounts and feeds up to date, and the numbers that metrics show of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo

from adapters.hl7.local import Locals
from adapters.hl7.log import coverage, silence
from adapters.hl7.log.silence import Feed
from fhir_server.errors import Unavailable
from fhir_server.interface import Asking, Core

EVERY_S: Final = 5.0
BREATH_S: Final = 0.02  # between two steps while there is much to count: what serves comes first


class Collector:
    """Counts what came, a step at a time."""

    def __init__(self, core: Core, zone: ZoneInfo, locals_: Locals) -> None:
        self._core, self._zone, self._locals = core, zone, locals_
        self.drift: Counter[str] = Counter()  # rule -> problems since the start of this process
        self.unmapped = 0  # codes without a map since then
        self.silent: dict[str, int] = {}  # tenant -> feeds that are silent now

    async def run(self) -> None:
        """Count for as long as the hub runs."""
        while True:
            for tenant in self._core.tenants():
                try:
                    await self._locals.refresh(tenant)
                    await self.step(tenant)
                except Unavailable:
                    continue  # the store is away; the next round counts the same messages
            await asyncio.sleep(EVERY_S)

    async def step(self, tenant: str) -> None:
        """Count what came since the last time."""
        while added := await coverage.collect(self._core, tenant, self._zone):
            for entry in added:
                rules = [issue["rule"] for issue in entry.body.get("issues", ())]
                self.drift.update(rule for rule in rules if rule.startswith("profile-"))
                self.unmapped += sum(row[3] for row in entry.body.get("unmapped", ()))
            await asyncio.sleep(BREATH_S)
        self.silent[tenant] = len(await silent(self._core, tenant, self._zone))

    def metrics(self) -> Mapping[str, float]:
        """Return counters; no sender and no code is a label."""
        made = {f'predmp_hl7_drift_total{{rule="{rule}"}}': float(n) for rule, n in sorted(self.drift.items())}
        return {
            **made,
            "predmp_hl7_codes_without_map_total": float(self.unmapped),
            "predmp_hl7_silent_feeds": float(sum(self.silent.values())),
        }


async def silent(core: Core, tenant: str, zone: ZoneInfo) -> list[Feed]:
    """Return the feeds that are silent for longer than they ever were at this time of the week."""

    async def work(asking: Asking) -> list[Feed]:
        return await silence.feeds(asking)

    now = core.now() / 1_000_000
    return [feed for feed in await core.ask(tenant, work) if feed.is_silent(now, zone)]

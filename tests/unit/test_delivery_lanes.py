"""An event that comes while its subscription's lane is just ending is not left for the next look at the outbox."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fhir_server.app import opened
from fhir_server.settings import Settings
from fhir_server.subscriptions.delivery import Delivery
from fhir_server.subscriptions.outbound import Outbound


class Due:
    """An outbox in which one lane always has an event."""

    async def due(self, tenant: str) -> list[str]:
        return ["lane"]


@pytest.mark.parametrize(
    ("looks", "is_woken"),
    [
        pytest.param(1, False, id="a lane that nobody asked for since it began wakes nobody"),
        pytest.param(2, True, id="a lane that was due again while it ran has the outbox looked at once more"),
    ],
)
async def test_a_lane_that_ends(looks: int, is_woken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, ran = asyncio.Event(), list[str]()

    async def drain(tenant: str, lane: str) -> None:
        ran.append(lane)
        await gate.wait()

    async with opened(Settings(store="memory:")) as composed:
        outbound = Outbound(())
        delivery: Any = Delivery(composed.hub, outbound, lambda: 0)
        monkeypatch.setattr(delivery, "_due", Due())
        monkeypatch.setattr(delivery, "_drain", drain)
        for _ in range(looks):
            await delivery._start_lanes("default")
        assert not delivery._wake.is_set()
        gate.set()
        await asyncio.gather(*delivery._lanes.values())
        await asyncio.sleep(0)
        assert (ran, delivery._wake.is_set()) == (["lane"], is_woken)
        await outbound.close()

"""No event is left for the next look at the outbox: not one that comes while its lane ends, nor while others commit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fhir_server.app import opened
from fhir_server.interface import Writing
from fhir_server.model import Change, Entry, Version
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


async def test_an_event_is_news_when_its_own_transaction_is_committed() -> None:
    watch = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "test",
        "criteria": "Basic?code=urn:c|x",
        "channel": {"type": "rest-hook", "endpoint": "http://127.0.0.1:9/hook", "payload": "application/fhir+json"},
    }
    basic = {"resourceType": "Basic", "code": {"coding": [{"system": "urn:c", "code": "x"}]}}
    async with opened(Settings(store="memory:", rooms=(), outbound_allow=("127.0.0.0/8",))) as composed:
        hub = composed.hub
        delivery: Any = next(task.run for room in composed.rooms for task in room.tasks if task.name == "subscriptions")
        wake: asyncio.Event = delivery.__self__._wake
        actor = hub.internal("default", "tester")
        await hub.submit([Entry("POST", "Subscription", watch)], actor=actor)
        before = Change(Version("Basic", "calm", 1, 0, "POST", b"{}"), {"resourceType": "Basic"}, None)
        wake.clear()

        async def work(writing: Writing) -> None:
            await writing.submit([Entry("POST", "Basic", basic)], actor=actor, interaction="create")
            await hub.tell("default", [before])  # one that was committed before is told of meanwhile
            assert not wake.is_set(), "who looks now does not find the event"

        await hub.transact("default", work)
        assert wake.is_set(), "the event can be found now"
        wake.clear()
        await hub.tell("default", [before])
        assert not wake.is_set(), "nothing new was put into the outbox"

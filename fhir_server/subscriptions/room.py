"""Subscriptions as a part of the core that hands in what a room does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import system_clock
from fhir_server.interface import Check, Eraser, Listener, Room, Task
from fhir_server.model import Actor, Change
from fhir_server.settings import Settings
from fhir_server.store.protocol import Transaction
from fhir_server.subscriptions.delivery import Delivery
from fhir_server.subscriptions.matching import EVENT, Matching, tells_of
from fhir_server.subscriptions.outbound import Outbound

Matcher = Callable[[Transaction, Sequence[Change], Actor], Awaitable[None]]


def open(hub: Hub, settings: Settings) -> tuple[Room, Matcher]:
    """Return what subscriptions hand in, and what matches changes inside their transaction."""
    outbound = Outbound(settings.outbound_allow)
    hub.call_out = outbound.call
    matching = Matching(hub, outbound.check)
    delivery = Delivery(hub, outbound, system_clock)

    async def told(tenant: str, changes: Sequence[Change]) -> None:
        if matching.has_news(tenant, changes):
            delivery.wake()

    def numbers() -> dict[str, float]:
        return {
            'hub_subscription_events_total{outcome="delivered"}': delivery.delivered,
            'hub_subscription_events_total{outcome="failed"}': delivery.failed,
            'hub_subscription_events_total{outcome="withheld"}': delivery.withheld,
        }

    only = frozenset({"Subscription"})
    room = Room(
        "subscriptions",
        checks=(Check(only, matching.check),),
        listeners=(Listener(hub.types, told),),
        tasks=(Task("subscriptions", delivery.run),),
        stops=(outbound.close,),
        erasers=(Eraser(EVENT, tells_of),),
        metrics=numbers,
    )
    return room, matching.match

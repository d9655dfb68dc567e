"""Composition of the ways that device feeds come in beside HTTP: MQTT, and vendors' webhooks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter

from adapters.devices import account, oversight, presence, webhook
from adapters.devices.broker import broker_of
from adapters.devices.intake import Intake
from adapters.devices.publication import Publications
from adapters.devices.pull import Puller
from adapters.devices.topic import EVT, OBS, STATUS, WAVE
from adapters.devices.vendor import Vendor, read_vendors
from adapters.devices.webhook import Webhooks
from fhir_server.errors import Unavailable
from fhir_server.interface import Core, Eraser, Task

EVENTS: Final = "events"


@dataclass(frozen=True, slots=True)
class Transports:
    """What the ways in hand in."""

    tasks: tuple[Task, ...] = ()
    routers: tuple[APIRouter, ...] = ()
    erasers: tuple[Eraser, ...] = ()
    starts: tuple[Callable[[], Awaitable[None]], ...] = ()
    metrics: Callable[[], Mapping[str, float]] = dict


def open_mqtt(core: Core, intake: Intake, settings: Any) -> Transports:
    """Return what MQTT hands in: nothing where no broker is set.

    Falls, alarms and whether a device is there come by a session of their own: they never wait behind readings.

    Raises:
        Unavailable: The library is not installed.
    """
    if not settings.mqtt:
        return Transports()
    try:
        from adapters.devices.mqtt import Session
    except ModuleNotFoundError:
        raise Unavailable("MQTT needs the extra mqtt: pip install 'predmp[mqtt]'.") from None
    broker, publications = broker_of(settings), Publications(core, intake)
    # A shared subscription gets no retained messages, and those are how a status is told: each hub gets it.
    share = f"$share/{settings.mqtt_share}/" if settings.mqtt_share else ""
    sessions = (
        Session(broker, EVENTS, (f"{share}dev/+/+/+/{EVT}", f"dev/+/+/+/{STATUS}"), publications.take),
        Session(broker, "", tuple(f"{share}dev/+/+/+/{kind}" for kind in (OBS, WAVE)), publications.take),
    )

    async def start() -> None:
        broker.check()

    def metrics() -> Mapping[str, float]:
        made = {
            f'predmp_mqtt_publications_total{{kind="{kind}",outcome="{outcome}"}}': float(count)
            for (kind, outcome), count in sorted(publications.counts.items())
        }
        for session in sessions:
            label = f'session="{session.label}"'
            made[f"predmp_mqtt_connected{{{label}}}"] = float(session.is_connected)
            made[f"predmp_mqtt_under_way{{{label}}}"] = float(session.under_way)
            for event, count in sorted(session.counts.items()):
                made[f'predmp_mqtt_events_total{{{label},event="{event}"}}'] = float(count)
        return made

    tasks = tuple(Task(f"mqtt-{session.label}", session.run) for session in sessions)
    return Transports(tasks, erasers=(Eraser(presence.KIND, presence.holds),), starts=(start,), metrics=metrics)


def open_webhooks(core: Core, intake: Intake, settings: Any) -> Transports:
    """Return what webhooks hand in: their routes are there without a vendor too, and answer 404."""
    vendors: dict[str, Vendor] = {}
    puller = Puller(core, intake, vendors)
    webhooks = Webhooks(core, vendors, puller.wake)

    async def start() -> None:
        vendors.update(read_vendors(settings.webhooks))

    def metrics() -> Mapping[str, float]:
        made = {
            f'predmp_webhook_notifications_total{{vendor="{vendor}",outcome="{outcome}"}}': float(count)
            for (vendor, outcome), count in sorted(webhooks.counts.items())
        }
        made |= {
            f'predmp_webhook_pulls_total{{vendor="{vendor}",outcome="{outcome}"}}': float(count)
            for (vendor, outcome), count in sorted(puller.counts.items())
        }
        return made | ({"predmp_webhook_pending": float(puller.pending)} if vendors else {})

    return Transports(
        (Task("device-webhooks", puller.run),),
        (webhook.make_router(core, webhooks), oversight.make_router(core, webhooks)),
        (Eraser(webhook.KIND, webhook.holds), Eraser(account.KIND, account.holds)),
        (start,),
        metrics,
    )

"""Composition of the HL7 v2 room: the MLLP listener, `POST /hl7v2`, the commands."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from adapters.hl7 import grammar
from adapters.hl7.arrival import Channel
from adapters.hl7.authorities import Authorities
from adapters.hl7.commands import COMMANDS
from adapters.hl7.connection import Limits
from adapters.hl7.faults import Fault
from adapters.hl7.feed import make_router
from adapters.hl7.inbox import KIND, Answer, Inbox, holds
from adapters.hl7.local import Locals
from adapters.hl7.log.collector import Collector
from adapters.hl7.mllp import Listener
from fhir_server.errors import Unavailable
from fhir_server.interface import Core, Eraser, Room, Task
from fhir_server.interface import Listener as ChangeListener

__all__ = ["COMMANDS", "open"]

USUAL_VERSIONS = ("2.5", "2.5.1")
"""Versions whose tables are read at the start; the others when the first message of theirs comes."""


def tls_context(cert: str, key: str, client_ca: str) -> ssl.SSLContext | None:
    """Return what the listener's TLS needs: TLS 1.2 or newer, clients' certificates where a CA is given.

    Args:
        cert: PEM file of the certificate; "" for plain TCP.
        key: PEM file of its key; "" where the key is in the same file.
        client_ca: PEM file of who signs the clients' certificates; then each client must have one.

    Raises:
        Unavailable: A file cannot be used.
    """
    if not cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key or None)
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"MLLP: the certificates cannot be used: {type(error).__name__}") from None
    return context


def open(core: Core, settings: Any) -> Room:
    """Return the room; of the settings it uses `mllp`, `mllp_tls_*`, `max_message` and `zone`."""
    zone, tenant = ZoneInfo(settings.zone), core.tenants()[0]
    authorities, locals_, inbox = Authorities(core), Locals(core), Inbox(core)

    collector = Collector(core, zone, locals_)

    def take(raw: bytes, fault: Fault | None) -> Awaitable[Answer]:
        channel = Channel("mllp", tenant, zone, authorities.known(tenant), local=locals_.known(tenant))
        return inbox.receive(channel, raw, cut=fault)

    def tls() -> ssl.SSLContext | None:
        return tls_context(settings.mllp_tls_cert, settings.mllp_tls_key, settings.mllp_tls_client_ca)

    listener = Listener(settings.mllp, lambda peer: take, Limits(max_message=settings.max_message), tls)

    async def start() -> None:
        grammar.preload(*USUAL_VERSIONS)
        await authorities.load(tenant)
        await locals_.load(tenant)
        await listener.start()

    def metrics() -> Mapping[str, float]:
        made = {
            f'predmp_hl7_messages_total{{answer="{code}",state="{state}"}}': float(count)
            for (code, state), count in sorted(inbox.counts.items())
        }
        made |= {
            f'predmp_mllp_connections_total{{event="{name}"}}': float(count)
            for name, count in sorted(listener.counts.items())
        }
        return {
            **made,
            **collector.metrics(),
            "predmp_mllp_connections": float(listener.connections),
            "predmp_hl7_lanes": float(len(inbox.lanes)),
        }

    return Room(
        "hl7",
        router=make_router(core, inbox, authorities, locals_, zone=zone, max_message=settings.max_message),
        listeners=(
            ChangeListener(authorities.types, authorities.changed),
            ChangeListener(locals_.types, locals_.changed),
        ),
        tasks=(Task("hl7-collector", collector.run),),
        starts=(start,),
        stops=(listener.stop,),
        metrics=metrics,
        erasers=(Eraser(KIND, holds),),
    )

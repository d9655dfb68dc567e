"""The ways in: MLLP listeners, the watched folder, and what the HTTP route asks; each with its channels."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from adapters.hl7.authorities import Authorities
from adapters.hl7.channels import Channel, Peer, Row, Table, read_table
from adapters.hl7.connection import Limits, Take
from adapters.hl7.faults import Fault
from adapters.hl7.folder import Folder
from adapters.hl7.framing import TOO_LONG, head_of
from adapters.hl7.local import Locals
from adapters.hl7.mllp import Listener
from adapters.hl7.reception import STRANGER, Receiving, Reception, Settled
from adapters.hl7.tls import Certificates
from fhir_server.errors import FhirError, Forbidden
from fhir_server.interface import Core, Task

MLLP, HTTP, FOLDER = "mllp", "http", "folder"
LOOK_S = 60.0  # seconds between two looks at the certificates' files
SWEEP_S = 3_600.0  # seconds between two looks for parts whose rest did not come

log = logging.getLogger("predmp.hl7")


class Channels:
    """The channels as messages are read by them: with what the tenant's resources say of its senders."""

    def __init__(self, core: Core, settings: Any, authorities: Authorities, locals_: Locals) -> None:
        usual = Channel(MLLP, core.tenants()[0], ZoneInfo(settings.zone), {}, ack_when=settings.hl7_ack_when)
        self.table: Table = read_table(settings.hl7_channels, usual)
        self._authorities, self._locals = authorities, locals_
        self._made: dict[tuple[str, str, str], tuple[Channel, Channel]] = {}

    def complete(self, channel: Channel) -> Channel:
        """Return a channel with its authorities and local codes."""
        authorities, local = self._authorities.known(channel.tenant), self._locals.known(channel.tenant)
        place = (channel.name, channel.tenant, channel.charset)
        known = self._made.get(place)
        if known is not None and known[0] is channel:
            made = known[1]
            if made.authorities is authorities and made.local is local:
                return made
        made = replace(channel, authorities=authorities, local=local)
        self._made[place] = (channel, made)
        return made

    def named(self, tenant: str, name: str) -> Channel:
        """Return the channel of a name: the one of a stored message."""
        channel = self.table.named(name)
        return self.complete(channel if channel.tenant == tenant else replace(channel, tenant=tenant))

    async def load(self) -> None:
        """Read what the resources of all tenants say."""
        for tenant in self.table.tenants:
            await self._authorities.load(tenant)
            await self._locals.load(tenant)

    def of_connection(self, way: str, bind: str, peer: Peer) -> Callable[[bytes], Channel | None] | None:
        """Return what gives the channel of a message; None where the connection is refused."""
        rows = self.table.rows(bind, peer)
        if rows is None:
            return None
        if not any(row.senders for row in rows):
            usual = self.table.choose(rows, way, b"")
            return lambda raw: usual
        return lambda raw: self._of_sender(rows, way, raw)

    def _of_sender(self, rows: tuple[Row, ...], way: str, raw: bytes) -> Channel | None:
        return self.table.choose(rows, way, raw)

    async def of_request(self, tenant: str, address: str, charset: str, raw: bytes) -> Channel | None:
        """Return the channel of a message that came over HTTP for a tenant; None where none is for its sender.

        Raises:
            Forbidden: No channel is for the address.
        """
        choose = self.of_connection(HTTP, "", Peer(address))
        if choose is None:
            raise Forbidden("No channel takes messages from this address.")
        found = choose(raw)
        await self._authorities.of(tenant)
        await self._locals.of(tenant)
        return None if found is None else self.complete(replace(found, tenant=tenant, charset=charset or found.charset))

    def stranger(self, way: str) -> Channel:
        """Return the channel that keeps what no channel takes."""
        return self.complete(self.table.named(way))


class Ways:
    """All ways in but HTTP's route.

    Args:
        core: The door.
        settings: Uses `mllp*`, `hl7_*`, `max_message`, `max_body`.
        channels: Says how messages are read.
        inbox: Takes single messages.
    """

    def __init__(self, core: Core, settings: Any, channels: Channels, inbox: Receiving) -> None:
        self._core, self.channels = core, channels
        self.reception = Reception(core, inbox, max_message=settings.max_message)
        limits = Limits(
            max_message=settings.max_message,
            stall_s=float(settings.mllp_stall),
            connections=settings.mllp_connections,
            per_peer=settings.mllp_peer_connections,
        )
        self._files = Certificates(settings.mllp_tls_cert, settings.mllp_tls_key, settings.mllp_tls_client_ca)
        self._state = self._files.state()
        self._ends: Mapping[str, float] = {}
        allowed = tuple(map(ipaddress.ip_network, settings.mllp_allow))
        self._max_message = settings.max_message
        self.listeners = [
            Listener(
                bind or settings.mllp,
                self._admission(bind),
                replace(limits, max_message=channels.table.longest(bind, settings.max_message)),
                self._files.context if channels.table.has_tls(bind) else Certificates().context,
                allowed=allowed,
            )
            for bind in ("", *channels.table.binds)
        ]
        self.folder: Folder | None = None
        if settings.hl7_folder:
            self.folder = Folder(Path(settings.hl7_folder), self._take_file, max_file=settings.max_body)

    def _admission(self, bind: str) -> Callable[[Peer], Take | None]:
        def admit(peer: Peer) -> Take | None:
            choose = self.channels.of_connection(MLLP, bind, peer)
            if choose is None:
                return None

            def take(raw: bytes, fault: Fault | None) -> Awaitable[Settled]:
                return self.take(MLLP, choose(raw), raw, fault)

            return take

        return admit

    def take(self, way: str, channel: Channel | None, raw: bytes, fault: Fault | None = None) -> Awaitable[Settled]:
        """Take what came by a way for a channel; None: no channel is for its sender."""
        if channel is None:
            return self.reception.take(self.channels.stranger(way), raw, fault or STRANGER)
        limit = channel.max_message or (self._max_message if way == MLLP else 0)  # else it was looked at before
        if fault is None and 0 < limit < len(raw):
            raw, fault = head_of(raw), TOO_LONG
        return self.reception.take(self.channels.complete(channel), raw, fault)

    def _take_file(self, raw: bytes, fault: Fault | None) -> Awaitable[Settled]:
        choose = self.channels.of_connection(FOLDER, "", Peer(""))
        return self.take(FOLDER, choose(raw) if choose else None, raw, fault)

    async def start(self) -> None:
        """Bind the ports; raise Unavailable that names what cannot be had."""
        self._ends = self._files.ends()
        if self.folder is not None:
            self.folder.prepare()
        for listener in self.listeners:
            await listener.start()

    async def stop(self) -> None:
        """Take no more, answer what is under way."""
        await asyncio.gather(*(listener.stop() for listener in self.listeners))

    async def renew(self) -> bool:
        """Read the certificates again where their files changed; whether they did and are good."""
        state = self._files.state()
        if state == self._state:
            return False
        self._state = state
        try:
            self._ends = self._files.ends()
            for listener in self.listeners:
                await listener.reload()
        except FhirError as error:
            log.error("the certificates were not renewed: %s", error.text)
            return False
        log.info("the certificates were renewed")
        return True

    async def _watch_certificates(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self.renew()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            for tenant in self.channels.table.tenants:
                await self.reception.sweep(lambda name, of=tenant: self.channels.named(of, name), tenant)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What runs as long as the hub does."""
        made = [Task("hl7-parts", self._sweep)]
        if self._files.cert:
            made.append(Task("mllp-certificates", self._watch_certificates))
        if self.folder is not None:
            made.append(Task("hl7-folder", self.folder.run))
        return tuple(made)

    def metrics(self) -> dict[str, float]:
        """Return what is counted; no address and no name is a label."""
        made: dict[str, float] = {"predmp_mllp_connections": 0.0, "predmp_mllp_begun_bytes": 0.0}
        for listener in self.listeners:
            made["predmp_mllp_connections"] += float(listener.connections)
            made["predmp_mllp_begun_bytes"] += float(listener.begun)
            for name, count in sorted(listener.counts.items()):
                key = f'predmp_mllp_connections_total{{event="{name}"}}'
                made[key] = made.get(key, 0.0) + float(count)
        for name, count in sorted(self.reception.counts.items()):
            made[f'predmp_hl7_split_total{{kind="{name}"}}'] = float(count)
        for name, end in self._ends.items():
            made[f'predmp_mllp_certificate_ends_seconds{{certificate="{name}"}}'] = end
        if self.folder is not None:
            for name, count in sorted(self.folder.counts.items()):
                made[f'predmp_hl7_files_total{{event="{name}"}}'] = float(count)
        return made

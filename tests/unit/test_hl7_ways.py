"""The ways in, put together: several ports, channels closed to strangers, certificates that are renewed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.hl7.authorities import Authorities
from adapters.hl7.channels import Channel
from adapters.hl7.faults import Fault
from adapters.hl7.local import Locals
from adapters.hl7.reception import Reply
from adapters.hl7.ways import FOLDER, HTTP, MLLP, Channels, Ways
from fhir_server.app import opened
from fhir_server.errors import Forbidden, Unavailable
from fhir_server.interface import Core
from fhir_server.settings import Settings
from tests.blackbox.test_mllp import certificates
from tests.hl7_messages import adt
from tests.running import free_port
from tests.unit.test_hl7_mllp import connected, frame

__all__ = ["certificates"]


class Box:
    """An inbox that answers with the channel and what is wrong."""

    async def _answer(self, channel: Channel, cut: Fault | None) -> Reply:
        return Reply([f"{channel.name} {cut.code if cut else 'AA'}".encode()], "AR" if cut else "AA", state="received")

    def receive(self, channel: Channel, raw: bytes, *, cut: Fault | None = None, parent: str = "") -> Awaitable[Reply]:
        return self._answer(channel, cut)


@asynccontextmanager
async def ways(**settings: Any) -> AsyncIterator[Ways]:
    given = Settings(store="memory:", rooms=(), mllp=f"127.0.0.1:{free_port()}", **settings)
    async with opened(given) as composed:
        core = cast(Core, composed.hub)
        channels = Channels(core, given, Authorities(core), Locals(core))
        await channels.load()
        made = Ways(core, given, channels, Box())
        await made.start()
        try:
            yield made
        finally:
            await made.stop()


def file(folder: Path, text: str) -> str:
    (folder / "channels.toml").write_text(text)
    return str(folder / "channels.toml")


async def test_each_port_has_its_channel_and_longest_message(tmp_path: Path) -> None:
    text = f'[[channel]]\nname = "ward"\nbind = "127.0.0.1:{free_port()}"\nmax_message = 500\n'
    async with ways(hl7_channels=file(tmp_path, text)) as made:
        usual, ward = made.listeners
        for listener, name in ((usual, b"mllp"), (ward, b"ward")):
            async with connected(listener) as sender:
                sender.writer.write(frame(adt().encode()))
                assert await sender.receive() == name + b" AA"
                sender.writer.write(frame(adt().encode() + b"x" * 500))
                assert await sender.receive() == (b"ward 207" if name == b"ward" else b"mllp AA")
        assert made.metrics()['predmp_mllp_connections_total{event="opened"}'] == 2.0


async def test_where_the_table_is_closed_strangers_are_kept_aside_or_refused(tmp_path: Path) -> None:
    text = '[default]\nopen = false\n[[channel]]\nname = "lab"\nsenders = ["DPI"]\npeers = ["192.0.2.0/24"]\n'
    async with ways(hl7_channels=file(tmp_path, text)) as made:
        channels = made.channels
        found = await channels.of_request("default", "192.0.2.1", "", adt().encode())
        assert found is not None
        assert (found.name, found.charset) == ("lab", "cp1252")
        other = await channels.of_request("default", "192.0.2.1", "", adt().replace("DPI", "X").encode())
        assert (await made.take(HTTP, other, adt().encode())).frames == [b"http 207"]
        with pytest.raises(Forbidden):
            await channels.of_request("default", "198.51.100.1", "", adt().encode())


async def test_a_token_s_tenant_and_charset_are_those_of_the_request(tmp_path: Path) -> None:
    text = '[[channel]]\nname = "lab"\ntenant = "elsewhere"\ncharset = "iso8859-15"\n'
    async with ways(hl7_channels=file(tmp_path, text)) as made:
        found = await made.channels.of_request("default", "192.0.2.1", "utf-8", adt().encode())
        assert found is not None
        assert (found.name, found.tenant, found.charset) == ("lab", "default", "utf-8")
        stored = made.channels.named("default", "lab")
        assert (stored.tenant, stored.charset) == ("default", "iso8859-15")
        assert made.channels.named("default", FOLDER).name == FOLDER


async def test_a_channel_is_made_once_until_what_it_knows_changes() -> None:
    async with ways() as made:
        usual = made.channels.table.named(MLLP)
        assert made.channels.complete(usual) is made.channels.complete(usual)
        stored = made.channels.named("default", MLLP)
        assert made.channels.named("default", MLLP) is stored, "what it remembers serves the next stored message too"
        assert made.channels.named("other", MLLP).tenant == "other"


async def test_certificates_are_renewed_when_their_files_change_and_are_good(
    certificates: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert = tmp_path / "server.pem"
    cert.write_bytes(certificates["server"].read_bytes())
    async with ways(mllp_tls_cert=str(cert)) as made:
        assert not await made.renew()
        assert {task.name for task in made.tasks} == {"hl7-parts", "mllp-certificates"}
        end = 'predmp_mllp_certificate_ends_seconds{certificate="server"}'
        assert made.metrics()[end] > 4_000_000_000
        cert.write_text("broken")
        assert not await made.renew()
        assert "not renewed" in caplog.text
        cert.write_bytes(certificates["client"].read_bytes())
        assert await made.renew()
        assert not await made.renew()


async def test_a_folder_that_cannot_be_used_fails_the_start(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        async with ways(hl7_folder=str(tmp_path / "nowhere")):
            raise AssertionError("it started")
    async with ways(hl7_folder=str(tmp_path)) as made:
        assert made.folder is not None
        (tmp_path / "a.hl7").write_text(adt(), newline="")
        assert [await made.folder.look() for _ in range(2)] == [0, 1]
        assert (tmp_path / "done" / "a.hl7.ack").read_text() == "folder AA"
        assert made.metrics()['predmp_hl7_files_total{event="done"}'] == 1.0

"""Which addresses the hub may call."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from fhir_server.errors import Unprocessable
from fhir_server.subscriptions.outbound import Outbound, Refused, unwrapped

PRIVATE = [
    "https://169.254.169.254/x", "https://localhost/x", "https://127.1/x", "https://0x7f000001/x", "https://2130706433/x",
    "https://[::1]/x", "https://[::ffff:127.0.0.1]/x", "https://[64:ff9b::7f00:1]/x", "https://[2002:7f00:1::]/x",
    "https://①27.0.0.1/x", "https://10.0.0.1/x", "https://224.0.0.1/x", "https://192.0.0.192/x", "https://0.0.0.0/x",
]  # fmt: skip
FORMS = [
    "file:///etc/passwd",
    "gopher://x.example/",
    "ftp://x.example/",
    "https://user:pass@x.example/",
    "https:///x",
    "x",
    "",
]


@pytest.mark.parametrize("url", [*PRIVATE, *FORMS, "http://93.184.216.34/x"])
def test_what_is_no_public_https_is_refused_when_it_is_given(url: str) -> None:
    with pytest.raises(Unprocessable):
        Outbound(()).check(url)


@pytest.mark.parametrize("url", [*PRIVATE, "http://93.184.216.34/x"])
async def test_what_is_no_public_https_is_refused_when_it_is_called(url: str) -> None:
    outbound = Outbound(())
    try:
        with pytest.raises((Refused, OSError)):
            await outbound.send("POST", url, {}, b"")
    finally:
        await outbound.close()


@pytest.mark.parametrize(
    "url", ["https://hooks.example.org/x", "https://93.184.216.34/x", "https://[2606:2800:220:1::1]:8443/x"]
)
def test_public_https_is_fine(url: str) -> None:
    Outbound(()).check(url)


def test_a_network_may_be_opened_for_tests_and_closed_networks() -> None:
    opened = Outbound(["127.0.0.0/8"])
    opened.check("http://127.0.0.1:9/x")
    with pytest.raises(Unprocessable):
        opened.check("http://10.0.0.1/x")


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("64:ff9b::a00:1", "10.0.0.1"),
        ("2002:a00:1::", "10.0.0.1"),
        ("2606:2800:220:1::1", "2606:2800:220:1::1"),
    ],
)
def test_an_address_inside_another_is_what_counts(outer: str, inner: str) -> None:
    assert unwrapped(ipaddress.ip_address(outer)) == ipaddress.ip_address(inner)


async def test_redirects_are_not_followed_and_the_host_header_stays() -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    outbound = Outbound(["127.0.0.0/8"])
    async with server:
        try:
            assert await outbound.send("POST", f"http://localhost:{port}/x", {}, b"") == 302
        finally:
            await outbound.close()
    assert len(heads) == 1
    assert f"host: localhost:{port}".encode() in heads[0].lower()

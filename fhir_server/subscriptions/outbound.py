"""The one way out: calls to addresses that others gave us.

Only public https, and what `outbound_allow` opens. The name is resolved once, every address is
checked, and the connection goes to the address that was checked (no rebinding); redirects are not
followed, answers are read to a bound. Source for the ranges: IANA special-purpose address registries.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias
from urllib.parse import urlsplit

import httpx

from fhir_server.errors import Unavailable, Unprocessable
from fhir_server.model import Reply

DEADLINE_S = 10.0
MAX_ANSWER = 65_536  # bytes read of an answer
READ_SIZE = 262_144  # bytes of a part of an answer that is read whole
_TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
# Special ranges that `is_global` of some Python releases calls global.
_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in ("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
                 "192.175.48.0/24", "198.18.0.0/15", "240.0.0.0/4", "100::/64", "2001::/23", "2002::/16", "3fff::/20",
                 "5f00::/16", "fc00::/7", "fec0::/10")
)  # fmt: skip

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Refused(Exception):
    """The address may not be called."""


class Broken(Exception):
    """There was no answer, or it broke off."""


class Outbound:
    """Calls out, within what is allowed.

    Args:
        allow: Networks that may be reached, also by http, beside public https.
    """

    def __init__(self, allow: Sequence[str]) -> None:
        self._allow: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in allow)
        self._client = httpx.AsyncClient(
            timeout=DEADLINE_S,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=20),
        )

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    def check(self, url: str, place: str = "Subscription.channel.endpoint") -> None:
        """Raise Unprocessable, at its place, where the form of a URL already says that it may not be called."""
        try:
            host, port = _parts(url)
            for address in _literal(host):
                self._check_address(url, address)
        except Refused as error:
            raise Unprocessable(str(error), expression=place) from None
        assert port >= 0

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send a request and return the status of the answer.

        Raises:
            Refused: The address may not be called.
            OSError, httpx.HTTPError, TimeoutError: There was no answer.
        """
        async with asyncio.timeout(DEADLINE_S):
            answer = await self._send(method, url, headers, body)
            try:
                read = 0
                async for part in answer.aiter_raw():
                    read += len(part)
                    if read > MAX_ANSWER:
                        break
                return answer.status_code
            finally:
                await answer.aclose()

    async def call(self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, most: int) -> Reply:
        """Send a request and return the answer whole, its content coding undone.

        Raises:
            Unavailable: The address may not be called, there was no answer, or one of more than `most` bytes.
        """
        try:
            async with asyncio.timeout(DEADLINE_S):
                answer = await self._send(method, url, headers, body)
                try:
                    read = bytearray()
                    async for part in answer.aiter_bytes():
                        read += part
                        if len(read) > most:
                            raise Unavailable("The answer from outside is longer than what is read.")
                    return Reply(answer.status_code, bytes(read))
                finally:
                    await answer.aclose()
        except Refused as error:
            raise Unavailable(str(error)) from None
        except (OSError, httpx.HTTPError, TimeoutError) as error:
            raise Unavailable(f"There was no answer from outside: {type(error).__name__}.") from None

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> httpx.Response:
        """Return an answer whose body is not read yet."""
        host, port = _parts(url)
        address = await self._resolve(url, host, port)
        request = self._client.build_request(
            method,
            httpx.URL(url).copy_with(host=str(address)),
            headers={**headers, "Host": urlsplit(url).netloc},
            content=body,
            extensions={"sni_hostname": host, "timeout": httpx.Timeout(DEADLINE_S).as_dict()},
        )
        return await self._client.send(request, stream=True)

    async def read(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
        """Yield the body of an answer with status 200, of any length, its content coding undone.

        Raises:
            Refused: The address may not be called, or its answer has another status.
            Broken: There was no answer, or it broke off or fell silent.
        """
        try:
            answer = await self._get(url, headers)
            try:
                if answer.status_code != 200:
                    raise Refused(f"The endpoint answered with status {answer.status_code}.")
                async for part in answer.aiter_bytes(READ_SIZE):
                    yield part
            finally:
                await answer.aclose()
        except (OSError, httpx.HTTPError, TimeoutError) as error:
            raise Broken(type(error).__name__) from None

    async def _get(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        async with asyncio.timeout(DEADLINE_S):
            return await self._send("GET", url, headers, b"")

    async def _resolve(self, url: str, host: str, port: int) -> Address:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(entry[4][0]) for entry in found]
        if not addresses:
            raise Refused("The endpoint's name has no address.")
        for address in addresses:
            self._check_address(url, address)
        return addresses[0]

    def _check_address(self, url: str, address: Address) -> None:
        inner = unwrapped(address)
        if any(inner in network for network in self._allow if network.version == inner.version):
            return
        special = any(inner in network for network in _SPECIAL if network.version == inner.version)
        if special or not inner.is_global or inner.is_multicast or inner.is_reserved:
            raise Refused("The endpoint is not at a public address.")
        if not url.lower().startswith("https:"):
            raise Refused("The endpoint is not https.")


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address inside a mapped, 6to4, Teredo or translated one; else the address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address.teredo is not None:
            return address.teredo[1]
        if any(address in network for network in _TRANSLATED):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _parts(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused("The endpoint is no URL.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused("The endpoint is no http or https URL.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise Refused("The endpoint holds credentials or a fragment.")
    if not parts.hostname.isascii():
        raise Refused("The endpoint's name is written in ASCII (IDNA).")
    return parts.hostname, port if port is not None else (443 if parts.scheme == "https" else 80)


def _literal(host: str) -> list[Address]:
    """Return the addresses that a host that is a number, in any notation, stands for; none for a name."""
    with suppress(ValueError):
        return [ipaddress.ip_address(host)]
    with suppress(OSError):
        return [ipaddress.IPv4Address(socket.inet_aton(host))]
    return [ipaddress.IPv4Address("127.0.0.1")] if host.lower().rstrip(".") == "localhost" else []

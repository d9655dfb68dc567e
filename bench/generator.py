"""A load generator without a heavy client: asyncio streams, kept-alive connections, closed loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Measure:
    """What a run gave."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # seconds, of answers as expected
    errors: int = 0
    cpu_s: float = 0.0  # that the server used meanwhile; 0 where it was not looked at

    @property
    def cpu_us(self) -> float:
        """CPU of the server for each answer, in microseconds: it varies less than rates do on a machine in use."""
        return self.cpu_s / len(self.latencies) * 1e6 if self.latencies else float("nan")

    @property
    def rate(self) -> float:
        """Answers as expected, per second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Return a latency in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else float("nan")


def http_request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return the bytes of one HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", *(f"{k}: {v}" for k, v in headers.items())]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one HTTP/1.1 answer with a length; return its status and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    at = head.lower().find(b"content-length:")
    length = int(head[at + 15 : head.index(b"\r\n", at)]) if at >= 0 else 0
    return status, await reader.readexactly(length) if length else b""


async def run_http(port: int, clients: int, seconds: float, make: Callable[[int], bytes], expect: int) -> Measure:
    """Send requests on `clients` connections, each the next when the last is answered.

    Args:
        port: Of 127.0.0.1.
        clients: How many connections.
        seconds: How long.
        make: Number of the request -> its bytes.
        expect: The status of a good answer; others are counted as errors.
    """

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        writer.write(make(number))
        status, _ = await read_answer(reader)
        return status == expect

    return await _run(port, clients, seconds, ask)


async def run_mllp(port: int, sockets: int, seconds: float, make: Callable[[int], bytes]) -> Measure:
    """Send HL7 v2 messages on `sockets` connections, each the next when the last is acknowledged with AA."""

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        writer.write(b"\x0b" + make(number) + b"\x1c\r")
        return b"MSA|AA" in await reader.readuntil(b"\x1c\r")

    return await _run(port, sockets, seconds, ask)


Ask = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[bool]]
"""Sends a request of this number and reads its answer; whether that is a good one."""


async def _run(port: int, connections: int, seconds: float, ask: Ask) -> Measure:
    made = Measure()
    number = 0
    end = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal number
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while (began := time.perf_counter()) < end:
                number += 1
                if await ask(reader, writer, number):
                    made.latencies.append(time.perf_counter() - began)
                else:
                    made.errors += 1
        finally:
            writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    made.seconds = time.perf_counter() - began
    return made

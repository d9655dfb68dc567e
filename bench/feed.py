"""HL7 v2 results for `bench.alerts`: calm ones in a stream, and one now and then that raises an alert."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

SYSTEM = "urn:oid:1.2.250.1.999.77"
VT, END = b"\x0b", b"\x1c\r"
START = datetime.now(UTC) - timedelta(days=2)


class Feed:
    """Writes the messages of one hospital."""

    def __init__(self) -> None:
        self.sent = 0

    def calm(self, number: int) -> bytes:
        """Return a pulse and a saturation of one of a hundred patients: nothing for anybody to do."""
        at = START + timedelta(seconds=self.sent)
        pulse, spo2 = 66 + number % 9, 96 + number % 3
        return self._results(f"M{number % 100}", at, ("8867-4", pulse, "/min"), ("59408-5", spo2, "%"))

    def critical(self, patient: int) -> bytes:
        """Return what raises an alert at once."""
        now = datetime.now(UTC)
        values = ("59408-5", 84, "%"), ("9279-1", 30, "/min"), ("8867-4", 135, "/min")
        return self._results(f"M{100 + patient}", now, *values)

    def _results(self, patient: str, at: datetime, *values: tuple[str, int, str]) -> bytes:
        self.sent += 1
        when = at.strftime("%Y%m%d%H%M%S+0000")
        lines = [
            f"MSH|^~\\&|BENCH|CHU|HUB|REGION|{when}||ORU^R01^ORU_R01|B{self.sent}|P|2.5|||||FRA|UNICODE UTF-8",
            f"PID|||{patient}^^^CHU&{SYSTEM.removeprefix('urn:oid:')}&ISO^PI||DUPOND^PAUL||19510423|M",
            f"OBR|1||L{self.sent}|VITALS^Constantes^L|||{when}||||||||||||||||||F",
        ]
        for place, (code, value, unit) in enumerate(values, 1):
            lines.append(f"OBX|{place}|NM|{code}^^LN||{value}|{unit}|||||F|||{when}")
        return VT + "\r".join(lines).encode() + b"\r" + END


async def send(port: int, message: bytes) -> None:
    """Send one message on a connection of its own and wait until it is kept."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(message)
    answer = await reader.readuntil(END)
    assert b"\rMSA|AA|" in answer, answer[:300]
    writer.close()


async def stream(port: int, write: Callable[[int], bytes], clients: int, rate: float, until: float) -> int:
    """Send messages until a moment, each after the answer to the one before; return how many were kept.

    Args:
        port: Of the listener.
        write: Gives the message of a number.
        clients: How many connections.
        rate: Messages a second; 0: as fast as they are answered.
        until: By `time.perf_counter`.
    """
    count = 0

    async def one(number: int) -> None:
        nonlocal count
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        turn, start = number, time.perf_counter()
        while (now := time.perf_counter()) < until:
            if rate and (wait := start + turn / rate - now) > 0:
                await asyncio.sleep(wait)
            writer.write(write(turn))
            answer = await reader.readuntil(END)
            assert b"\rMSA|AA|" in answer, answer[:300]
            turn, count = turn + clients, count + 1
        writer.close()

    await asyncio.gather(*(one(number) for number in range(clients)))
    return count

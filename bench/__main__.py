"""`python -m bench`: the hub beside the floor that Python allows here, in one run, as ratios.

Rounds alternate between the two, since machines are noisy; the server has one core and the generator
the other. Needs the command `predmp` beside this Python.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.generator import Measure, http_request, read_answer, run_http, run_mllp
from bench.payload import observation, oru

HERE = Path(sys.executable).parent

CORES = sorted(os.sched_getaffinity(0))  # before this process takes one of them
SERVER, CLIENTS = CORES[0], CORES[-1]
"""Cores: one for the server under measurement, another one for who asks it, where there are two."""

WARM_UP = 200
"""Messages that a fresh hub applies before it is measured."""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def on_core(core: int) -> Callable[[], None]:
    """Return what puts a process on one core."""
    return lambda: os.sched_setaffinity(0, {core})


@contextlib.contextmanager
def running(command: list[str], port: int, env: dict[str, str] | None = None) -> Iterator[int]:
    """Run a server until the block ends; it answers on `port` when the block begins. Give its process id."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env={**os.environ, **(env or {})}, preexec_fn=on_core(SERVER)
    )
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


class Target:
    """One server under measurement."""

    def __init__(self, name: str, port: int, mllp: int, prefix: str, token: str) -> None:
        self.name, self.port, self.mllp, self.prefix = name, port, mllp, prefix
        self.headers = {"authorization": f"Bearer {token}", "content-type": "application/fhir+json"}
        self.ids: list[str] = []
        self.created = self.sent = 0
        self.pid = 0  # of its process, where its CPU is looked at

    def cpu_s(self) -> float:
        """Return the CPU that its process has used, in seconds (Linux)."""
        if not self.pid:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def create(self, _: int) -> bytes:
        """Return a create of a blood-pressure Observation, later than those before, as measurements come."""
        self.created += 1
        return http_request("POST", f"{self.prefix}/Observation", self.headers, observation(self.created))

    def read(self, number: int) -> bytes:
        """Return a read of one that was stored."""
        return http_request("GET", f"{self.prefix}/Observation/{self.ids[number * 7919 % len(self.ids)]}", self.headers)

    def search(self, number: int) -> bytes:
        """Return the search of the newest 20 of one patient and code."""
        query = f"patient=Patient/p{number % 100}&code=http://loinc.org|85354-9&_sort=-date&_count=20&_total=none"
        if self.name == "skeleton":
            query = f"patient=Patient/p{number % 100}&code=85354-9"
        return http_request("GET", f"{self.prefix}/Observation?{query}", self.headers)

    def result(self, _: int) -> bytes:
        """Return an ORU, later than those before."""
        self.sent += 1
        return oru(f"{self.name}{self.sent}", self.sent)

    async def waiting(self) -> float:
        """Return how many messages the hub has stored and not applied yet."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(http_request("GET", "/metrics", {"connection": "close"}))
        _, body = await read_answer(reader)
        writer.close()
        lines = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if line.startswith("predmp_hl7"))
        return float(lines["predmp_hl7_waiting"])

    async def applied(self) -> None:
        """Return once the hub has applied all that it stored."""
        while await self.waiting():
            await asyncio.sleep(0.05)

    async def apply_rate(self, count: int) -> float:
        """Send messages as fast as they are stored, and return how many a second are applied from first to last."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.mllp)
        messages = [self.result(number) for number in range(count)]
        began = time.perf_counter()

        async def send() -> None:
            for message in messages:
                writer.write(b"\x0b" + message + b"\x1c\r")
                await writer.drain()

        sending = asyncio.create_task(send())
        for _ in messages:
            await reader.readuntil(b"\x1c\r")
        await sending
        await self.applied()
        writer.close()
        return count / (time.perf_counter() - began)

    async def fill(self, count: int) -> None:
        """Store Observations and keep their ids."""

        async def some(start: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            for number in range(start, count, 32):
                writer.write(self.create(number))
                status, body = await read_answer(reader)
                assert status == 201, (self.name, status, body[:300])
                self.ids.append(json.loads(body)["id"])
            writer.close()

        await asyncio.gather(*(some(start) for start in range(32)))


async def compare(
    name: str, floor: Target, ours: Target, run: Callable[[Target], object], rounds: int
) -> tuple[str, Measure, Measure, float]:
    """Run a scenario on both in turn and return the medians."""

    async def measured(target: Target) -> Measure:
        before = target.cpu_s()
        made: Measure = await run(target)  # type: ignore[misc]
        made.cpu_s = made.cpu_s or target.cpu_s() - before
        return made

    pairs: list[tuple[Measure, Measure]] = []
    for _ in range(rounds):
        pairs.append((await measured(floor), await measured(ours)))
    ratios = [b.rate / a.rate for a, b in pairs if a.rate]
    middle = sorted(pairs, key=lambda pair: pair[1].rate)[len(pairs) // 2]
    return name, middle[0], middle[1], statistics.median(ratios)


async def measure(floor: Target, ours: Target, echo: Target, folder: str, args: argparse.Namespace) -> None:
    """Run all scenarios and print a line for each."""
    for target in (floor, ours) if args.only != "mllp" else ():
        await target.fill(args.fill)
    names = f"{'p50 ms':>9}{'p99 ms':>9}{'errors':>8}{'floor CPU us':>14}{'our CPU us':>12}"
    print(f"{'scenario':<22}{'floor/s':>10}{'ours/s':>10}{'ratio':>8}{names}")
    for clients in args.clients if args.only != "mllp" else ():
        for name, expect in (("create", 201), ("read", 200), ("search", 200)):

            def run(target: Target, name: str = name, expect: int = expect, clients: int = clients) -> object:
                return run_http(target.port, clients, args.seconds, getattr(target, name), expect)

            show(*await compare(f"{name}, {clients} clients", floor, ours, run, args.rounds))
    if args.only != "http":
        await measure_messages(echo, folder, args)


async def measure_messages(echo: Target, folder: str, args: argparse.Namespace) -> None:
    """Measure HL7 v2: stored and acknowledged, beside the echo; then applied.

    Each round has a hub of its own, which ends with it: else what waits would be applied while the echo runs. It has
    applied some messages before, as the servers of the other scenarios have stored resources.
    """
    ours = Target("hub", 0, 0, "", "")
    for sockets in args.clients:

        async def send(target: Target, sockets: int = sockets) -> Measure:
            if target is echo:
                return await run_mllp(target.mllp, sockets, args.seconds, target.result)
            with fresh_hub(folder) as hub:
                await hub.apply_rate(WARM_UP)
                before = hub.cpu_s()
                made = await run_mllp(hub.mllp, sockets, args.seconds, hub.result)
                made.cpu_s = hub.cpu_s() - before
                return made

        show(*await compare(f"ORU stored, {sockets} sockets", echo, ours, send, args.rounds))
    with fresh_hub(folder) as hub:
        await hub.apply_rate(WARM_UP)
        show_applied(await hub.apply_rate(args.messages), args.messages)


def hub_command(port: int, mllp: int, store: str) -> list[str]:
    """Return what starts a hub."""
    addresses = ("--http", f"127.0.0.1:{port}", "--mllp", f"127.0.0.1:{mllp}")
    return [str(HERE / "predmp"), "serve", *addresses, "--store", store]


def wait_ready(port: int) -> None:
    """Return once a hub is ready."""
    while urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").status != 200:
        time.sleep(0.05)


@contextlib.contextmanager
def fresh_hub(folder: str) -> Iterator[Target]:
    """Run a hub on a store of its own."""
    port, mllp = free_port(), free_port()
    with running(hub_command(port, mllp, f"sqlite:///{folder}/{port}.db"), port) as pid:
        wait_ready(port)
        hub = Target("hub", port, mllp, "", "")
        hub.pid = pid
        yield hub


def show(name: str, floor: Measure, ours: Measure, ratio: float) -> None:
    """Print one line of the table."""
    print(
        f"{name:<22}{floor.rate:>10.0f}{ours.rate:>10.0f}{ratio:>8.2f}"
        f"{ours.percentile(0.5):>9.2f}{ours.percentile(0.99):>9.2f}{floor.errors + ours.errors:>8}"
        f"{floor.cpu_us:>14.0f}{ours.cpu_us:>12.0f}",
        flush=True,
    )


def show_applied(rate: float, count: int) -> None:
    """Print how many messages are applied a second, on the server's one core."""
    print(f"{f'ORU applied, {count}':<22}{'':>10}{rate:>10.0f}", flush=True)


def main() -> None:
    """Start the servers, measure, stop them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each scenario, in turn")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 64], help="connections at once")
    parser.add_argument("--fill", type=int, default=5_000, help="Observations stored before")
    parser.add_argument("--messages", type=int, default=2_000, help="HL7 v2 messages whose effect is waited for")
    parser.add_argument("--only", choices=("http", "mllp"), help="only these scenarios")
    args = parser.parse_args()
    on_core(CLIENTS)()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        floor_port, port, mllp, echo_port = (free_port() for _ in range(4))
        store = f"sqlite:///{folder}/hub.db"
        token = subprocess.run(
            [HERE / "predmp", "token", "--store", store, "--scope", "system/*.cruds"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        with (
            running(
                [sys.executable, "-m", "bench.skeleton", str(floor_port), f"{folder}/floor.db"], floor_port
            ) as floor_pid,
            running([sys.executable, "-m", "bench.echo", str(echo_port), f"{folder}/echo.log"], echo_port) as echo_pid,
            running(hub_command(port, mllp, store), port) as hub_pid,
        ):
            wait_ready(port)
            floor = Target("skeleton", floor_port, 0, "", "")
            ours = Target("hub", port, mllp, "/fhir", token)
            floor.pid, ours.pid = floor_pid, hub_pid
            echo = Target("echo", 0, echo_port, "", "")
            echo.pid = echo_pid
            asyncio.run(measure(floor, ours, echo, folder, args))


if __name__ == "__main__":
    main()

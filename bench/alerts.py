"""`python -m bench.alerts`: from the socket to a subscriber, in milliseconds, while measurements come in.

A fall goes in by `POST /devices`, or critical vital signs by MLLP; the alert it opens (a Task) is delivered to a
subscriber over HTTP. Meanwhile others send calm measurements the same way, at a fixed rate, then as fast as the hub
answers. The budget: p99 at most 100 ms at 100 measurements a second, 500 ms at saturation; none missed, none doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bench import feed
from bench.__main__ import CLIENTS, HERE, free_port, on_core, running
from bench.generator import http_request, read_answer

SYSTEM = "urn:bench:device"
FAMILY = "urn:predmp:triage:family|fall,urn:predmp:triage:family|vitals"
START = datetime.now(UTC) - timedelta(days=2)


@dataclass(slots=True)
class Hub:
    """The hub under measurement, with patients who have a device each."""

    port: int
    mllp: int
    token: str
    sent: int = 0
    feed: feed.Feed = field(default_factory=feed.Feed)
    patients: list[str] = field(default_factory=list)

    def request(self, method: str, path: str, body: object) -> bytes:
        """Return the bytes of a request."""
        kind = "application/json" if path.startswith("/devices") else "application/fhir+json"
        headers = {"authorization": f"Bearer {self.token}", "content-type": kind}
        return http_request(method, path, headers, json.dumps(body, separators=(",", ":")).encode())

    def measurement(self, number: int) -> bytes:
        """Return a saturation or a pulse of one of the devices that no fall comes from."""
        self.sent += 1
        at = (START + timedelta(seconds=self.sent)).isoformat(timespec="seconds")
        pulse = {"code": "8867-4", "value": str(66 + number % 9), "unit": "/min", "at": at}
        spo2 = {"code": "59408-5", "value": str(96 + number % 3), "unit": "%", "at": at}
        return self._readings(number % 100, spo2 if number % 2 else pulse)

    def fall(self, device: int) -> bytes:
        """Return a fall, told by one of the devices that tell of nothing else."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return self._readings(100 + device, {"system": "mdc", "code": "8519681", "at": at})

    def _readings(self, device: int, *readings: object) -> bytes:
        name = {"system": SYSTEM, "value": f"d{device}"}
        return self.request("POST", "/devices", {"device": name, "readings": readings})


class Subscriber:
    """Takes deliveries and notes when each patient's alert came."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.counts: Counter[str] = Counter()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                at = head.lower().find(b"content-length:")
                length = int(head[at + 15 : head.index(b"\r\n", at)]) if at >= 0 else 0
                task = json.loads(await reader.readexactly(length) or b"{}")
                patient = task.get("for", {}).get("reference", "")
                self.at.setdefault(patient, time.perf_counter())
                self.counts[patient] += 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()


async def ask(port: int, request: bytes) -> tuple[int, bytes]:
    """Send one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await read_answer(reader)
    writer.close()
    return answer


async def fill(hub: Hub, falls: int) -> None:
    """Create patients, with a number of the hospital's, and their devices."""
    for number in range(100 + falls):
        identifier = {"system": feed.SYSTEM, "value": f"M{number}"}
        made = {"resourceType": "Patient", "birthDate": "1951-04-23", "identifier": [identifier]}
        _, body = await ask(hub.port, hub.request("POST", "/fhir/Patient", made))
        patient = f"Patient/{json.loads(body)['id']}"
        hub.patients.append(patient)
        device = {
            "resourceType": "Device",
            "status": "active",
            "identifier": [{"system": SYSTEM, "value": f"d{number}"}],
            "patient": {"reference": patient},
        }
        status, body = await ask(hub.port, hub.request("POST", "/fhir/Device", device))
        assert status == 201, body[:300]


async def load(hub: Hub, clients: int, rate: float, until: float) -> int:
    """Send measurements until a moment; at `rate` a second, or as fast as they are answered where it is 0."""
    count = 0

    async def one(number: int) -> None:
        nonlocal count
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        turn, start = number, time.perf_counter()
        while (now := time.perf_counter()) < until:
            if rate and (wait := start + turn / rate - now) > 0:
                await asyncio.sleep(wait)
            writer.write(hub.measurement(turn))
            status, body = await read_answer(reader)
            assert status == 200 and b'"stored"' in body, (status, body[:300])
            turn, count = turn + clients, count + 1
        writer.close()

    await asyncio.gather(*(one(number) for number in range(clients)))
    return count


async def raise_alert(hub: Hub, way: str, number: int) -> None:
    """Send what opens an alert of one patient."""
    if way == "mllp":
        await feed.send(hub.mllp, hub.feed.critical(number))
        return
    status, body = await ask(hub.port, hub.fall(number))
    assert status == 200 and b'"stored"' in body, (status, body[:300])


async def stream(hub: Hub, way: str, rate: float, until: float) -> int:
    """Send calm measurements until a moment; return how many were taken."""
    clients = 16 if rate else 64
    if way == "mllp":
        return await feed.stream(hub.mllp, hub.feed.calm, clients, rate, until)
    return await load(hub, clients, rate, until)


async def scenario(hub: Hub, subscriber: Subscriber, way: str, falls: range, rate: float, every_s: float) -> None:
    """Run one load, send what opens alerts into it, and print a line."""
    until = time.perf_counter() + len(falls) * every_s + 0.5
    flood = asyncio.create_task(stream(hub, way, rate, until))
    sent: dict[str, float] = {}
    begin = time.perf_counter()
    for number, fall in enumerate(falls):
        await asyncio.sleep(max(0.0, begin + (number + 1) * every_s - time.perf_counter()))
        patient = hub.patients[100 + fall]
        sent[patient] = time.perf_counter()
        await raise_alert(hub, way, fall)
    count = await flood
    rate_was = count / (time.perf_counter() - begin)
    end = time.perf_counter() + 10
    while len(subscriber.at.keys() & sent.keys()) < len(sent) and time.perf_counter() < end:
        await asyncio.sleep(0.01)
    took = sorted((subscriber.at[one] - at) * 1000 for one, at in sent.items() if one in subscriber.at)
    missed = len(sent) - len(took)
    doubled = sum(subscriber.counts[one] > 1 for one in sent)
    name = f"{way} {f'{rate:.0f}/s' if rate else 'saturation'}"
    p50, p99 = (took[min(len(took) - 1, int(len(took) * share))] for share in (0.5, 0.99))
    print(
        f"{name:<17}{rate_was:>12.0f}{len(sent):>8}{p50:>9.1f}{p99:>9.1f}{took[-1]:>9.1f}{missed:>9}{doubled:>9}",
        flush=True,
    )


async def measure(hub: Hub, args: argparse.Namespace) -> None:
    """Subscribe, then run both loads of each way."""
    subscriber = Subscriber()
    server = await asyncio.start_server(subscriber.take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await fill(hub, 2 * len(args.ways) * args.falls + len(args.ways))
    subscription = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "bench",
        "criteria": f"Task?code={FAMILY}",
        "channel": {
            "type": "rest-hook",
            "endpoint": f"http://127.0.0.1:{port}/hook",
            "payload": "application/fhir+json",
        },
    }
    status, body = await ask(hub.port, hub.request("POST", "/fhir/Subscription", subscription))
    assert status == 201, body[:300]
    print(
        f"{'load':<17}{'measured/s':>12}{'alerts':>8}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'missed':>9}{'doubled':>9}"
    )
    for place, way in enumerate(args.ways, 2 * len(args.ways) * args.falls):
        await raise_alert(hub, way, place)
        until = time.perf_counter() + args.warm / len(args.ways)
        await stream(hub, way, args.rate, until)
    places = iter(range(0, 2 * len(args.ways) * args.falls, args.falls))
    for way in args.ways:
        for rate in (args.rate, 0):
            place = next(places)
            await scenario(hub, subscriber, way, range(place, place + args.falls), rate, args.every)
    server.close()


def main() -> None:
    """Start the hub, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--falls", type=int, default=100, help="alerts of each load")
    parser.add_argument("--every", type=float, default=0.1, help="seconds between two falls")
    parser.add_argument("--rate", type=float, default=100, help="measurements a second of the first load")
    parser.add_argument("--warm", type=float, default=2, help="seconds of measurements before, which nobody counts")
    parser.add_argument("--ways", nargs="+", choices=("http", "mllp"), default=("http", "mllp"), help="ways in")
    args = parser.parse_args()
    on_core(CLIENTS)()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        port, mllp = free_port(), free_port()
        store = f"sqlite:///{folder}/hub.db"
        command = [str(HERE / "predmp")]
        token = subprocess.run(
            [*command, "token", "--store", store, "--scope", "system/*.cruds"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        ports = ["--http", f"127.0.0.1:{port}", "--mllp", f"127.0.0.1:{mllp}"]
        env = {"PREDMP_OUTBOUND_ALLOW": "127.0.0.0/8"}
        with running([*command, "serve", *ports, "--store", store], port, env):
            while urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").status != 200:
                time.sleep(0.05)
            asyncio.run(measure(Hub(port, mllp, token), args))


if __name__ == "__main__":
    main()

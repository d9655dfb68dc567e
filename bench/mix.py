"""`python -m bench.mix FOLDER`: the 30-query mix of mock.health over a folder of Synthea bundles, 64 clients.

Each request is one of 30 queries, drawn evenly; names, codes and ids are drawn from what the hub holds. Prints
p50 and p95 of each query and of all, and errors. Source: mock-health/fhir-server-compare (MIT), its list of queries.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.__main__ import CLIENTS, HERE, free_port, on_core, running
from bench.copies import write_copies
from bench.generator import http_request, read_answer

LOINC = "http://loinc.org|"
QUERIES = (
    "metadata",
    "Observation?_count=10",
    "Observation?_count=1&_total=accurate",
    f"Observation?code={LOINC}8480-6&_count=1&_total=accurate",
    f"Observation?combo-code={LOINC}8480-6&_count=1&_total=accurate",
    "Patient?gender=male&_count=5&_total=accurate",
    "Patient?family=S&_count=5",
    "Patient?given=A&_count=5",
    "Patient?gender=female&family=B&_count=5",
    f"Observation?code={LOINC}8302-2&_count=5&_total=accurate",
    f"Observation?code={LOINC}29463-7&_count=5&_total=accurate",
    f"Observation?code={LOINC}72514-3&_count=5&_total=accurate",
    "Observation?date=ge2020-01-01&_count=5",
    "Patient/{Patient}",
    "Patient?family={family}&_count=5",
    "Observation?patient=Patient/{Patient}&_count=20",
    "Condition?patient=Patient/{Patient}",
    "Condition?code={condition}&_count=5",
    "Procedure?code={procedure}&_count=5",
    "Encounter?patient=Patient/{Patient}&_count=10",
    "MedicationRequest?patient=Patient/{Patient}&_count=10",
    "Encounter?participant=Practitioner/{Practitioner}&_count=10",
    "Encounter?location=Location/{Location}&_count=10",
    "Patient?_content=Smith&_count=5",
    "Observation?_content=blood&_count=5",
    "Condition?_content=hypertension&_count=5",
    "Patient?name:text=ohn&_count=5",
    "Patient?address:text=Boston&_count=5",
    "Patient?_text=Smith&_count=5",
    "Condition?code:text=hypertensive&_count=5",
)


class Mix:
    """The queries over one hub.

    Args:
        port: Of the hub on 127.0.0.1.
        token: Of the operator.
        seed: Of the draws.
    """

    def __init__(self, port: int, token: str, seed: int) -> None:
        self._port, self._draw = port, random.Random(seed)
        self._headers = {"authorization": f"Bearer {token}"}
        self._pools: dict[str, list[str]] = {}
        self.latencies: dict[str, list[float]] = defaultdict(list)  # seconds, by query
        self.errors: dict[str, int] = defaultdict(int)

    def harvest(self) -> None:
        """Fill the pools from what the hub holds."""
        for type in ("Patient", "Practitioner", "Location"):
            self._pools[type] = [r["id"] for r in self._resources(f"{type}?_count=500&_elements=id")]
        names = self._resources("Patient?_count=500&_elements=name")
        self._pools["family"] = [quote(r["name"][0]["family"]) for r in names if "name" in r]
        for name, type in (("condition", "Condition"), ("procedure", "Procedure")):
            found = self._resources(f"{type}?_count=500&_elements=code")
            codings = [r["code"]["coding"][0] for r in found if "coding" in r.get("code", {})]
            self._pools[name] = sorted({f"{quote(c['system'], safe='')}|{c['code']}" for c in codings})

    def _resources(self, query: str) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{self._port}/fhir/{query}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=self._headers)) as answer:
            return [entry["resource"] for entry in json.load(answer).get("entry", ())]

    def _request(self, query: str) -> bytes:
        made = query
        for name, pool in self._pools.items():
            if f"{{{name}}}" in made:
                made = made.replace(f"{{{name}}}", self._draw.choice(pool))
        return http_request("GET", "/fhir/" + made.replace("|", "%7C"), self._headers)

    async def run(self, clients: int, seconds: float) -> float:
        """Ask on `clients` connections, each the next query when the last is answered; return answers per second."""
        end = time.perf_counter() + seconds

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                while (began := time.perf_counter()) < end:
                    query = self._draw.choice(QUERIES)
                    writer.write(self._request(query))
                    status, _ = await read_answer(reader)
                    if status == 200:
                        self.latencies[query].append(time.perf_counter() - began)
                    else:
                        self.errors[query] += 1
            finally:
                writer.close()

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return sum(map(len, self.latencies.values())) / (time.perf_counter() - began)


def show(mix: Mix, rate: float) -> None:
    """Print a line for each query and one for all."""
    print(f"{'query':<72}{'answers':>8}{'p50 ms':>9}{'p95 ms':>9}{'errors':>8}")
    for query in QUERIES:
        print(line(query, mix.latencies[query], mix.errors[query]))
    every = [latency for latencies in mix.latencies.values() for latency in latencies]
    print(line(f"all, {rate:.0f} answers/s", every, sum(mix.errors.values())))


def line(name: str, latencies: list[float], errors: int) -> str:
    """Return a line of the table."""
    ordered = sorted(latencies) or [float("nan")]
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"{name:<72}{len(latencies):>8}{statistics.median(ordered) * 1000:>9.2f}{p95 * 1000:>9.2f}{errors:>8}"


def main() -> None:
    """Load the folder into a new store (or take `--store`), start the hub, ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="Synthea bundles to load first")
    parser.add_argument("--store", help="a store that is loaded already, in place of a folder")
    parser.add_argument("--copies", type=int, default=0, help="load each patient this many times, under new ids")
    parser.add_argument("--each", type=int, default=20, help="resources of a patient that is copied")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 64], help="connections at once")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a run")
    parser.add_argument("--seed", type=int, default=1, help="of the draws")
    args = parser.parse_args()
    on_core(CLIENTS)()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        store, port = args.store or f"sqlite:///{folder}/hub.db", free_port()
        if args.folder is not None and args.copies:
            lines = Path(folder) / "copies.ndjson"
            patients = write_copies(args.folder, lines, copies=args.copies, each=args.each)
            print(f"{patients} patients of {args.each} resources at most")
            subprocess.run([HERE / "predmp", "load", "--store", store, lines], check=True)
        elif args.folder is not None:
            subprocess.run([HERE / "predmp", "load", "--store", store, args.folder], check=True)
        elif not args.store:
            parser.error("a folder to load, or --store")
        token = subprocess.run(
            [HERE / "predmp", "token", "--store", store, "--scope", "system/*.rs"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        command = [str(HERE / "predmp"), "serve", "--http", f"127.0.0.1:{port}"]
        command += ["--mllp", f"127.0.0.1:{free_port()}", "--store", store]
        with running(command, port, {"PREDMP_ZONE": os.environ.get("PREDMP_ZONE", "UTC")}):
            for clients in args.clients:
                mix = Mix(port, token, args.seed)
                mix.harvest()
                asyncio.run(mix.run(clients, 1.0))  # warm
                mix.latencies.clear()
                mix.errors.clear()
                print(f"\n{clients} clients")
                show(mix, asyncio.run(mix.run(clients, args.seconds)))
                sys.stdout.flush()


if __name__ == "__main__":
    main()

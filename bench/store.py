"""`python -m bench.store`: the SQLite store in one process, beside one bare table through apsw.

The bare table keeps body and id, has one index (patient, code, date), and commits as the store does: FULL, one
commit for all that wait. Rates are per second; alone they say little, since disks differ: the ratio counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

import apsw

from bench.payload import observation
from fhir_server.search.extract import Indexer
from fhir_server.search.parse import parse
from fhir_server.search.query import Query
from fhir_server.search.values import Indexed, Period
from fhir_server.store.protocol import Transaction, Write
from fhir_server.store.sqlite import SqliteStore

TENANT = "bench"
BATCH = 64  # creations at a time


class Prepared(NamedTuple):
    """A resource ready to be stored, so that only storing is measured."""

    id: str
    body: bytes
    write: Write


def prepared(count: int) -> list[Prepared]:
    """Return Observations of 100 patients."""
    index = Indexer()
    made = []
    for number in range(count):
        id, body = f"{number:012x}{os.urandom(10).hex()}", observation(number)
        made.append(Prepared(id, body, Write("Observation", id, 1, number, "POST", body, index(json.loads(body)))))
    return made


class Bare:
    """What SQLite alone would do."""

    def __init__(self, path: str) -> None:
        self.connection = apsw.Connection(path)
        self.connection.execute(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE bare (id TEXT PRIMARY KEY, patient TEXT, code TEXT, at TEXT, body BLOB);"
            "CREATE INDEX timeline ON bare (patient, code, at)"
        ).fetchall()

    def create(self, items: list[Prepared]) -> None:
        """Store some in one commit."""
        self.connection.execute("BEGIN IMMEDIATE")
        for item in items:
            resource = json.loads(item.body)
            row = (item.id, resource["subject"]["reference"], "85354-9", resource["effectiveDateTime"], item.body)
            self.connection.execute("INSERT INTO bare VALUES (?, ?, ?, ?, ?)", row)
        self.connection.execute("COMMIT")

    def read(self, id: str) -> None:
        """Fetch one."""
        assert self.connection.execute("SELECT body FROM bare WHERE id = ?", (id,)).fetchone()

    def search(self, number: int) -> None:
        """Fetch the newest 20 of a patient."""
        sql = "SELECT id, body FROM bare WHERE patient = ? AND code = ? ORDER BY at DESC LIMIT 20"
        self.connection.execute(sql, (f"Patient/p{number % 100}", "85354-9")).fetchall()


async def create(store: SqliteStore, item: Prepared) -> None:
    """Store one through the store."""

    async def work(tx: Transaction) -> None:
        await tx.put(item.write)

    await store.transact(TENANT, work)


async def read(store: SqliteStore, id: str) -> None:
    """Fetch one through the store."""
    async with store.view(TENANT) as view:
        assert await view.read("Observation", id)


async def search(store: SqliteStore, query: Query) -> None:
    """Fetch the newest 20 of a patient and code through the store."""
    async with store.view(TENANT) as view:
        await view.search(query)


def questions() -> list[Query]:
    """Return the search of each patient."""
    text = "patient=Patient/p{}&code=http://loinc.org|85354-9&_sort=-date&_count=20&_total=none"
    return [
        parse(("Observation",), parse_qsl(text.format(n)), zone="Europe/Paris", now=1_790_000_000_000_000)
        for n in range(100)
    ]


async def rate(count: int, run: Callable[[int], Awaitable[object] | None]) -> float:
    """Return how often a second something is done."""
    begin = time.perf_counter()
    for number in range(count):
        done = run(number)
        if done is not None:
            await done
    return count / (time.perf_counter() - begin)


async def measure(folder: Path, count: int) -> list[tuple[str, float, float]]:
    """Return (what, rate of the bare table, rate of the store)."""
    items = prepared(count * 2)
    bare = Bare(str(folder / "bare.db"))
    store = SqliteStore(str(folder / "hub.db"), index=Indexer())
    await store.open()
    asked = questions()
    alone, many = items[: count // 8], items[count // 8 :]
    batches = [many[at : at + BATCH] for at in range(0, len(many), BATCH)]
    ids = [item.id for item in items]
    try:
        rows = [
            (
                "create, one at a time",
                await rate(len(alone), lambda n: bare.create([alone[n]])),
                await rate(len(alone), lambda n: create(store, alone[n])),
            ),
            (
                f"create, {BATCH} at a time",
                BATCH * await rate(len(batches), lambda n: bare.create(batches[n])),
                BATCH * await rate(len(batches), lambda n: asyncio.gather(*(create(store, i) for i in batches[n]))),
            ),
            (
                "read by id",
                await rate(count, lambda n: bare.read(ids[n * 7919 % len(ids)])),
                await rate(count, lambda n: read(store, ids[n * 7919 % len(ids)])),
            ),
            (
                "newest 20 of a patient and code",
                await rate(count, lambda n: bare.search(n)),
                await rate(count, lambda n: search(store, asked[n % 100])),
            ),
        ]
    finally:
        await store.close()
        bare.connection.close()
    sizes = [(folder / name).stat().st_size / len(items) for name in ("bare.db", "hub.db")]
    return [*rows, ("bytes on disk a resource", sizes[0], sizes[1])]


# --- history ----------------------------------------------------------------------------------------------

FEW = 10_000  # Observations that are there first
PATIENT = "patient=Patient/p{}&code=http://loinc.org|85354-9"
CHARTS = (
    ("newest 20 of a patient and code", PATIENT + "&_sort=-date&_count=20&_total=none"),
    ("oldest 20 of a patient and code", PATIENT + "&_sort=date&_count=20&_total=none"),
    ("20 of a patient and code, any order", PATIENT + "&_count=20&_total=none"),
    ("20 of a patient, code and day", PATIENT + "&date=2026-01-01&_sort=-date&_count=20&_total=none"),
    ("newest 20 of a patient", "patient=Patient/p{}&_sort=-date&_count=20&_total=none"),
)
SORTS = ("_id", "-_lastUpdated", "code", "-subject", "combo-value-quantity", "patient.name")


def histories(first: int, last: int) -> Iterator[Write]:
    """Return Observations of 100 patients, like those of `prepared` but made faster."""
    index = Indexer()
    templates = [(body, index(json.loads(body))) for body in map(observation, range(100))]
    for number in range(first, last):
        body, indexed = templates[number % 100]
        date = observation(number).split(b'"effectiveDateTime":"', 1)[1].split(b'"', 1)[0]
        lo = int(datetime.fromisoformat(date.decode()).timestamp() * 1_000_000)
        values = {**indexed.values, "date": (Period(lo, lo + 1_000_000),)}
        yield Write("Observation", f"{number:x}", 1, number, "POST", body, Indexed(values, indexed.owners))


async def fill(store: SqliteStore, first: int, last: int) -> None:
    """Store them, 1,000 to a transaction."""
    writes = histories(first, last)
    while part := list(islice(writes, 1_000)):

        async def work(tx: Transaction, part: list[Write] = part) -> None:
            for write in part:
                await tx.put(write)

        await store.transact(TENANT, work)


async def median_ms(store: SqliteStore, text: str, times: int) -> float:
    """Return the median of how long a search takes, of one patient after the other."""
    asked = [
        parse(("Observation",), parse_qsl(text.format(n)), zone="Europe/Paris", now=1_790_000_000_000_000)
        for n in range(100)
    ]
    took = []
    for number in range(times):
        begin = time.perf_counter()
        await search(store, asked[number % 100])
        took.append(time.perf_counter() - begin)
    return statistics.median(took) * 1_000


async def grow(folder: Path, most: int) -> None:
    """Print what charts cost over a short history and over a long one, and what sorting costs over all."""
    store = SqliteStore(str(folder / "hub.db"), index=Indexer())
    await store.open()
    try:
        await fill(store, 0, FEW)
        short = [await median_ms(store, text, 400) for _, text in CHARTS]
        await fill(store, FEW, most)
        for (name, text), before in zip(CHARTS, short, strict=True):
            after = await median_ms(store, text, 400)
            print(f"{name:38} {FEW:,}: {before:7.3f} ms   {most:,}: {after:7.3f} ms   ratio {after / before:5.2f}")
        for sort in SORTS:
            print(f"first 20 by {sort:26} {await median_ms(store, f'_sort={sort}&_count=20&_total=none', 3):9.1f} ms")
    finally:
        await store.close()


def main() -> None:
    """Print the medians of some rounds."""
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--count", type=int, default=4_000, help="resources in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--history", type=int, metavar="N", help=f"compare charts over {FEW:,} and N Observations")
    arguments = parser.parse_args()
    if arguments.history:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            asyncio.run(grow(Path(folder), arguments.history))
        return
    rounds = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory(dir=".") as folder:
            rounds.append(asyncio.run(measure(Path(folder), arguments.count)))
    for results in zip(*rounds, strict=True):
        ratios = [ours / bare for _, bare, ours in results]
        bare, ours = (statistics.median(result[column] for result in results) for column in (1, 2))
        print(f"{results[0][0]:34} bare {bare:9,.0f}   store {ours:9,.0f}   ratio {statistics.median(ratios):5.2f}")


if __name__ == "__main__":
    main()

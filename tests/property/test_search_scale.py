"""Ten thousand generated queries over all synthetic patients: the store answers as naive evaluation does.

`PREDMP_FULL=1` runs them (half an hour of a core); without it a part runs over a few patients. The run is made of seeds,
each with queries of its own: `PREDMP_SEEDS=12:40` runs those from the twelfth on, to go on where a run was broken off.
`PREDMP_PATIENTS=25` takes the 25 smallest patients only.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

from fhir_server import gate
from fhir_server.model import Visibility
from fhir_server.search.match import Node
from fhir_server.search.query import Query
from fhir_server.store.protocol import Store, Transaction, Write
from fhir_server.store.sqlite import SqliteStore
from tests import synthea
from tests.naive import Naive, Stored
from tests.property.test_search_oracle import INDEX, IS_FULL, NOW, TENANT, asked, opened, sights
from tests.strategies import Questions

PATIENTS: Final = int(os.environ.get("PREDMP_PATIENTS", "0" if IS_FULL else "8")) or None
SEEDS: Final = range(*map(int, os.environ.get("PREDMP_SEEDS", "0:40" if IS_FULL else "100:102").split(":")))
QUERIES: Final = 250 if IS_FULL else 200  # of a seed
MOST_PAGES: Final = 4  # of a walk; the longest walks are those of the contract


async def fill(store: Store) -> list[Stored]:
    """Store all resources, 500 to a transaction; return them as they are stored."""
    made: list[Stored] = []
    batch: list[Write] = []

    async def work(tx: Transaction) -> list[int]:
        return [(await tx.put(write)).seq for write in batch]

    async def flush() -> None:
        seqs = await store.transact(TENANT, work)
        for write, seq in zip(batch, seqs, strict=True):
            node = Node(write.type, write.id, write.indexed.values, write.body)
            made.append(Stored(node, write.indexed.owners, seq, write.at))
        batch.clear()

    for n, resource in enumerate(synthea.resources(PATIENTS)):
        type, id, indexed = resource["resourceType"], resource["id"], INDEX(resource)
        batch.append(Write(type, id, 1, NOW + n, "POST", gate.write(resource), indexed))
        if len(batch) == 500:
            await flush()
    await flush()
    return made


def queries(questions: Questions, random: Random) -> Iterator[tuple[str, Query]]:
    """Yield queries with a name: parameters as they stand in urls, and clauses that nest."""
    while True:
        count = random.choice([1_000, 100, 100, 7])
        if random.random() < 0.75:
            url = questions.query()
            yield url, replace(asked(url), count=count)
        else:
            type, clause = questions.nested(asked)
            keys = questions.sort(type) if random.random() < 0.5 else ""
            sorts = asked(f"{type}?_sort={keys}").sort if keys else ()
            yield f"{type} {clause} {keys}", Query((type,), (clause,), sorts, count)


async def differs(store: Store, expected: list[str], query: Query, see: Visibility) -> str:
    """Return in what the store's answer differs from what is expected; "" where it does not."""
    async with store.view(TENANT) as view:
        counted = await view.count(query.types, query.where, see=see)
        found: list[str] = []
        for _ in range(MOST_PAGES):
            page = await view.search(query, see=see)
            found += [version.reference for version in page.versions]
            if page.total != len(expected) or counted != len(expected):
                return f"total {page.total}, count {counted}, expected {len(expected)}"
            if page.after is None:
                break
            query = replace(query, after=page.after, total="accurate")
        else:
            expected = expected[: len(found)]
    return "" if found == expected else f"expected {expected[:5]}, store {found[:5]}"


@asynccontextmanager
async def loaded(folder: Path) -> AsyncIterator[tuple[Store, list[Stored]]]:
    async with opened(SqliteStore(str(folder / "hub.db"), index=INDEX, search_seconds=120)) as store:
        yield store, await fill(store)


async def test_the_store_agrees_with_naive_evaluation_at_scale(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (store, stored):
        naive, nodes = Naive(stored), [each.node for each in stored]
        visible = sights(nodes, Random(1))
        differences: list[str] = []
        ran = hits = 0
        for seed in SEEDS:
            random, begin = Random(seed), time.monotonic()
            questions = Questions(nodes, random)
            for (name, query), _ in zip(queries(questions, random), range(QUERIES), strict=False):
                see = random.choice(visible)
                ran += 1
                expected = naive.search(query, see)
                hits += bool(expected)
                if difference := await differs(store, expected, query, see):
                    differences.append(f"seed {seed}: {name[:600]} {query.sort}\n  {difference}")
            took = f"{time.monotonic() - begin:.0f} s"
            print(f"seed {seed}: {ran} queries, {hits} found something, {len(differences)} differ, {took}", flush=True)
    assert not differences, f"{len(differences)} of {ran} differ:\n" + "\n".join(differences[:20])
    assert ran == QUERIES * len(SEEDS) and hits > ran // 2, f"only {hits} of {ran} queries found something"

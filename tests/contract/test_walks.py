"""Walks over all pages while eight writers run: each match comes once, whatever the order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from random import Random

import pytest

from fhir_server import gate
from fhir_server.search.dates import span
from fhir_server.search.query import Query
from fhir_server.search.values import Reference, Text, Token
from fhir_server.store.protocol import Store, Transaction
from tests.contract.small import PARIS, TENANT, Maker, asked, found, put

MATCHES, WRITERS, PAGE = 120, 8, 9


def facts(random: Random, code: str) -> dict[str, object]:
    return {
        "code": Token("u", code),
        "date": span(f"2026-0{random.randint(1, 3)}", PARIS),
        "value-string": Text(random.choice(["eins", "zwei", "drei"])),
        "patient": Reference("Patient", random.choice("12")),
    }


@pytest.fixture
async def world(store: Store, maker: Maker) -> Store:
    random = Random(1)
    await put(
        store,
        maker.write("Patient/1", owners=("1",), values={"name": Text("Ève")}),
        maker.write("Patient/2", owners=("2",), values={"name": Text("Zoé")}),
        *(maker.write(f"Observation/m{n}", values=facts(random, "match")) for n in range(MATCHES)),  # type: ignore[arg-type]
        *(maker.write(f"Observation/o{n}", values=facts(random, "other")) for n in range(WRITERS * 3)),  # type: ignore[arg-type]
    )
    return store


Work = Callable[[Transaction, Random, int], object]


@asynccontextmanager
async def writing(store: Store, maker: Maker, targets: list[str]) -> AsyncIterator[Counter[str]]:
    """Have eight writers create matches and others, replace their own targets, delete and restore others."""
    done: Counter[str] = Counter()
    ending, numbers = asyncio.Event(), count()

    async def writer(number: int) -> None:
        random = Random(number)
        own = [target for n, target in enumerate(targets) if n % WRITERS == number]
        while not ending.is_set():
            act = random.choice(["create", "match", "replace", "delete"])
            id = random.choice(own)

            async def work(tx: Transaction, act: str = act, id: str = id) -> None:
                if act in ("create", "match"):
                    new = f"Observation/n{next(numbers)}"
                    await tx.put(maker.write(new, values=facts(random, "other" if act == "create" else "match")))  # type: ignore[arg-type]
                    return
                current = await tx.read("Observation", id)
                assert current is not None
                if act == "delete" and id.startswith("o") and not current.is_deleted:
                    await tx.put(maker.deletion(current.reference, current.version + 1))
                    return
                values = facts(Random(id), "match" if id.startswith("m") else "other")
                await tx.put(maker.write(current.reference, current.version + 1, values=values))  # type: ignore[arg-type]

            await store.transact(TENANT, work)
            done[act] += 1
            await asyncio.sleep(0)

    writers = [asyncio.create_task(writer(number)) for number in range(WRITERS)]
    try:
        yield done
    finally:
        ending.set()
        await asyncio.gather(*writers)


async def walk(store: Store, query: Query, done: Counter[str]) -> list[str]:
    """Return the ids of all pages, each page in a state of its own, later than some writes."""
    ids: list[str] = []
    while True:
        before = done.total()
        page = await found(store, query)
        ids += [version.id for version in page.versions]
        if page.after is None:
            return ids
        query = replace(query, after=tuple(gate.parse(gate.write(list(page.after)))))
        while done.total() < before + WRITERS:
            await asyncio.sleep(0.001)


SORTS = ["", "date", "-date", "_id", "value-string,-date", "code", "patient.name"]


@pytest.mark.parametrize("sort", SORTS, ids=[sort or "none" for sort in SORTS])
async def test_each_match_comes_once_while_others_are_written(world: Store, maker: Maker, sort: str) -> None:
    query = asked("Observation", f"code=match&_count={PAGE}&_total=none{f'&_sort={sort}' if sort else ''}")
    async with writing(world, maker, [f"o{n}" for n in range(WRITERS * 3)]) as done:
        ids = await walk(world, query, done)
    assert len(ids) == len(set(ids)), "none comes twice"
    assert {id for id in ids if id.startswith("m")} == {f"m{n}" for n in range(MATCHES)}, "none is left out"
    assert not [id for id in ids if id.startswith("o")]
    assert min(done[act] for act in ("create", "match", "replace", "delete")) > 0


@pytest.mark.parametrize("sort", ["_id", "-_id"])
async def test_by_id_each_match_comes_once_while_the_matches_are_replaced(
    world: Store, maker: Maker, sort: str
) -> None:
    query = asked("Observation", f"code=match&_count={PAGE}&_total=none&_sort={sort}")
    async with writing(world, maker, [f"m{n}" for n in range(MATCHES)]) as done:
        ids = await walk(world, query, done)
    assert len(ids) == len(set(ids))
    assert {id for id in ids if id.startswith("m")} == {f"m{n}" for n in range(MATCHES)}
    assert done["replace"] > 0

"""Search over synthetic patients: the store agrees with naive evaluation, and both with a third party's totals.

The generated queries run on the smallest patients. `PREDMP_FULL=1` loads all 120 and compares the totals of
`search_oracle.json`, which were made by another server and a naive evaluation of the raw JSON.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

import pytest

from fhir_server import gate
from fhir_server.errors import FhirError
from fhir_server.model import EVERYTHING, Resource, Visibility
from fhir_server.search.extract import Indexer
from fhir_server.search.match import Node
from fhir_server.search.parse import parse
from fhir_server.search.query import Query
from fhir_server.search.values import Indexed
from fhir_server.store.memory import MemoryStore
from fhir_server.store.protocol import Store, Transaction, Write
from fhir_server.store.sqlite import SqliteStore
from tests import synthea
from tests.filters import Filters
from tests.strategies import Questions
from tests.worlds import World

FEW: Final = 6  # patients, the smallest ones
SEEDS: Final = 4
QUERIES: Final = 260  # of each seed
NOW: Final = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z
BASE: Final = "http://hub.example/fhir"
TENANT: Final = "north"
INDEX: Final = Indexer("UTC", BASE)
IS_FULL: Final = os.environ.get("PREDMP_FULL") == "1"


def asked(url: str) -> Query:
    type, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    return parse((type,), pairs, zone="UTC", now=NOW, base_url=BASE, count=1_000)


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def fill(stores: Sequence[Store], resources: Iterable[Resource]) -> list[Node]:
    """Store the resources in all stores, 500 to a transaction; return them as search sees them."""
    nodes: list[Node] = []
    batch: list[Write] = []

    async def work(tx: Transaction) -> None:
        for write in batch:
            await tx.put(write)

    async def flush() -> None:
        for store in stores:
            await store.transact(TENANT, work)
        batch.clear()

    for n, resource in enumerate(resources):
        indexed: Indexed = INDEX(resource)
        type, id = resource["resourceType"], resource["id"]
        body = gate.write(resource)
        nodes.append(Node(type, id, indexed.values, body))
        batch.append(Write(type, id, 1, NOW + n, "POST", body, indexed))
        if len(batch) == 500:
            await flush()
    await flush()
    return nodes


def is_recent(resource: Resource) -> bool:
    """A part of a record: what names no year before 2015."""
    return not re.search(r'"(19\d\d|200\d|201[0-4])-', gate.write(resource).decode())


def sights(nodes: Sequence[Node], random: Random) -> list[Visibility]:
    """What some actors may see: everything, some records, parts of some, and only some types."""
    patients = sorted(node.id for node in nodes if node.type == "Patient")
    half = frozenset(random.sample(patients, len(patients) // 2))
    rest = {patient: is_recent for patient in patients if patient not in half}
    types = frozenset({"Patient", "Observation", "Encounter"})
    return [EVERYTHING, EVERYTHING, Visibility(half), Visibility(half, rest), Visibility(None, types=types)]


async def answer(store: Store, query: Query, see: Visibility) -> tuple[list[str], int | None, int]:
    """Return (references in order over all pages, total, count)."""
    found: list[str] = []
    async with store.view(TENANT) as view:
        counted = await view.count(query.types, query.where, see=see)
        while True:
            page = await view.search(query, see=see)
            found += [version.reference for version in page.versions]
            if page.after is None:
                return found, page.total, counted
            query = replace(query, after=page.after)


async def whole(store: Store, query: Query, see: Visibility) -> list[str]:
    """Return the references found, in order, on one page."""
    async with store.view(TENANT) as view:
        return [v.reference for v in (await view.search(replace(query, count=100_000), see=see)).versions]


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_the_store_agrees_with_naive_evaluation_on_generated_queries(seed: int, tmp_path: Path) -> None:
    memory, sqlite = MemoryStore(index=INDEX), SqliteStore(str(tmp_path / "hub.db"), index=INDEX)
    async with opened(memory), opened(sqlite):
        nodes = await fill((memory, sqlite), synthea.resources(FEW))
        random = Random(seed)
        questions, visible = Questions(nodes, random), sights(nodes, random)
        differences: list[str] = []
        hits = ran = 0
        while ran < QUERIES:
            url, see = questions.query(), random.choice(visible)
            query = replace(asked(url), count=random.choice([1_000, 1_000, 1_000, 7]))
            naive = await whole(memory, query, see)
            stored, *totals = await answer(sqlite, query, see)
            ran += 1
            hits += bool(naive)
            if naive != stored or totals != [len(naive)] * 2:
                differences.append(f"{url}\n  naive {len(naive)} {naive[:5]}\n  store {totals} {stored[:5]}")
    assert not differences, f"{len(differences)} of {ran} differ:\n" + "\n".join(differences[:10])
    assert hits > QUERIES // 2, f"only {hits} of {ran} queries found something"


LANGUAGE: Final = 250  # filters, full text questions and chained sorts


def language(nodes: Sequence[Node], random: Random) -> Iterator[tuple[str, str]]:
    """Yield (type, query) of what the search language has beyond parameters and their modifiers."""
    made = Filters(list(nodes), random)
    chains = [
        "patient.birthdate",
        "subject:Patient.family",
        "encounter.date",
        "patient.gender",
        "encounter.service-provider.name",
    ]
    while True:
        node = random.choice(nodes)
        pairs = [("_filter", made.expression(node))] if random.random() < 0.8 else [("_content", made.words(node))]
        if random.random() < 0.2:
            pairs.append(("_content" if pairs[0][0] == "_filter" else "_filter", made.words(node)))
        if pairs[-1][0] == "_filter" and len(pairs) > 1:
            pairs[-1] = ("_filter", made.expression(node))
        if node.type in ("Observation", "Condition", "Procedure") and random.random() < 0.5:
            pairs.append(("_sort", random.choice(["", "-"]) + random.choice(chains) + random.choice(["", ",_id"])))
        yield node.type, "&".join(f"{name}={quote(value)}" for name, value in pairs)


async def test_the_store_agrees_with_naive_evaluation_on_the_search_language(tmp_path: Path) -> None:
    memory, sqlite = MemoryStore(index=INDEX), SqliteStore(str(tmp_path / "hub.db"), index=INDEX)
    async with opened(memory), opened(sqlite):
        random = Random(7)
        nodes = await fill((memory, sqlite), synthea.resources(FEW))
        visible, differences, hits = sights(nodes, random), [], 0
        for (type, text), _ in zip(language(nodes, random), range(LANGUAGE), strict=False):
            see = random.choice(visible)
            query = replace(asked(f"{type}?{text}"), count=random.choice([1_000, 1_000, 7]))
            naive = await whole(memory, query, see)
            stored, *totals = await answer(sqlite, query, see)
            hits += bool(naive)
            if naive != stored or totals != [len(naive)] * 2:
                differences.append(
                    f"{type}?{unquote(text)}\n  naive {len(naive)} {naive[:5]}\n  store {totals} {stored[:5]}"
                )
    assert not differences, f"{len(differences)} of {LANGUAGE} differ:\n" + "\n".join(differences[:10])
    assert hits > LANGUAGE // 2, f"only {hits} found something"


def cases() -> list[dict[str, Any]]:
    """The third party's searches."""
    if not synthea.ORACLE.is_file():
        pytest.skip("the totals of another server are not here (../shared/data/search_oracle.json)")
    every: list[dict[str, Any]] = json.loads(synthea.ORACLE.read_text())
    return every


def resolved(url: str, find: Callable[[str], str | None]) -> str | None:
    """Put ids in the place of `{{Type?query}}`; None where one is not there."""
    ids = {text: find(text) for text in re.findall(r"\{\{(.*?)\}\}", url)}
    if None in ids.values():
        return None
    return re.sub(r"\{\{(.*?)\}\}", lambda found: ids[found[1]] or "", url)


def _finder(world: World) -> Callable[[str], str | None]:
    def find(url: str) -> str | None:
        query = asked(url)
        found = world.matching(query.types, query.where)
        return found[0].id if len(found) == 1 else None

    return find


async def test_the_store_agrees_with_naive_evaluation_on_the_third_partys_queries(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "hub.db"), index=INDEX)
    async with opened(store):
        world = World(await fill((store,), synthea.resources(FEW)))
        differences, ran = [], 0
        for case in cases():
            if (url := resolved(case["query"], _finder(world))) is None:
                continue
            query = asked(url)
            naive = {f"{n.type}/{n.id}" for n in world.matching(query.types, query.where)}
            found, total, counted = await answer(store, query, EVERYTHING)
            ran += 1
            if set(found) != naive or not len(naive) == len(found) == total == counted:
                differences.append(f"{url}: naive {len(naive)}, store {len(found)}, total {total}, count {counted}")
    assert not differences, f"{len(differences)} of {ran} differ:\n" + "\n".join(differences[:20])
    assert ran > 300


@pytest.mark.skipif(not IS_FULL, reason="takes two minutes: set PREDMP_FULL=1 to load all 120 patients")
async def test_naive_evaluation_and_the_store_give_the_third_partys_totals(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "hub.db"), index=INDEX)
    async with opened(store):
        world = World(await fill((store,), synthea.resources(None)))
        find, differences = _finder(world), []
        for case in cases():
            url = resolved(case["query"], find)
            assert url is not None, case["query"]
            query = asked(url)
            naive = len(world.matching(query.types, query.where))
            async with store.view(TENANT) as view:
                page = await view.search(replace(query, count=10))
            if not naive == page.total == case["total"]:
                differences.append(f"{url}: naive {naive}, store {page.total}, third party {case['total']}")
            if "first" in case:
                first = [_at(gate.load(version.body), case["first_path"]) for version in page.versions]
                if json.dumps(first, default=float) != json.dumps(case["first"]):
                    differences.append(f"{url}: first {first}, third party {case['first']}")
    assert not differences, "\n".join(differences)


def _at(resource: Any, path: str) -> Any:
    """Return what stands at a path such as `name.0.family`, or several such joined by +."""
    if "+" in path:
        return [_at(resource, part) for part in path.split("+")]
    for step in path.split("."):
        resource = resource[int(step)] if isinstance(resource, list) else resource[step]
    return resource


def test_a_refused_query_is_no_silent_hole() -> None:
    """The generator makes only queries that are understood; this is what the others look like."""
    with pytest.raises(FhirError):
        asked("Patient?nonsense=1")

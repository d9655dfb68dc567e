"""Search in MongoDB agrees with naive evaluation, on generated queries over synthetic patients."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Final

import pytest

from fhir_server.store.memory import MemoryStore
from fhir_server.store.mongo import MongoStore
from tests import mongo, synthea
from tests.property.test_search_oracle import INDEX, answer, asked, fill, opened, sights, whole
from tests.strategies import Questions

RESOURCES: Final = 400  # the wire server looks at each of them for each question
QUERIES: Final = int(os.environ.get("PREDMP_MONGO_QUERIES", "150"))  # of each seed


@pytest.fixture
def url() -> Iterator[str]:
    made = mongo.new_url()
    yield made
    mongo.drop(made)


@pytest.mark.parametrize("seed", range(2))
async def test_mongodb_agrees_with_naive_evaluation_on_generated_queries(seed: int, url: str) -> None:
    random = Random(seed)
    every = list(synthea.resources(3))
    resources = [one for one in every if one["resourceType"] in ("Patient", "Encounter", "Practitioner")]
    resources += random.sample([one for one in every if one not in resources], RESOURCES)
    memory, store = MemoryStore(index=INDEX), MongoStore(url, index=INDEX)
    async with opened(memory), opened(store):
        nodes = await fill((memory, store), resources)
        questions, visible = Questions(nodes, random), sights(nodes, random)
        differences: list[str] = []
        hits = 0
        for _ in range(QUERIES):
            text, see = questions.query(), random.choice(visible)
            query = replace(asked(text), count=random.choice([1_000, 1_000, 1_000, 7]))
            naive = await whole(memory, query, see)
            stored, *totals = await answer(store, query, see)
            hits += bool(naive)
            if naive != stored or totals != [len(naive)] * 2:
                differences.append(f"{text}\n  naive {len(naive)} {naive[:5]}\n  store {totals} {stored[:5]}")
    assert not differences, f"{len(differences)} of {QUERIES} differ:\n" + "\n".join(differences[:10])
    assert hits > QUERIES // 3, f"only {hits} of {QUERIES} queries found something"

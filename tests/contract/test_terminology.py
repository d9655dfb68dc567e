"""Codes are found by url on every store, with their supplements and maps, as of the state that is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fhir_server.store.memory import MemoryStore
from fhir_server.store.mongo import MongoStore
from fhir_server.store.protocol import Store
from fhir_server.store.sqlite import SqliteStore
from fhir_server.terminology.translation import Ask, maps_of, translate
from tests.terminology_world import INDEX, SYSTEM, CodeWorld, concept, include, system, value_set

URL = "http://example.org/vs"


@pytest.fixture
async def codes(engine: str, url: str) -> AsyncIterator[CodeWorld]:
    store: Store = MemoryStore(index=INDEX)
    if engine != "memory":
        store = MongoStore(url, index=INDEX) if engine == "mongo" else SqliteStore(url, index=INDEX)
    await store.open()
    yield CodeWorld(store)
    await store.close()


async def test_code_systems_value_sets_and_supplements_are_found_by_url(codes: CodeWorld) -> None:
    more = system(
        concept("wolf", designation=[{"language": "fr", "value": "Loup"}]),
        id="fr", url="http://example.org/fr", content="supplement", supplements=SYSTEM,
    )  # fmt: skip
    await codes.put(
        system(concept("dog", concept("wolf"))), value_set(include(rules=[("concept", "is-a", "dog")])), more
    )
    async with codes.view() as view:
        assert await codes.terminology.members(view, URL) == {(SYSTEM, "dog"), (SYSTEM, "wolf")}
        assert await codes.terminology.contains(view, URL, SYSTEM, "cat") is False
        assert await codes.terminology.below(view, SYSTEM, "dog") == {"dog", "wolf"}
        assert await codes.terminology.above(view, SYSTEM, "wolf") == {"dog", "wolf"}
        found = await codes.terminology.over(view).code_system(SYSTEM)
        assert found is not None
        assert [d.value for d in found.concepts["wolf"].designations] == ["Loup"]


async def test_the_newest_version_answers_from_the_next_state_on(codes: CodeWorld) -> None:
    await codes.put(system(concept("dog"), version="1"), value_set(include()))
    async with codes.view() as view:
        assert await codes.terminology.contains(view, URL, SYSTEM, "cat") is False
    await codes.put(system(concept("dog"), concept("cat"), id="newer", version="2"))
    async with codes.view() as view:
        assert await codes.terminology.contains(view, URL, SYSTEM, "cat") is True


async def test_maps_are_found_by_the_system_that_they_start_from_or_lead_to(codes: CodeWorld) -> None:
    target = {"code": "chien", "equivalence": "equivalent"}
    group = {"source": SYSTEM, "target": "http://example.org/fr", "element": [{"code": "dog", "target": [target]}]}
    await codes.put(
        {"resourceType": "ConceptMap", "id": "m", "url": "http://example.org/m", "status": "active", "group": [group]}
    )
    async with codes.view() as view:
        library = codes.terminology.over(view)
        for ask, expected in (
            (Ask(SYSTEM, "dog"), "chien"),
            (Ask("http://example.org/fr", "chien", is_reverse=True), "dog"),
        ):
            maps = await maps_of(library, ask)
            assert [t.concept["code"] for map in maps for t in await translate(library, map, ask)] == [expected]

"""What is settled before a store is asked: value sets, hierarchies, the bound of full text."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from fhir_server import gate
from fhir_server.errors import BadParameter, TooCostly
from fhir_server.interactions import resolve
from fhir_server.interactions.asking import RoomView
from fhir_server.interactions.resolve import SettledStore, implies_system
from fhir_server.model import EVERYTHING, Visibility
from fhir_server.search.extract import index
from fhir_server.search.parameters import parameter
from fhir_server.search.parse import parse
from fhir_server.search.query import Query
from fhir_server.store.memory import MemoryStore
from fhir_server.store.protocol import Transaction, Write
from fhir_server.terminology import Terminology

NOW = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z
SYSTEM = "http://codes.example/CodeSystem/animals"
TREE = [{"code": "animal", "concept": [{"code": "cat", "concept": [{"code": "lion"}]}, {"code": "dog"}]}]


def ask(types: str, pairs: list[tuple[str, str]], lenient: bool = False) -> Query:
    return parse((types,), pairs, zone="UTC", now=NOW, lenient=lenient)


def observation(id: str, code: str, **more: Any) -> dict[str, Any]:
    coding = {"system": SYSTEM, "code": code}
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"coding": [coding]}, **more}


RESOURCES: list[dict[str, Any]] = [
    {
        "resourceType": "CodeSystem",
        "id": "a",
        "url": SYSTEM,
        "status": "active",
        "content": "complete",
        "concept": TREE,
    },
    {
        "resourceType": "ValueSet",
        "id": "pets",
        "url": "http://codes.example/ValueSet/pets",
        "version": "2",
        "status": "active",
        "compose": {"include": [{"system": SYSTEM, "concept": [{"code": "cat"}, {"code": "dog"}]}]},
    },
    {"resourceType": "ValueSet", "id": "nameless", "status": "active"},
    {
        "resourceType": "ValueSet",
        "id": "done",
        "url": "http://codes.example/ValueSet/done",
        "status": "active",
        "compose": {"include": [{"system": "http://hl7.org/fhir/observation-status", "concept": [{"code": "final"}]}]},
    },
    {
        "resourceType": "ValueSet",
        "id": "every",
        "url": "http://codes.example/ValueSet/every",
        "status": "active",
        "compose": {"include": [{"system": SYSTEM}]},
    },
    {
        "resourceType": "ValueSet",
        "id": "elsewhere",
        "url": "http://codes.example/ValueSet/elsewhere",
        "status": "active",
        "compose": {
            "include": [{"system": "http://elsewhere.example"}, {"system": SYSTEM, "concept": [{"code": "dog"}]}]
        },
    },
    {
        "resourceType": "ValueSet",
        "id": "taken",
        "url": "http://codes.example/ValueSet/taken",
        "status": "active",
        "compose": {
            "include": [{"system": "http://elsewhere.example"}],
            "exclude": [{"system": "http://elsewhere.example", "concept": [{"code": "x"}]}],
        },
    },
    {
        "resourceType": "Procedure",
        "id": "there",
        "status": "completed",
        "code": {"coding": [{"system": "http://elsewhere.example", "code": "y"}]},
    },
    {
        "resourceType": "Procedure",
        "id": "here",
        "status": "completed",
        "code": {"coding": [{"system": SYSTEM, "code": "dog"}]},
    },
    {
        "resourceType": "Procedure",
        "id": "nowhere",
        "status": "completed",
        "code": {"coding": [{"system": SYSTEM, "code": "y"}]},
    },
    observation("cat", "cat"),
    observation("lion", "lion"),
    observation("other", "x", note=[{"text": "a dog barks"}]),
    {"resourceType": "Provenance", "id": "p", "target": [{"reference": "Observation/lion"}]},
]


@pytest.fixture
async def store() -> SettledStore:
    made = MemoryStore(index=index, clock=lambda: NOW)
    await made.open()

    async def work(tx: Transaction) -> None:
        for one in RESOURCES:
            await tx.put(Write(one["resourceType"], one["id"], 1, NOW, "PUT", gate.write(one), index(one)))

    await made.transact("north", work)
    return SettledStore(made, Terminology(), index)


async def found(store: SettledStore, type: str, query: str, see: Visibility = EVERYTHING) -> list[str]:
    async with store.view("north") as view:
        asked = ask(type, [tuple(part.split("=", 1)) for part in query.split("&")])  # type: ignore[misc]
        page = await view.search(asked, see=see)
        assert await view.count(asked.types, asked.where, see=see) == page.total == len(page.versions)
    return sorted(version.id for version in page.versions)


@pytest.mark.parametrize(
    ("type", "query", "expected"),
    [
        ("Observation", "code:in=http://codes.example/ValueSet/pets", ["cat"]),
        ("Observation", "code:in=http://codes.example/ValueSet/pets|2", ["cat"]),
        ("Observation", "code:in=ValueSet/pets", ["cat"]),
        ("Observation", "code:not-in=ValueSet/pets", ["lion", "other"]),
        ("Observation", f"code:below={SYSTEM}|cat", ["cat", "lion"]),
        ("Observation", f"code:above={SYSTEM}|lion", ["cat", "lion"]),
        ("Observation", f"code:below={SYSTEM}|dog,{SYSTEM}|lion", ["lion"]),
        ("Observation", "status:in=ValueSet/done", ["cat", "lion", "other"]),
        ("Observation", "status:not-in=ValueSet/done", []),
        ("Procedure", "code:in=ValueSet/elsewhere", ["here", "there"]),
        ("Procedure", "code:not-in=ValueSet/elsewhere", ["nowhere"]),
        ("Observation", f"_filter=not (code ss {SYSTEM}|cat)", ["other"]),
        ("Provenance", f"target:Observation.code:below={SYSTEM}|cat", ["p"]),
        ("Observation", "_has:Provenance:target:_id=p&code:not-in=ValueSet/pets", ["lion"]),
    ],
)
async def test_a_terminology_answers_first(store: SettledStore, type: str, query: str, expected: list[str]) -> None:
    assert await found(store, type, query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "code:in=http://codes.example/ValueSet/none",
        "code:in=http://codes.example/ValueSet/pets|3",
        "code:in=ValueSet/none",
        "code:in=ValueSet/nameless",
        "code:in=ValueSet/taken",
        "code:below=http://codes.example/none|1",
    ],
)
async def test_what_no_terminology_knows_is_refused(store: SettledStore, query: str) -> None:
    with pytest.raises(BadParameter):
        await found(store, "Observation", query)


async def test_a_value_set_that_may_not_be_seen_is_unknown(store: SettledStore) -> None:
    with pytest.raises(BadParameter):
        await found(store, "Observation", "code:in=ValueSet/pets", Visibility(None, types=frozenset({"Observation"})))


async def test_rooms_and_transactions_ask_the_same_way(store: SettledStore) -> None:
    async with store.view("north") as view:
        rooms = await RoomView(view, ask).find(f"Observation?code:below={SYSTEM}|cat")
    assert sorted(one["id"] for one in rooms) == ["cat", "lion"]

    async def work(tx: Transaction) -> int:
        assert tx.now > 0
        query = ask("Observation", [("code:in", "ValueSet/pets")])
        return await tx.count(query.types, query.where)

    assert await store.transact("north", work) == 1


async def test_all_codes_of_a_large_system_are_asked_for_by_the_system(
    store: SettledStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "MOST_CODES", 2)
    assert await found(store, "Observation", "code:in=ValueSet/every") == ["cat", "lion", "other"]
    monkeypatch.setattr(resolve, "MOST_CODES", 5_000)
    assert await found(store, "Observation", "code:in=ValueSet/every") == ["cat", "lion"]  # one has a code that is none


async def test_a_value_set_beyond_the_bound_is_refused(store: SettledStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "MOST_CODES", 1)
    with pytest.raises(TooCostly, match="smaller value set"):
        await found(store, "Observation", "code:in=ValueSet/pets")


@pytest.mark.parametrize(
    ("type", "query", "is_refused"),
    [
        ("Observation", "_content=dog", True),
        ("Observation", "_content=dog&_id=other,cat", False),
        ("Observation", "_filter=code pr true&_content=dog&_id=other", False),
        ("Observation", "_filter=_id eq other and code pr true&_content=dog", False),
        ("Provenance", "target:Observation._content=dog", True),
        ("CodeSystem", "_content=dog", False),
    ],
)
async def test_full_text_reads_no_more_than_its_bound(
    store: SettledStore, monkeypatch: pytest.MonkeyPatch, type: str, query: str, is_refused: bool
) -> None:
    monkeypatch.setattr(resolve, "MOST_READ", 2)
    with pytest.raises(TooCostly, match="Narrow it") if is_refused else nullcontext():
        await found(store, type, query)


async def test_an_open_clause_never_reaches_a_store(store: SettledStore) -> None:
    query = ask("Observation", [("code:in", "ValueSet/pets")])
    async with store._store.view("north") as view:
        with pytest.raises(ValueError, match="terminology"):
            await view.search(query)


@pytest.mark.parametrize(
    ("type", "code", "expected"),
    [("Observation", "status", True), ("Observation", "code", False), ("Patient", "gender", True)],
)
def test_a_code_element_implies_its_system(type: str, code: str, expected: bool) -> None:
    known = parameter(type, code)
    assert known is not None and implies_system(known) is expected

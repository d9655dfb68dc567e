"""Indexing anew, and search parameters that the store defines, on every store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fhir_server import gate
from fhir_server.errors import BeingIndexed, Conflict, FhirError, Forbidden, UnknownParameter, Unprocessable
from fhir_server.indexing.definitions import FORM, INDEX, Definitions
from fhir_server.indexing.reindex import Reindexing, decode, encode
from fhir_server.model import Actor, Change, Resource
from fhir_server.search.extract import Indexer
from fhir_server.search.parse import parse
from fhir_server.search.registry import SearchParameters
from fhir_server.search.values import NOTHING
from fhir_server.security.scopes import ALL
from fhir_server.store.memory import MemoryStore
from fhir_server.store.mongo import MongoStore
from fhir_server.store.protocol import Store, Transaction, Write
from fhir_server.store.sqlite import SqliteStore

TENANT, OTHER = "north", "south"
OPERATOR = Actor(TENANT, "operator", ALL)
DOCTOR = Actor(TENANT, "doctor", ALL, reference="Practitioner/1")
TYPES = frozenset({"Patient", "Observation", "SearchParameter"})
EYE: dict[str, Any] = {
    "resourceType": "SearchParameter",
    "id": "eye",
    "url": "http://x.org/sp/eye",
    "status": "active",
    "code": "eye",
    "base": ["Patient"],
    "type": "token",
    "expression": "Patient.extension('http://x.org/eye').value.ofType(code)",
}
HAIR = EYE | {"expression": "Patient.extension('http://x.org/hair').value.ofType(code)"}


class Process:
    """A server process over a store, as far as indexing goes."""

    def __init__(self, store: Store, registry: SearchParameters, index: Indexer) -> None:
        self.store, self.registry, self.index = store, registry, index
        self.definitions = Definitions(store, TENANT, registry, "UTC")
        self.work = Reindexing(store, index, registry, self.definitions, TYPES)

    @classmethod
    def in_memory(cls) -> Process:
        """Return a process over a store of its own."""
        registry = SearchParameters()
        index = Indexer("UTC", "", registry)
        return cls(MemoryStore(index=index), registry, index)

    async def put(self, resource: Resource, version: int = 1, *, tenant: str = TENANT, actor: Actor = OPERATOR) -> None:
        """Write a version, as the applier does."""
        status = resource.get("status", "")

        async def work(tx: Transaction) -> None:
            type, id, method = resource["resourceType"], resource["id"], "PUT" if status != "gone" else "DELETE"
            body = gate.write(resource) if method == "PUT" else b""
            indexed = self.index(resource) if method == "PUT" else NOTHING
            made = await tx.put(Write(type, id, version, tx.now, method, body, indexed))
            await self.definitions.take(tx, [Change(made, resource, None)], actor)

        await self.store.transact(tenant, work)

    async def find(self, text: str, *, tenant: str = TENANT) -> str:
        """Return the ids that a search of patients finds."""
        name, _, value = text.partition("=")
        query = parse(("Patient",), [(name, value)], zone="UTC", now=0, registry=self.registry)
        async with self.store.view(tenant) as view:
            return " ".join(sorted(version.id for version in (await view.search(query)).versions))

    async def run(self, *types: str) -> int:
        """Index anew, and go on from what was kept after each page."""
        state = await self.work.begin(types)
        while await self.work.step(state):
            state = decode(encode(state))
        await self.work.end(state)
        return state.done


def patient(id: str, **colours: str) -> Resource:
    extensions = [{"url": f"http://x.org/{name}", "valueCode": value} for name, value in colours.items()]
    return {"resourceType": "Patient", "id": id, "extension": extensions}


@pytest.fixture
def process(engine: str, url: str) -> Callable[[], Process]:
    """Makes a process on one store; in memory there is one only."""
    memory: list[Store] = []

    def make() -> Process:
        registry = SearchParameters()
        index = Indexer("UTC", "", registry)
        if engine == "memory":
            memory.append(memory[0] if memory else MemoryStore(index=index))
            return Process(memory[0], registry, index)
        store = MongoStore(url, index=index) if engine == "mongo" else SqliteStore(url, index=index)
        return Process(store, registry, index)

    return make


@pytest.fixture
async def one(process: Callable[[], Process]) -> AsyncIterator[Process]:
    """A process on an empty store."""
    made = process()
    await made.store.open()
    await made.definitions.load()
    yield made
    await made.store.close()


async def test_a_parameter_answers_once_every_resource_is_indexed_by_it(one: Process) -> None:
    await one.put(patient("1", eye="blue"))
    await one.put(patient("2", eye="brown"))
    with pytest.raises(UnknownParameter):
        await one.find("eye=blue")
    await one.put(EYE)
    await one.definitions.load()
    await one.put(patient("3", eye="blue"))
    with pytest.raises(BeingIndexed):
        await one.find("eye=blue")
    assert await one.run() == 4
    assert await one.find("eye=blue") == "1 3"
    await one.put(patient("4", eye="blue"))
    assert await one.find("eye=blue") == "1 3 4"
    assert await one.find("eye:missing=true") == ""


async def test_tenants_are_indexed_alike_and_define_nothing(one: Process) -> None:
    await one.put(patient("1", eye="blue"), tenant=OTHER)
    with pytest.raises(Unprocessable):
        await one.put(EYE, tenant=OTHER)
    await one.put(EYE | {"status": "draft"}, tenant=OTHER)
    await one.put(EYE)
    await one.run()
    assert await one.find("eye=blue", tenant=OTHER) == "1"


async def test_no_row_of_an_earlier_definition_answers(one: Process) -> None:
    await one.put(EYE)
    await one.put(patient("1", eye="blue", hair="red"))
    await one.run()
    assert await one.find("eye=blue") == "1"
    await one.put(HAIR, 2)
    await one.definitions.load()
    with pytest.raises(BeingIndexed):
        await one.find("eye=blue")
    await one.run()
    assert (await one.find("eye=blue"), await one.find("eye=red")) == ("", "1")
    await one.put(EYE | {"status": "gone"}, 3)
    await one.definitions.load()
    with pytest.raises(UnknownParameter):
        await one.find("eye=red")
    await one.put(patient("1", eye="blue", hair="grey"), 2)
    await one.put(HAIR, 4)
    await one.run()
    assert (await one.find("eye=red"), await one.find("eye=grey")) == ("", "1")


async def test_what_changes_nothing_in_the_index_needs_no_indexing(one: Process) -> None:
    await one.put(EYE)
    await one.run()
    await one.put(EYE | {"description": "The colour of the eyes"}, 2)
    await one.definitions.load()
    assert await one.find("eye=blue") == ""


async def test_a_run_over_other_types_or_begun_before_lets_nothing_answer(one: Process) -> None:
    await one.put(patient("1", eye="blue"))
    await one.put(EYE)
    await one.run("Observation")
    with pytest.raises(BeingIndexed):
        await one.find("eye=blue")
    state = await one.work.begin(["Patient"])
    await one.put(HAIR, 2)
    while await one.work.step(state):
        pass
    await one.work.end(state)
    with pytest.raises(BeingIndexed):
        await one.find("eye=blue")
    await one.run("Patient")
    assert await one.find("eye=blue") == ""


async def test_a_write_beside_the_run_is_not_undone(one: Process) -> None:
    await one.put(EYE)
    await one.definitions.load()
    await one.put(patient("1", eye="blue"))
    async with one.store.view(TENANT) as view:
        old = await view.read("Patient", "1")
    assert old is not None
    await one.put(patient("1", eye="green"), 2)
    await one.work.write(TENANT, [old])
    await one.run()
    assert (await one.find("eye=blue"), await one.find("eye=green")) == ("", "1")


async def test_another_process_notices(one: Process, process: Callable[[], Process], engine: str) -> None:
    other = process()
    if engine != "memory":
        await other.store.open()
    await other.definitions.load()
    await one.put(EYE)
    await other.definitions.refresh()
    with pytest.raises(BeingIndexed):
        await other.find("eye=blue")
    await other.put(patient("1", eye="blue"))
    await one.run()
    await other.definitions.refresh()
    assert await other.find("eye=blue") == "1"
    if engine != "memory":
        await other.store.close()


@pytest.mark.parametrize(
    ("resource", "actor", "error"),
    [
        pytest.param(EYE, DOCTOR, Forbidden, id="who is not the operator"),
        pytest.param(EYE | {"status": "draft"}, DOCTOR, Forbidden, id="a draft neither"),
        pytest.param(EYE | {"expression": "Patient.nmae"}, OPERATOR, Unprocessable, id="what cannot be evaluated"),
        pytest.param(EYE | {"id": "again"}, OPERATOR, Conflict, id="a code that is taken"),
    ],
)
async def test_a_refused_definition_leaves_nothing(
    one: Process, resource: Resource, actor: Actor, error: type[FhirError]
) -> None:
    if error is Conflict:
        await one.put(EYE)
    before = len(one.registry.kept)
    with pytest.raises(error):
        await one.put(resource, 1, actor=actor)
    await one.definitions.load()
    assert len(one.registry.kept) == before + (error is Conflict)


async def test_the_form_of_the_index_is_remembered(one: Process) -> None:
    assert await one.definitions.is_of_this_form()
    await one.put(patient("1"))

    async def older(tx: Transaction) -> None:
        await tx.put_record(INDEX, FORM, "", b"of another release")

    await one.store.transact(TENANT, older)
    await one.definitions.load()
    assert not await one.definitions.is_of_this_form()
    await one.run("Patient")
    assert not await one.definitions.is_of_this_form()
    await one.run()
    assert await one.definitions.is_of_this_form()


async def test_a_store_of_a_release_without_a_form_is_of_another(one: Process) -> None:
    await one.put(patient("1"))

    async def forget(tx: Transaction) -> None:
        await tx.drop_record(INDEX, FORM)

    await one.store.transact(TENANT, forget)
    await one.definitions.load()
    assert not await one.definitions.is_of_this_form()


async def test_more_than_a_page_is_indexed(one: Process) -> None:
    for number in range(230):
        await one.put(patient(str(number), eye="blue"))
    await one.put(EYE)
    state = await one.work.begin(["Patient"])
    assert state.total == 230
    assert await one.work.step(state) and state.done == 100
    resumed = Reindexing(one.store, one.index, one.registry, one.definitions, TYPES)
    state = decode(encode(state))
    while await resumed.step(state):
        pass
    await resumed.end(state)
    assert state.done == 230
    assert len((await one.find("eye=blue")).split()) == 20  # a page of them

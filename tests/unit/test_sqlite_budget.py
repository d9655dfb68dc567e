"""Searches that take long leave the event loop, keep their state, and end at their bound."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.errors import TooCostly
from fhir_server.model import Resource, Visibility
from fhir_server.store.protocol import Transaction
from fhir_server.store.sqlite import SqliteStore, session
from tests.contract.small import TENANT, Maker, asked, put

SIZE = 300


@pytest.fixture
def maker() -> Maker:
    return Maker()


class Ticks:
    """A timer that goes on by a step each time it is looked at."""

    def __init__(self) -> None:
        self.now, self.step = 0.0, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
async def store(tmp_path: Path, maker: Maker, ticks: Ticks) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(str(tmp_path / "hub.db"), index=maker.index, timer=ticks)
    await store.open()
    await put(store, *(maker.write(f"Observation/{n}", owners=("p",), mark="ab"[n % 2]) for n in range(SIZE)))
    yield store
    await store.close()


PARTLY = Visibility(frozenset(), {"p": lambda resource: resource["mark"] == "a"})


async def test_a_cheap_search_stays_on_the_event_loop(store: SqliteStore) -> None:
    async with store.view(TENANT) as view:
        assert (await view.search(asked("Observation", "_count=5"))).total == SIZE
    assert store.slow_searches == 0


async def test_a_long_search_goes_to_a_thread_and_gives_the_same(
    store: SqliteStore, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_STEPS", 1_000_000)
    async with store.view(TENANT) as view:
        await put(store, maker.write("Observation/later", owners=("p",), mark="a"))
        # 300 bodies are looked at, more than the event loop has the time for.
        found = await view.search(asked("Observation", "_count=1000"), see=PARTLY)
    assert [version.id for version in found.versions] == [str(n) for n in range(SIZE - 2, -1, -2)]
    assert store.slow_searches == 1


@pytest.mark.parametrize("see", [PARTLY, None], ids=["in checks of bodies", "in the engine"])
async def test_a_search_beyond_its_bound_is_refused(
    store: SqliteStore, ticks: Ticks, monkeypatch: pytest.MonkeyPatch, see: Visibility | None
) -> None:
    monkeypatch.setattr(session, "_STEPS", 20)
    monkeypatch.setattr(session, "_CALLS", 0)
    ticks.step = 1.0
    async with store.view(TENANT) as view:
        with pytest.raises(TooCostly):
            await view.search(
                asked("Observation", "date:missing=true&_sort=-value-string"), **({"see": see} if see else {})
            )
        assert await view.read("Observation", "0") is not None
    assert store.slow_searches == 1


async def test_a_cancelled_search_lets_go_of_its_connection(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_STEPS", 1_000_000)
    started, go_on = threading.Event(), threading.Event()

    def slow(resource: Resource) -> bool:
        if threading.current_thread() is not threading.main_thread():
            started.set()
            go_on.wait(10)
        return True

    async def ask() -> None:
        async with store.view(TENANT) as view:
            await view.search(asked("Observation", "_count=1000"), see=Visibility(frozenset(), {"p": slow}))

    task = asyncio.create_task(ask())
    await asyncio.get_running_loop().run_in_executor(None, started.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with store.view(TENANT) as view:
        assert (await view.search(asked("Observation", "_count=5"))).total == SIZE


async def test_in_a_transaction_a_search_beyond_its_bound_undoes_the_unit(
    store: SqliteStore, maker: Maker, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_STEPS", 20)
    ticks.step = 1.0

    async def work(tx: Transaction) -> None:
        await tx.put(maker.write("Observation/new"))
        await tx.search(asked("Observation", "date:missing=true&_sort=-value-string"))

    with pytest.raises(TooCostly):
        await store.transact(TENANT, work)
    async with store.view(TENANT) as view:
        assert await view.read("Observation", "new") is None


async def test_a_thousand_alternatives_are_answered(store: SqliteStore, maker: Maker) -> None:
    many = ",".join(str(n) for n in range(1_000))
    dates = ",".join(f"ge{1900 + n % 100}-01-{n % 28 + 1:02}" for n in range(1_000))
    async with store.view(TENANT) as view:
        for text in (f"code={many}", f"_id={many}", f"patient={many}", f"date={dates}", f"value-quantity={many}"):
            found = await view.search(asked("Observation", f"{text}&_count=1000"))
            assert len(found.versions) == found.total == (SIZE if text.startswith("_id") else 0)
            total = await view.count(("Observation",), asked("Observation", f"{text}&_sort=date").where)
            assert total == found.total

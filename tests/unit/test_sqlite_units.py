"""Units of one batch: each sees what those before it did, and one that fails leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from fhir_server.search.values import Reference, Text, Token, Value
from fhir_server.store.memory import MemoryStore
from fhir_server.store.protocol import AuditRow, HistoryQuery, Store, Transaction
from fhir_server.store.sqlite import SqliteStore
from tests.contract.small import TENANT, Maker, asked

Seen = list[object]


class Failed(Exception):
    """Raised by a unit that is to be undone."""


def unit(seed: int, maker: Maker, seen: Seen):  # type: ignore[no-untyped-def]
    """Return work of random steps; what it sees goes into `seen`."""

    async def work(tx: Transaction) -> None:
        rng = random.Random(seed)
        mine: Seen = []
        for _ in range(rng.randint(1, 6)):
            mine.append(await step(tx, rng, maker))
        seen.append((seed, mine))
        if rng.random() < 0.3:
            raise Failed

    return work


async def step(tx: Transaction, rng: random.Random, maker: Maker) -> object:
    key, state, lane = rng.choice("abc"), rng.choice(["new", "done"]), rng.choice(["", "l1", "l2"])
    id = rng.choice(["1", "2", "3"])
    match rng.randrange(10):
        case 0 | 1:
            record = await tx.put_record("inbox", key, state, key.encode(), lane=lane)
            return record._replace(seq=0, at=0)
        case 2:
            await tx.drop_record("inbox", key)
            return "dropped"
        case 3:
            records = await tx.records("inbox", state=rng.choice([None, state]), lane=rng.choice([None, lane]))
            return [(r.key, r.state, r.lane) for r in records]
        case 4 | 5:
            return await write(tx, id, rng, maker)
        case 6:
            found = await tx.search(asked("Patient", "name=e&_sort=_id"))
            return [(v.id, v.version) for v in found.versions], found.total
        case 7:
            versions, total = await tx.history(HistoryQuery("Patient", id))
            return [v.version for v in versions], total
        case 8:
            await tx.audit(AuditRow(1, "s", "", "R", "read", "", (id,), 0, "TREAT", str(rng.random())))
            return "audited"
        case _:
            await tx.bump_epoch()
            return await tx.epoch()


async def write(tx: Transaction, id: str, rng: random.Random, maker: Maker) -> object:
    current = await tx.read("Patient", id)
    number = current.version + 1 if current else 1
    if current and not current.is_deleted and rng.random() < 0.3:
        made = await tx.put(maker.deletion(f"Patient/{id}", number))
    else:
        values: dict[str, Value | tuple[Value, ...]] = {
            "name": (Text(rng.choice(["Ève", "Zoé", "Eva"])),),
            "identifier": (Token(rng.choice(["", f"urn:{rng.random()}"]), "1"),),
            "organization": (Reference("Organization", rng.choice("xy")),),
        }
        made = await tx.put(maker.write(f"Patient/{id}", number, values=values, owners=(id,)))
    before = await tx.vread("Patient", id, number - 1)
    return made.version, made.owners, before and (before.version, before.owners)


async def state(store: Store) -> object:
    async with store.view(TENANT) as view:
        found = await view.search(asked("Patient", "_sort=_id"))
        versions, total = await view.history(HistoryQuery(count=1_000))
        return (
            [(v.id, v.version) for v in found.versions],
            found.total,
            [(await view.search(asked("Patient", f"name={name}"))).total for name in ("eve", "zoe", "ev")],
            [(v.reference, v.version, v.owners) for v in versions],
            total,
            [(r.key, r.state, r.lane) for r in await view.records("inbox")],
            [row.request_id for _, row in await view.audits(limit=10_000)],
            await view.epoch(),
        )


@pytest.mark.parametrize("seed", range(8))
async def test_units_of_a_batch_agree_with_units_one_by_one(seed: int, tmp_path: Path) -> None:
    maker = Maker()
    memory: Store = MemoryStore(index=maker.index)
    sqlite: Store = SqliteStore(str(tmp_path / "hub.db"), index=maker.index)
    for store in (memory, sqlite):
        await store.open()
    try:
        for burst in range(12):
            seeds = [seed * 100_000 + burst * 100 + n for n in range(random.Random(seed + burst).choice([1, 3, 20]))]
            results = []
            for store in (memory, sqlite):
                seen: Seen = []
                done = await asyncio.gather(
                    *(store.transact(TENANT, unit(s, maker, seen)) for s in seeds), return_exceptions=True
                )
                assert all(result is None or isinstance(result, Failed) for result in done), done
                results.append((seen, [type(result) for result in done], await state(store)))
            assert results[0] == results[1]
    finally:
        for store in (memory, sqlite):
            await store.close()

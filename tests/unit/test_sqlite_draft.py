"""Index rows drafted in another process are those that the store makes itself."""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import apsw
import pytest

from bench.payload import observation
from fhir_server import gate
from fhir_server.bulk.prepare import Prepared, complete, find_drafter, prepare
from fhir_server.errors import VersionConflict
from fhir_server.interactions.instant import write_instant
from fhir_server.search.extract import Indexer
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import Draft, Transaction, Write
from fhir_server.store.sqlite import SqliteStore
from fhir_server.validation import validate
from tests.conformance.examples import bodies

INDEX = Indexer("Europe/Paris", "http://hub.example/fhir")
AT = 1_700_000_000_123_456
TABLES = ("head", "token", "span", "fact", "timeline", "text", "tally")
TERM_AT = {"head": (1, 4), "fact": (1,)}  # columns that name a term; the first in other tables


async def opened(path: Path) -> SqliteStore:
    """Open a store whose hash has the same key each time."""
    store = SqliteStore(str(path), index=INDEX, clock=lambda: AT, random=lambda n: b"k" * n)
    await store.open()
    return store


def lines() -> list[bytes]:
    """Return R4's examples that have an id, and a body whose own text looks like the time that is put in."""
    every = [gate.write(r) for r in map(gate.parse_resource, bodies().values()) if "id" in r]
    odd = {
        "resourceType": "Basic",
        "id": "odd",
        "code": {"text": f"{write_instant(0)} and 1970 01 01t00 00 00 000000z"},
    }
    return [*every, gate.write(odd), *alike()]


def alike() -> list[bytes]:
    """Return resources that differ in ids, dates, numbers and references alone, so that patterns make their drafts."""
    return [gate.write({**gate.load(observation(number)), "id": f"alike-{number}"}) for number in range(120)]


def prepared(store: SqliteStore) -> Iterator[Prepared]:
    """Yield lines as a worker gives them, in blocks."""
    drafter = find_drafter(store.drafting)
    assert drafter is not None
    every = lines()
    for start in range(0, len(every), 50):
        made = [one for one in prepare(b"\n".join(every[start : start + 50]), 1, validate, INDEX, drafter) if one.type]
        sent = marshal.loads(marshal.dumps((drafter.terms, drafter.take(), [tuple(one[:-1]) for one in made])))
        for row in sent[2]:
            yield Prepared._make((*row, (sent[0], sent[1])))


async def write(tx: Transaction, line: Prepared, number: int, *, drafted: bool) -> None:
    """Put a version."""
    instant = write_instant(tx.now)
    body = complete(line.type, line.id, line.body, number, instant)
    draft = Draft(line.shared, line.draft, instant if number == 1 else "") if drafted else None
    indexed = Indexed({}, line.owners) if drafted else INDEX(gate.load(body))
    await tx.put(Write(line.type, line.id, number, tx.now, "PUT", body, indexed, draft))


async def write_all(tx: Transaction, lines: Sequence[Prepared], number: int, *, drafted: bool) -> None:
    """Put a version of each."""
    for line in lines:
        await write(tx, line, number, drafted=drafted)


def rows(path: Path) -> dict[str, Any]:
    """Return all index rows with their terms in words, and the words of each resource."""
    connection = apsw.Connection(str(path))
    terms = {row[0]: row[1:] for row in connection.execute("SELECT * FROM term")}
    made: dict[str, Any] = {}
    for table in TABLES:
        found = [list(row) for row in connection.execute(f"SELECT * FROM {table}")]
        for row in found:
            for place in TERM_AT.get(table, (0,)):
                row[place] = terms[row[place]]
        made[table] = sorted(map(repr, found))
    connection.execute("CREATE VIRTUAL TABLE temp.told USING fts5vocab(main, words, instance)")
    return made | {"words": set(connection.execute("SELECT term, doc FROM told"))}


async def test_drafted_rows_are_those_the_store_makes(tmp_path: Path) -> None:
    """Over every R4 example, in its first and its second version."""
    found = {}
    for drafted in (False, True):
        store = await opened(tmp_path / f"{drafted}.db")
        every = list(prepared(store))
        for number in (1, 2):
            for start in range(0, len(every), 100):
                part = every[start : start + 100]
                await store.transact("t", partial(write_all, lines=part, number=number, drafted=drafted))
            await store.checkpoint()
            found[drafted, number] = rows(tmp_path / f"{drafted}.db")
        await store.close()
    assert all(INDEX(gate.load(one.body), one.body).filled for one in every if one.id.startswith("alike"))
    assert found[True, 1] == found[False, 1]
    assert found[True, 2] == found[False, 2]


async def test_what_a_draft_made_new_is_made_again_after_it_was_undone(tmp_path: Path) -> None:
    store = await opened(tmp_path / "hub.db")
    every = list(islice(prepared(store), 40))

    async def work(tx: Transaction, last: int) -> None:
        for line in every:
            await write(tx, line, 1, drafted=True)
        await write(tx, every[0], last, drafted=True)

    with pytest.raises(VersionConflict):
        await store.transact("t", lambda tx: work(tx, 7))
    await store.transact("t", lambda tx: work(tx, 2))
    await store.checkpoint()
    undone = rows(tmp_path / "hub.db")
    await store.close()
    store = await opened(tmp_path / "other.db")
    every = list(islice(prepared(store), 40))
    await store.transact("t", lambda tx: work(tx, 2))
    await store.checkpoint()
    plain = rows(tmp_path / "other.db")
    await store.close()
    for table in ("token", "text", "words"):
        assert len(undone[table]) == len(plain[table]), table


async def test_looked_up_versions_are_those_that_are_read(tmp_path: Path) -> None:
    store = await opened(tmp_path / "hub.db")
    every = list(islice(prepared(store), 30))

    async def work(tx: Transaction) -> None:
        for line in every[:20]:
            await write(tx, line, 1, drafted=True)

    await store.transact("t", work)
    await store.close()
    store = await opened(tmp_path / "hub.db")

    async def look(tx: Transaction) -> None:
        keys = [(line.type, line.id) for line in every]
        await tx.look_up(keys)
        found = [await tx.read(*key) for key in keys]
        assert [one is not None for one in found] == [True] * 20 + [False] * 10
        assert [(one.type, one.id) for one in found if one is not None] == keys[:20]

    await store.transact("t", look)
    await store.close()

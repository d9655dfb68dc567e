"""A file whose index rows an older program made gets them anew when it is opened."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from fhir_server.search.values import Text, Token, Uri
from fhir_server.store.protocol import HistoryQuery
from fhir_server.store.sqlite import SqliteStore
from tests.contract.small import Maker, asked, history, ids, put

TABLES = ("token", "span", "fact", "timeline", "head", "text")


@pytest.fixture
def maker() -> Maker:
    return Maker()


def dump(path: Path) -> dict[str, list[tuple[object, ...]]]:
    connection = apsw.Connection(str(path))
    try:
        return {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in TABLES}
    finally:
        connection.close()


async def test_the_index_is_made_anew_as_it_would_have_been(tmp_path: Path, maker: Maker) -> None:
    path = tmp_path / "hub.db"
    store = SqliteStore(str(path), index=maker.index)
    await store.open()
    await put(store, *(maker.write(f"Patient/{n}", values={"name": Text(f"Name {n}")}) for n in range(30)))
    await put(store, maker.write("Patient/1", 2, values={"name": Text("Newer")}), maker.deletion("Patient/2", 2))
    await put(store, maker.about("Observation/1", "1", {"code": Token("u", "x", "Weight"), "_profile": Uri("urn:p")}))
    await put(store, maker.write("Patient/1", values={"name": Text("South")}), tenant="south")
    await store.close()
    before = dump(path)
    connection = apsw.Connection(str(path))
    connection.execute(
        "DELETE FROM counter WHERE name = 'layout'; DELETE FROM fact; DELETE FROM head; DELETE FROM text"
    )
    connection.close()
    store = SqliteStore(str(path), index=maker.index)
    await store.open()
    try:
        assert await ids(store, asked("Patient", "name=newer")) == ["1"]
        assert await ids(store, asked("Observation", "patient.name=newer&code:text=weight")) == ["1"]
        assert len(await ids(store, asked("Patient", "_sort=name&_count=100"))) == 29
        assert (await history(store, HistoryQuery("Patient")))[1] == 32
        await put(store, maker.write("Patient/3", 2, values={"name": Text("Newer")}))
        assert await ids(store, asked("Patient", "name=newer")) == ["3", "1"]
        await put(store, maker.write("Patient/3", 3, values={"name": Text("Name 3")}))
    finally:
        await store.close()
    after = dump(path)
    assert {t: len(rows) for t, rows in after.items() if t != "token"} == {
        t: len(rows) for t, rows in before.items() if t != "token"
    } | {"text": len(after["text"])}


async def test_an_index_as_it_should_be_is_left_alone(tmp_path: Path, maker: Maker) -> None:
    path = tmp_path / "hub.db"
    for n in range(2):
        store = SqliteStore(str(path), index=maker.index)
        await store.open()
        await put(store, maker.write(f"Patient/{n}", values={"name": Text("Name")}))
        await store.close()
    before = dump(path)

    def never(resource: object) -> object:
        raise AssertionError("nothing is to be indexed")

    store = SqliteStore(str(path), index=never)  # type: ignore[arg-type]
    await store.open()
    await store.close()
    assert dump(path) == before

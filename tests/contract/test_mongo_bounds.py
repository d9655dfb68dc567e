"""Bounds of searches in MongoDB: beyond them they are refused, or done another way with the same result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from fhir_server.errors import TooCostly, TooLarge
from fhir_server.model import Visibility
from fhir_server.search.values import Composite, Quantity, Reference, Text, Token
from fhir_server.store.mongo import MongoStore
from fhir_server.store.mongo.find import search, sight
from fhir_server.store.protocol import HistoryQuery
from tests.contract.small import TENANT, Maker, asked, found, history, ids, put

UCUM = "http://unitsofmeasure.org"


@pytest.fixture
def engine() -> str:
    return "mongo"


@pytest.fixture
async def store(url: str) -> AsyncIterator[MongoStore]:
    """Five patients, each with an Observation whose parts must be looked at."""
    maker = Maker()
    made = MongoStore(url, index=maker.index)
    await made.open()
    for n in range(5):
        amount = Quantity(Decimal(n), Decimal(n), UCUM, "g", "g")
        part = Composite((Token("u", "x"), amount))
        await put(
            made,
            maker.write(f"Patient/{n}", owners=(str(n),), values={"name": Text("Zoé"), "gender": Token("", "f")}),
            maker.about(f"Observation/{n}", str(n), {"code-value-quantity": part, "value-quantity": amount}),
        )
    yield made
    await made.close()


async def test_many_patients_are_looked_at_one_by_one_with_the_same_result(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    see = Visibility(frozenset({"1", "3"}))
    queries = ("", "code-value-quantity=x$gt0", "patient.name=zoe", "_sort=-value-quantity&_count=1")
    plain = [await ids(store, asked("Observation", text), see=see) for text in queries]
    versions = await history(store, HistoryQuery("Observation"), see=see)
    monkeypatch.setattr(sight, "MOST_NAMED", 0)
    assert [await ids(store, asked("Observation", text), see=see) for text in queries] == plain
    assert plain[:3] == [["3", "1"]] * 3 and plain[3] == ["3"]
    assert await history(store, HistoryQuery("Observation"), see=see) == versions


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        pytest.param("MOST_LINKED", "patient.name=zoe", id="the ids of a step of a chain"),
        pytest.param("MOST_LOOKED_AT", "code-value-quantity=x$ge0&_count=1", id="what is looked at"),
        pytest.param("MOST_GATHERED", "_sort=value-quantity,-code", id="what is sorted by several keys"),
        pytest.param("MOST_GATHERED", "_sort=patient.name", id="what is sorted over a chain"),
    ],
)
async def test_beyond_a_bound_a_search_is_refused(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch, bound: str, text: str
) -> None:
    assert (await found(store, asked("Observation", text))).total == 5
    monkeypatch.setattr(search, bound, 3)
    with pytest.raises(TooCostly):
        await found(store, asked("Observation", text))


async def test_units_that_convert_are_found_and_counted_where_they_are_mixed(url: str) -> None:
    maker = Maker()
    store = MongoStore(url, index=maker.index)
    await store.open()
    try:
        for n, (value, unit) in enumerate((("70", "kg"), ("154.3", "[lb_av]"), ("70000", "g"), ("70", "cm"))):
            amount = Quantity(Decimal(value), Decimal(value), UCUM, unit, unit)
            await put(store, maker.write(f"Observation/{n}", values={"value-quantity": amount}))
        assert await ids(store, asked("Observation", f"value-quantity=70|{UCUM}|kg&_sort=_id")) == ["0", "1", "2"]
        assert await ids(store, asked("Observation", f"value-quantity=lt70|{UCUM}|kg")) == ["1"]
        assert (
            await ids(store, asked("Observation", f"value-quantity:missing=false&value-quantity=ne70|{UCUM}|kg")) == []
        )
    finally:
        await store.close()


async def test_a_reference_from_elsewhere_is_no_link(url: str) -> None:
    maker = Maker()
    store = MongoStore(url, index=maker.index)
    await store.open()
    try:
        away = Reference("Patient", "1", "https://elsewhere.example/fhir/Patient/1")
        await put(
            store,
            maker.write("Patient/1", values={"name": Text("Zoé")}),
            maker.write("Observation/1", values={"patient": away}),
        )
        async with store.view(TENANT) as view:
            assert await view.count(("Observation",), asked("Observation", "patient=Patient/1").where) == 0
    finally:
        await store.close()


async def test_what_no_document_holds_is_refused_and_its_neighbours_pass(url: str) -> None:
    maker = Maker()
    store = MongoStore(url, index=maker.index)
    await store.open()
    try:
        many = tuple(Text(f"{n:09}" + "x" * 1_000) for n in range(9_000))
        writes = [maker.write("Patient/1"), maker.write("Patient/2", values={"name": many}), maker.write("Patient/3")]
        results = await asyncio.gather(*(put(store, write) for write in writes), return_exceptions=True)
        assert [type(result) for result in results] == [list, TooLarge, list]
        assert await ids(store, asked("Patient", "_sort=_id")) == ["1", "3"] and store.healthy
    finally:
        await store.close()


@pytest.mark.parametrize("text", ["name=a\0b", "name:contains=\0", "name:exact=a\0b", "gender=\0", "_id=\0"])
async def test_a_question_that_nothing_can_answer_finds_nothing(store: MongoStore, text: str) -> None:
    assert await ids(store, asked("Patient", text)) == []


@pytest.mark.parametrize("text", [pytest.param("x" * 40_000, id="letters"), pytest.param("漢" * 12_000, id="bytes")])
async def test_a_text_too_long_for_a_pattern_is_refused(store: MongoStore, text: str) -> None:
    with pytest.raises(TooCostly):
        await found(store, asked("Patient", "name=" + text))


async def test_a_question_too_large_for_a_document_is_refused(store: MongoStore) -> None:
    many = ",".join(f"{n:09}" + "x" * 190 for n in range(90_000))
    with pytest.raises(TooCostly):
        await found(store, asked("Patient", "gender=" + many))

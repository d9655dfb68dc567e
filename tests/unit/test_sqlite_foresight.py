"""What a search would cost is told, and refused with advice, before it is run; totals are guessed where that is asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fhir_server.errors import TooCostly
from fhir_server.model import EVERYTHING, Visibility
from fhir_server.search.dates import span
from fhir_server.search.values import Text, Token
from fhir_server.store.sqlite import SqliteStore
from fhir_server.store.sqlite.find import estimate, search
from tests.contract.small import PARIS, TENANT, Maker, asked, found, put

SIZE = 1_200


@pytest.fixture
def maker() -> Maker:
    return Maker()


@asynccontextmanager
async def filled(path: Path, maker: Maker, seconds: float = 10.0) -> AsyncIterator[SqliteStore]:
    """Observations of two patients, a third of them with code a; four of them with code rare."""
    store = SqliteStore(str(path / "hub.db"), index=maker.index, search_seconds=seconds)
    await store.open()
    try:
        await put(store, maker.write("Patient/p0", owners=("p0",), values={"name": Text("Zyxwvu")}))
        await put(
            store,
            *(
                maker.about(
                    f"Observation/{n}",
                    f"p{n % 2}",
                    {
                        "code": Token("u", "rare" if n % 300 == 7 else "abc"[n % 3]),
                        "date": span(f"20{n % 20:02}", PARIS),
                        "value-string": Text(f"text {n}"),
                    },
                )
                for n in range(SIZE)
            ),
        )
        yield store
    finally:
        await store.close()


async def test_what_is_cheap_to_count_is_counted(tmp_path: Path, maker: Maker) -> None:
    async with filled(tmp_path, maker) as store:
        for text, exact in (("", SIZE), ("code=a", 400), ("code=rare", 4), ("code=none", 0)):
            page = await found(store, replace(asked("Observation", f"{text}&_count=2".strip("&")), total="estimate"))
            assert (page.total, page.estimated) == (exact, False)


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        pytest.param("code=a", 400, id="one clause"),
        pytest.param("code=a,b", 798, id="alternatives"),
        pytest.param("code=a&date=lt2010", 200, id="two clauses"),
        pytest.param("code:not=a", 800, id="not"),
    ],
)
async def test_a_guess_is_near_and_says_that_it_is_one(
    tmp_path: Path, maker: Maker, monkeypatch: pytest.MonkeyPatch, text: str, exact: int
) -> None:
    monkeypatch.setattr(search, "EXACT", 0)
    monkeypatch.setattr(estimate, "_EACH", 17)
    query = replace(asked("Observation", f"{text}&_count=5"), total="estimate")
    async with filled(tmp_path, maker) as store:
        page = await found(store, query)
        assert page.estimated and page.total is not None and exact / 2 <= page.total <= exact * 2
        see = Visibility(frozenset({"p0"}))
        async with store.view(TENANT) as view:
            counted = await view.count(query.types, query.where, see=see)
        seen = await found(store, query, see=see)
        assert (seen.total, seen.estimated) == (counted, False), "a guess would tell of what is hidden"
        last = await found(store, replace(query, count=1_000))
        assert (last.total, last.estimated) == (len(last.versions), False)


async def test_no_total_counts_nothing(tmp_path: Path, maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with filled(tmp_path, maker) as store:
        monkeypatch.setattr(search.Search, "count", None)
        page = await found(store, asked("Observation", "code=a&_count=2&_total=none"))
        assert page.total is None and not page.estimated


ADVICE = [
    ("_sort=code", "add patient, code or date; sort by one date"),
    ("_sort=code,-date&_total=none", "sort by one date"),
    ("value-string:contains=text&_sort=code", "beside a modifier"),
    ("patient.name=zyx&_sort=subject", "in place of a chain"),
    ("code:not=a&_sort=value-string,code", "leave out the total"),
]


@pytest.mark.parametrize(("text", "advice"), ADVICE, ids=[text for text, _ in ADVICE])
async def test_what_would_take_too_long_is_refused_before_it_is_run(
    tmp_path: Path, maker: Maker, text: str, advice: str
) -> None:
    async with filled(tmp_path, maker, seconds=0.0003) as store:
        with pytest.raises(TooCostly, match=advice) as refused:
            await found(store, asked("Observation", text))
        assert "zyx" not in refused.value.text
        assert store.slow_searches == 0
        page = await found(store, asked("Observation", "patient=p0&code=a&_sort=-date&_count=3&_total=none"))
        assert len(page.versions) == 3, "what is cheap is answered"


async def test_a_plan_says_what_drives_and_what_it_costs(tmp_path: Path, maker: Maker) -> None:
    async with filled(tmp_path, maker) as store, store.view(TENANT) as view:

        async def plan(text: str, see: Visibility = EVERYTHING) -> dict[str, object]:
            made = await view.explain(asked("Observation", text), see=see)
            assert json.loads(json.dumps(made)) == made and "zyx" not in str(made).lower()
            return made

        made = await plan("code=rare&value-string=text&patient.name=zyxw")
        rows = {clause["clause"]: clause["rows"] for clause in made["clauses"]}  # type: ignore[attr-defined]
        assert rows["code"] == 4 and rows["value-string"] == SIZE and "patient.(name)" in rows
        assert made["resources"] == SIZE and made["expected"] == 4
        orders = {
            "": "the order of writes",
            "_sort=-date": "the index of the key",
            "patient=p0&code=a&_sort=-date": "the timeline of the patient",
            "code=a&_sort=code": "all that matches, gathered and sorted",
            "category=none": "nothing matches",
        }
        for text, by in orders.items():
            order = (await plan(text))["order"]
            assert isinstance(order, dict) and order["by"] == by, text
        assert "owner" in str((await plan("code=a", Visibility(frozenset({"p0"}))))["visibility"])
        cost = (await plan("_sort=code,-patient.name"))["cost"]
        assert isinstance(cost, dict) and cost["refused"] is False and 0 < cost["pageMilliseconds"] < 100
    async with filled(tmp_path / "other", maker, seconds=0.0003) as store, store.view(TENANT) as view:
        cost = (await view.explain(asked("Observation", "_sort=code")))["cost"]
        assert isinstance(cost, dict) and cost["refused"] is True


async def test_an_unknown_type_has_a_plan_too(tmp_path: Path, maker: Maker) -> None:
    async with filled(tmp_path, maker) as store, store.view(TENANT) as view:
        made = await view.explain(asked("ValueSet", "url=urn:x"))
        assert made["types"] == [] and made["expected"] == 0

"""The chart: what it keeps, when it is enough, and that its row gives it back."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.interface import Erasure
from fhir_server.model import Record
from triage_hooks import chart
from triage_hooks.chart import DEPTH, SPAN, Chart
from triage_hooks.engine import Reading, Series, evaluate
from triage_hooks.rules.bands import Bound
from triage_hooks.rules.inputs import HOUR, INPUTS
from triage_hooks.rules.news2 import NEWS2

NUMBERS = ("resp_rate", "spo2", "systolic_bp", "pulse", "temperature")
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from("ACVPU"),
    st.decimals(0, 300, places=1),
    st.builds(Bound, st.sampled_from(("<", "<=", ">=", ">")), st.decimals(0, 300, places=1)),
)
READINGS = st.lists(
    st.builds(
        lambda name, quarters, value: Reading(name, quarters * HOUR // 4, Decimal(value), f"Observation/{quarters}"),
        st.sampled_from(NUMBERS),
        st.integers(0, 200),
        st.integers(35, 99),
    ),
    max_size=40,
    unique_by=lambda reading: (reading.input, reading.at),
)


@given(st.lists(st.tuples(st.sampled_from(sorted(INPUTS)), st.integers(0, 2**50), VALUES), max_size=12))
def test_the_row_gives_the_chart_back(rows: list[tuple[str, int, object]]) -> None:
    held = Chart().joined(Reading(name, at, value, "Observation/1", "x") for name, at, value in rows)  # type: ignore[arg-type]
    assert chart.read(held.write()) == held


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"form":0}', id="another form"),
        pytest.param(b'{"form":1,"floor":0,"readings":[["gait",1,"#1","Observation/1",""]]}', id="an input of no rule"),
        pytest.param(b'{"form":1,"floor":0,"cuts":{"gait":1},"readings":[]}', id="what was left out of such an input"),
    ],
)
def test_another_row_is_no_chart(body: bytes) -> None:
    assert chart.read(body) is None


@given(READINGS, st.integers(0, 200))
def test_where_the_chart_covers_a_moment_it_judges_as_everything_does(readings: list[Reading], quarters: int) -> None:
    held, at = Chart(), quarters * HOUR // 4
    for reading in readings:
        held = held.joined([reading])
    if held.covers(at):
        later = sorted({reading.at for reading in readings if reading.at >= at} | {at})
        for moment in later:
            everything = evaluate(NEWS2, Series(readings), moment)
            assert evaluate(NEWS2, Series(held.readings), moment) == everything


@pytest.mark.parametrize(
    ("count", "at", "covered"),
    [
        pytest.param(0, 5, True, id="an empty chart holds all there is"),
        pytest.param(DEPTH - 1, -9, True, id="a chart that never was full holds all"),
        pytest.param(DEPTH, 1, True, id="a full one from its second on: the oldest may have had others beside it"),
        pytest.param(DEPTH, 0, False, id="a full one nothing before"),
    ],
)
def test_what_a_chart_covers(count: int, at: int, covered: bool) -> None:
    readings = [Reading("pulse", minute, Decimal(70), f"Observation/{minute}") for minute in range(count)]
    assert Chart().joined(readings).covers(at) is covered


def test_what_is_a_day_older_than_the_newest_is_forgotten() -> None:
    old, new = Reading("pulse", 0, Decimal(70), "a"), Reading("spo2", SPAN + 1, Decimal(97), "b")
    assert Chart().joined([old, new]).readings == (new,)
    assert not Chart().joined([old, new]).covers(0)


def test_a_full_chart_that_loses_readings_does_not_hold_those_before() -> None:
    readings = [Reading("pulse", minute, Decimal(70), f"Observation/{minute}") for minute in range(DEPTH + 1)]
    held = Chart().joined(readings).without([f"Observation/{DEPTH}"])
    assert len(held.readings) == DEPTH - 1
    assert not held.covers(1)
    assert held.covers(2)
    assert chart.read(held.write()) == held
    filled = held.joined([Reading("pulse", DEPTH + 5, Decimal(70), "Observation/new")])
    assert not filled.cuts, "a full one says it by itself"
    assert not filled.covers(1)


def test_an_erased_observation_takes_the_chart_that_holds_it_along() -> None:
    body = Chart().joined([Reading("pulse", 5, Decimal(70), "Observation/o")]).write()
    row = Record(chart.KIND, "p", "", "", 1, 0, body)
    assert chart.is_of(row, Erasure("p", frozenset(), frozenset()))
    assert not chart.is_of(row, Erasure("q", frozenset(), frozenset()))
    assert chart.is_of(row, Erasure("", frozenset({"Observation/o"}), frozenset()))
    assert not chart.is_of(row, Erasure("", frozenset({"Observation/other"}), frozenset()))


def test_a_shelf_believes_the_row() -> None:
    class Rows:
        def __init__(self) -> None:
            self.held: Record | None = None

        async def record(self, kind: str, key: str) -> Record | None:
            return self.held

        async def put_record(self, kind: str, key: str, state: str, body: bytes) -> None:
            self.held = Record(kind, key, state, "", 1, 0, body)

    async def run() -> None:
        shelf, rows = chart.Shelf(), Rows()
        one = Chart().joined([Reading("pulse", 5, Decimal(70), "Observation/o")])
        two = one.joined([Reading("pulse", 6, Decimal(71), "Observation/p")])
        assert await shelf.held(rows, "p") is None  # type: ignore[arg-type]  # the part it asks of
        await shelf.keep(rows, "p", one)  # type: ignore[arg-type]
        first = rows.held
        await shelf.keep(rows, "p", two)  # type: ignore[arg-type]
        assert await shelf.held(rows, "p") is two  # type: ignore[arg-type]
        rows.held = first  # the transaction was undone
        assert await shelf.held(rows, "p") == one  # type: ignore[arg-type]

    asyncio.run(run())

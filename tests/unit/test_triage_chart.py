"""The chart: what it keeps, when it is enough, and that its row gives it back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    readings = tuple(Reading(name, at, value, "Observation/1", "x") for name, at, value in rows)  # type: ignore[arg-type]
    assert chart.read(Chart(readings).write()) == Chart(readings)


def test_a_row_of_another_form_is_no_chart() -> None:
    assert chart.read(b'{"form":0}') is None


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
        pytest.param(DEPTH, 0, True, id="a full one from its oldest on"),
        pytest.param(DEPTH, -1, False, id="a full one nothing before"),
    ],
)
def test_what_a_chart_covers(count: int, at: int, covered: bool) -> None:
    readings = [Reading("pulse", minute, Decimal(70), f"Observation/{minute}") for minute in range(count)]
    assert Chart().joined(readings).covers(at) is covered


def test_what_is_a_day_older_than_the_newest_is_forgotten() -> None:
    old, new = Reading("pulse", 0, Decimal(70), "a"), Reading("spo2", SPAN + 1, Decimal(97), "b")
    assert Chart().joined([old, new]).readings == (new,)
    assert not Chart().joined([old, new]).covers(0)

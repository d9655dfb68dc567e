"""Laws of the rules and of the engine: total over their range, monotone in what is missing, deterministic."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from triage_hooks.engine import Reading, Series, evaluate
from triage_hooks.rules.bands import Bound
from triage_hooks.rules.inputs import HOUR, INPUTS
from triage_hooks.rules.news2 import NEWS2, PARAMETERS, points, total

NUMBERS = ("resp_rate", "spo2", "systolic_bp", "pulse", "temperature")


def number(name: str) -> st.SearchStrategy[Decimal]:
    item = INPUTS[name]
    return st.decimals(item.low, item.high, places=2)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    **{name: number(name) for name in NUMBERS},
    "on_oxygen": st.booleans(),
    "consciousness": st.sampled_from("ACVPU"),
}
SCALES = st.sampled_from((1, 2))
COMPLETE = st.fixed_dictionaries(VALUES)
PARTIAL = st.fixed_dictionaries({}, optional=VALUES)


@given(COMPLETE, SCALES)
def test_every_complete_set_has_one_score_of_0_to_20(values: dict[str, Any], scale: int) -> None:
    score = total(values, scale)
    assert score.minimum == score.maximum
    assert 0 <= score.minimum <= 20


@given(COMPLETE, st.sets(st.sampled_from(PARAMETERS)), SCALES)
def test_what_is_missing_never_hides_the_true_score(values: dict[str, Any], hidden: set[str], scale: int) -> None:
    exact = total(values, scale)
    some = total({name: value for name, value in values.items() if name not in hidden}, scale)
    assert some.minimum <= exact.minimum <= some.maximum
    assert set(some.missing) == hidden
    if some.rank is not None:
        assert exact.rank is not None
        assert exact.rank.place <= some.rank.place, "knowing more lowered the rank"


@given(PARTIAL, SCALES)
def test_both_ends_of_the_range_are_reached_by_some_patient(values: dict[str, Any], scale: int) -> None:
    score = total(values, scale)
    normal: dict[str, Any] = {"resp_rate": 16, "spo2": 90, "systolic_bp": 120, "pulse": 70, "temperature": 37}
    calm: dict[str, Any] = {
        **{name: Decimal(value) for name, value in normal.items()},
        "on_oxygen": False,
        "consciousness": "A",
    }
    grave: dict[str, Any] = {
        **calm,
        "resp_rate": Decimal(8),
        "spo2": Decimal(80),
        "systolic_bp": Decimal(80),
        "pulse": Decimal(140),
    }
    grave |= {"temperature": Decimal(34), "on_oxygen": True, "consciousness": "U"}
    if scale == 1:
        calm["spo2"] = Decimal(98)
    assert total({**calm, **values}, scale).minimum == score.minimum
    assert total({**grave, **values}, scale).maximum == score.maximum


@given(st.sampled_from(NUMBERS), st.data(), SCALES)
def test_a_bound_holds_every_value_it_allows(name: str, data: st.DataObject, scale: int) -> None:
    step = Decimal("0.1") if name == "temperature" else Decimal(1)
    value = data.draw(number(name)).quantize(step)
    limit = data.draw(number(name)).quantize(step)
    comparator = data.draw(st.sampled_from(("<", "<=", ">=", ">")))
    allowed = {"<": value < limit, "<=": value <= limit, ">=": value >= limit, ">": value > limit}[comparator]
    if allowed:
        exact = points(name, value, scale=scale, oxygen=True)
        reached = points(name, Bound(comparator, limit), scale=scale, oxygen=True)
        assert reached.low <= exact.low <= exact.high <= reached.high


READINGS = st.lists(
    st.builds(
        lambda name, hours, data: Reading(name, hours * HOUR, Decimal(data), f"Observation/{name}-{hours}-{data}"),
        st.sampled_from(NUMBERS),
        st.integers(0, 30),
        st.integers(35, 99),
    ),
    max_size=12,
)


@given(READINGS, st.integers(0, 40), st.randoms(use_true_random=False))
def test_the_order_in_which_readings_come_changes_nothing(readings: list[Reading], hours: int, random: Any) -> None:
    shuffled = list(readings)
    random.shuffle(shuffled)
    at = hours * HOUR
    assert evaluate(NEWS2, Series(readings), at) == evaluate(NEWS2, Series(shuffled), at)


@given(READINGS, st.integers(0, 40))
def test_only_readings_of_their_window_count(readings: list[Reading], hours: int) -> None:
    at = hours * HOUR
    for name, reading in evaluate(NEWS2, Series(readings), at).used.items():
        assert 0 <= at - reading.at <= INPUTS[name].window
        assert reading.at == max(item.at for item in readings if item.input == name and item.at <= at)

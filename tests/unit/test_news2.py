"""NEWS2: the chart, its edges, what is missing."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from triage_hooks.rules.bands import Bound, Points
from triage_hooks.rules.judge import CannotJudge, judge
from triage_hooks.rules.news2 import PARAMETERS, points, total

VECTORS = Path(__file__).parents[2].parent / "shared" / "data" / "triage_vectors.json"
CALM: dict[str, Any] = {
    "resp_rate": Decimal(16),
    "spo2": Decimal(97),
    "on_oxygen": False,
    "systolic_bp": Decimal(125),
    "pulse": Decimal(72),
    "consciousness": "A",
    "temperature": Decimal("36.8"),
}


def vectors() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        pytest.skip("the triage vectors (../shared/data/triage_vectors.json) are not here", allow_module_level=True)
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text(), parse_float=Decimal)["vectors"]
    return found


def of(values: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {name: value for name, value in {**values, **changed}.items() if value is not None}


@pytest.mark.parametrize(
    ("parameter", "edges"),
    [
        pytest.param("resp_rate", "8:3 9:1 11:1 12:0 20:0 21:2 24:2 25:3", id="respiration"),
        pytest.param("systolic_bp", "90:3 91:2 100:2 101:1 110:1 111:0 219:0 220:3", id="systolic pressure"),
        pytest.param("pulse", "40:3 41:1 50:1 51:0 90:0 91:1 110:1 111:2 130:2 131:3", id="pulse"),
        pytest.param("temperature", "35.0:3 35.1:1 36.0:1 36.1:0 38.0:0 38.1:1 39.0:1 39.1:2", id="temperature"),
        pytest.param("spo2", "91:3 92:2 93:2 94:1 95:1 96:0 100:0", id="saturation, first scale"),
    ],
)
def test_each_edge_of_the_chart(parameter: str, edges: str) -> None:
    for edge in edges.split():
        value, expected = edge.split(":")
        assert points(parameter, Decimal(value)) == Points(int(expected), int(expected)), edge


@pytest.mark.parametrize(
    ("oxygen", "edges"),
    [
        pytest.param(False, "83:3 84:2 85:2 86:1 87:1 88:0 92:0 93:0 97:0 100:0", id="on air"),
        pytest.param(True, "83:3 84:2 85:2 86:1 87:1 88:0 92:0 93:1 94:1 95:2 96:2 97:3 100:3", id="on oxygen"),
    ],
)
def test_each_edge_of_the_second_saturation_scale(oxygen: bool, edges: str) -> None:
    for edge in edges.split():
        value, expected = (int(part) for part in edge.split(":"))
        assert points("spo2", Decimal(value), scale=2, oxygen=oxygen) == Points(expected, expected), edge


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        pytest.param("temperature", "38.04", 0, id="temperature below half of a tenth goes down"),
        pytest.param("temperature", "38.05", 1, id="temperature from half of a tenth goes up"),
        pytest.param("resp_rate", "20.5", 2, id="a rate between two bands takes the more points"),
        pytest.param("spo2", "95.5", 1, id="a saturation between two bands takes the more points"),
        pytest.param("pulse", "90.0", 0, id="digits after the point that say nothing change nothing"),
    ],
)
def test_values_between_the_bands(parameter: str, value: str, expected: int) -> None:
    assert points(parameter, Decimal(value)) == Points(expected, expected)


@pytest.mark.parametrize(
    ("parameter", "bound", "expected"),
    [
        pytest.param("spo2", Bound("<", Decimal(70)), Points(3, 3), id="below 70 is grave for certain"),
        pytest.param("spo2", Bound("<", Decimal(96)), Points(1, 3), id="below 96 is anything but calm"),
        pytest.param("resp_rate", Bound(">", Decimal(30)), Points(3, 3), id="above 30 is grave for certain"),
        pytest.param("resp_rate", Bound(">=", Decimal(12)), Points(0, 3), id="12 or more may be calm"),
        pytest.param("pulse", Bound("<=", Decimal(40)), Points(3, 3), id="40 or less is grave for certain"),
        pytest.param("temperature", Bound(">", Decimal("39.0")), Points(2, 2), id="above 39.0 is 39.1 at least"),
    ],
)
def test_a_bound_gives_the_range_it_leaves_open(parameter: str, bound: Bound, expected: Points) -> None:
    assert points(parameter, bound) == expected


@pytest.mark.parametrize(
    ("values", "minimum", "maximum", "missing"),
    [
        pytest.param(CALM, 0, 0, (), id="all known: one score"),
        pytest.param(of(CALM, consciousness=None), 0, 3, ("consciousness",), id="consciousness unknown: up to 3 more"),
        pytest.param(of(CALM, on_oxygen=None), 0, 2, ("on_oxygen",), id="oxygen unknown: up to 2 more"),
        pytest.param({"pulse": Decimal(135)}, 3, 20, tuple(p for p in PARAMETERS if p != "pulse"), id="one value only"),
    ],
)
def test_missing_data_widens_the_range(
    values: dict[str, Any], minimum: int, maximum: int, missing: tuple[str, ...]
) -> None:
    score = total(values)
    assert (score.minimum, score.maximum, score.missing) == (minimum, maximum, missing)


def test_second_scale_with_oxygen_unknown_keeps_both_possibilities() -> None:
    score = total(of(CALM, spo2=Decimal(97), on_oxygen=None), scale=2)
    assert score.points["spo2"] == Points(0, 3)
    assert (score.minimum, score.maximum) == (0, 5)


@pytest.mark.parametrize(
    ("changed", "level", "rank"),
    [
        pytest.param({}, "low", None, id="nothing abnormal: nothing to do"),
        pytest.param({"pulse": Decimal(95)}, "low", "4", id="one point"),
        pytest.param({"spo2": Decimal(90)}, "low-medium", "3B", id="one red value"),
        pytest.param({"consciousness": "C"}, "low-medium", "3A", id="new confusion alone"),
        pytest.param({"consciousness": "P"}, "low-medium", "2", id="responds to pain only"),
        pytest.param({"spo2": Decimal(92), "resp_rate": Decimal(26)}, "medium", "3A", id="five points"),
        pytest.param({"spo2": Decimal(92), "resp_rate": Decimal(26), "on_oxygen": True}, "high", "2", id="seven"),
        pytest.param(
            {"spo2": Decimal(88), "resp_rate": Decimal(28), "pulse": Decimal(95)}, "high", "1", id="red and red: 7"
        ),
        pytest.param(
            {"consciousness": "U", "spo2": Decimal(92), "resp_rate": Decimal(22)}, "high", "1", id="unresponsive and 7"
        ),
    ],
)
def test_level_and_rank(changed: dict[str, Any], level: str, rank: str | None) -> None:
    score = total({**CALM, **changed})
    assert (score.level, score.rank.code if score.rank else None) == (level, rank)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        pytest.param("consciousness", "X", id="a letter that is none of ACVPU"),
        pytest.param("on_oxygen", "yes", id="a text for oxygen"),
        pytest.param("pulse", "fast", id="a text for a number"),
        pytest.param("pulse", True, id="a truth value for a number"),
    ],
)
def test_what_is_no_value_is_refused(parameter: str, value: Any) -> None:
    with pytest.raises(ValueError):
        points(parameter, value)


@pytest.mark.parametrize(
    ("rule", "given", "says"),
    [
        pytest.param("none", {}, "no such rule", id="unknown rule"),
        pytest.param("news2_total", [], "no object", id="input is a list"),
        pytest.param("news2_total", {}, "missing", id="nothing known"),
        pytest.param("news2_total", {"pulse": "80"}, "pulse", id="number as text"),
        pytest.param("news2_total", {"pulse": 80, "spo2_scale": 3}, "spo2_scale", id="third scale"),
        pytest.param("news2_subscore", {"parameter": "mood", "value": 1}, "parameter", id="unknown parameter"),
        pytest.param("shock_index", {"heart_rate": 80, "systolic_bp": 0}, "systolic_bp", id="no pressure"),
        pytest.param("qsofa", {"resp_rate": 20, "systolic_bp": 90}, "altered_mentation", id="mentation unknown"),
    ],
)
def test_what_cannot_be_judged_is_said(rule: str, given: Any, says: str) -> None:
    with pytest.raises(CannotJudge, match=says):
        judge(rule, given)


def test_incomplete_total_gives_both_ends() -> None:
    assert judge("news2_total", {"resp_rate": 23, "pulse": 112}) == {
        "total": None,
        "single_red": False,
        "level": "low",
        "minimum": 4,
        "maximum": 18,
        "level_maximum": "high",
        "missing": ["spo2", "on_oxygen", "systolic_bp", "consciousness", "temperature"],
    }


def test_published_vectors() -> None:
    judged = [v for v in vectors() if v["rule"].startswith("news2") or v["rule"] in ("qsofa", "shock_index")]
    assert len(judged) >= 50
    wrong = [v["id"] for v in judged if judge(v["rule"], v["input"]) != v["expected"]]
    assert wrong == []

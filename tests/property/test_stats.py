"""`$stats` against Python's own statistics, and what it counts, converts and leaves out."""

from __future__ import annotations

import math
import statistics as python
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.operations.statistics import CODES, DAY, Point, Sample, figures, written
from tests.calls import answered, call, memory_hub, put

UCUM = "http://unitsofmeasure.org"
decimals = st.decimals(min_value=-500, max_value=500, places=2, allow_nan=False)


def one(code: str, values: list[Decimal]) -> Decimal | None:
    points = [Point(Fraction(value), None) for value in values]
    (figure,) = figures(code, Sample(points, len(points), "kg", 0))
    return figure.value


def quantiles(values: list[Decimal], n: int) -> list[Decimal]:
    return python.quantiles(values, n=n, method="inclusive") if len(values) > 1 else values * (n - 1)


@given(st.lists(decimals, min_size=1, max_size=30))
def test_each_statistic_is_that_of_another_implementation(values: list[Decimal]) -> None:
    exact = [Fraction(value) for value in values]
    assert one("average", values) == written(python.mean(exact))
    assert one("sum", values) == sum(values)
    assert one("minimum", values) == min(values) and one("maximum", values) == max(values)
    assert one("median", values) == python.median(values)
    assert one("count", values) == one("total-count", values) == len(values)
    for code, n, place in [("20-percent", 5, 0), ("80-percent", 5, 3), ("4-lower", 4, 0), ("4-upper", 4, 2), ("5-1", 5, 0), ("5-2", 5, 1), ("5-3", 5, 2), ("5-4", 5, 3)]:  # fmt: skip
        assert one(code, values) == quantiles(values, n)[place], code
    quartiles = quantiles(values, 4)
    assert one("4-dev", values) == (quartiles[2] - quartiles[0]) / 2
    if len(values) > 1:
        assert one("variance", values) == written(python.variance(exact))
        assert math.isclose(one("std-dev", values) or 0, python.stdev(values), rel_tol=1e-12, abs_tol=1e-12)
    else:
        assert one("variance", values) is None and one("std-dev", values) is None
    n = len(exact)
    mean = sum(exact, Fraction()) / n
    second = sum(((v - mean) ** 2 for v in exact), Fraction()) / n
    if second:
        third, fourth = (sum(((v - mean) ** power for v in exact), Fraction()) / n for power in (3, 4))
        assert math.isclose(one("skew", values) or 0, float(third) / float(second) ** 1.5, rel_tol=1e-9, abs_tol=1e-9)
        assert one("kurtosis", values) == written(fourth / second**2)
    else:
        assert one("skew", values) is None and one("kurtosis", values) is None


@given(st.lists(st.tuples(st.integers(0, 400), decimals), min_size=2, max_size=20, unique_by=lambda pair: pair[0]))
def test_the_regression_is_that_of_another_implementation(pairs: list[tuple[int, Decimal]]) -> None:
    points = [Point(Fraction(value), hour * DAY // 24) for hour, value in pairs]
    gradient, intercept = figures("regression", Sample(points, len(points), "kg", 0))
    other = python.linear_regression([hour / 24 for hour, _ in pairs], [float(value) for _, value in pairs])
    assert math.isclose(gradient.value or 0, other.slope, rel_tol=1e-6, abs_tol=1e-6)
    assert math.isclose(intercept.value or 0, other.intercept, rel_tol=1e-6, abs_tol=1e-6)
    assert (gradient.unit, intercept.unit) == ("kg/d", "kg")


@pytest.mark.parametrize("code", CODES)
def test_a_statistic_of_nothing_is_not_a_number(code: str) -> None:
    found = [figure.value for figure in figures(code, Sample([], 0, "", 0))]
    assert found == ([Decimal(0)] if "count" in code else [None] * len(found))


@pytest.mark.parametrize(
    ("unit", "code", "expected"),
    [
        pytest.param("mm[Hg]", "variance", "mm[Hg].mm[Hg]", id="a square"),
        pytest.param("/min", "variance", "(1/min).(1/min)", id="the square of a rate"),
        pytest.param("kg", "variance", "kg.kg", id="the square of a plain unit"),
        pytest.param("Cel", "average", "Cel", id="an average temperature"),
        pytest.param("Cel", "std-dev", "K", id="a spread of temperatures is in kelvin"),
        pytest.param("[pH]", "variance", "", id="a square that UCUM cannot write"),
        pytest.param("kg", "skew", "1", id="a number without a unit"),
    ],
)
def test_units_are_those_of_the_statistic(unit: str, code: str, expected: str) -> None:
    points = [Point(Fraction(value), None) for value in (1, 2, 4)]
    assert [figure.unit for figure in figures(code, Sample(points, 3, unit, 0))] == [expected]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(Fraction(1, 3), "0.333333333333333", id="what no decimal writes is rounded to 15 digits"),
        pytest.param(Fraction(11, 8), "1.375", id="what a decimal writes is exact"),
        pytest.param(Fraction(120), "120", id="a whole number has no point"),
        pytest.param(Fraction(10**6), "1000000", id="a large one no exponent"),
        pytest.param(Fraction(1, 2**40), "9.09494701772928E-13", id="a very small one has an exponent"),
    ],
)
def test_numbers_are_written_as_far_as_they_go(value: Fraction, text: str) -> None:
    assert str(written(value)) == text


# --- the operation ----------------------------------------------------------------------------------------

Observation = dict[str, Any]


def measured(id: str, code: str, value: Any, unit: str = "kg", **more: Any) -> Observation:
    quantity = {"value": value, "unit": unit, "system": UCUM, "code": unit}
    made = {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"system": "s", "code": code}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2026-01-01",
        "valueQuantity": quantity,
        **more,
    }
    return {name: item for name, item in made.items() if item is not None}


def pressure(id: str, high: int, low: int, **more: Any) -> Observation:
    parts = [{"code": {"coding": [{"system": "s", "code": c}]}, "valueQuantity": {"value": v, "unit": "mm[Hg]", "system": UCUM, "code": "mm[Hg]"}} for c, v in (("high", high), ("low", low))]  # fmt: skip
    return measured(id, "bp", 0, valueQuantity=None, component=parts, **more)


def summary(parameters: dict[str, Any]) -> dict[str, dict[str, tuple[Any, str]]]:
    """Return, by code, each statistic with its unit."""
    made = {}
    for item in parameters["parameter"]:
        if item["name"] == "statistics":
            figures = {
                part["code"]["coding"][0]["code"]: (
                    part.get("valueQuantity", {}).get("value"),
                    part.get("valueQuantity", {}).get("code", ""),
                )
                for part in item["resource"]["component"]
            }
            made[item["resource"]["code"]["coding"][0]["code"]] = figures
    return made


def diagnostics(parameters: dict[str, Any]) -> str:
    found = [i["resource"] for i in parameters["parameter"] if i["name"] == "outcome"]
    return " ".join(issue["diagnostics"] for outcome in found for issue in outcome["issue"])


@pytest.mark.parametrize(
    ("every", "query", "expected", "told"),
    [
        pytest.param(
            [measured("a", "w", 70), measured("b", "w", Decimal("80.5"))],
            "code=w&system=s&statistic=average,maximum,count",
            {"w": {"average": (Decimal("75.25"), "kg"), "maximum": (Decimal("80.5"), "kg"), "count": (2, "1")}},
            "",
            id="exact numbers",
        ),
        pytest.param(
            [measured("a", "w", 70), measured("b", "w", 71), measured("c", "w", 100000, "g")],
            "code=s|w&statistic=maximum",
            {"w": {"maximum": (100, "kg")}},
            "",
            id="other units are converted to that of most values",
        ),
        pytest.param(
            [measured("a", "w", 70), measured("b", "w", 71), measured("c", "w", 5, "cm")],
            "code=w&statistic=count,total-count",
            {"w": {"count": (2, "1"), "total-count": (3, "1")}},
            "1 measurements of w are in cm, which does not convert to kg",
            id="units that do not compare are named",
        ),
        pytest.param(
            [measured("a", "w", 70), measured("b", "w", 1, valueQuantity=None, valueString="much")],
            "code=w&statistic=count,total-count",
            {"w": {"count": (1, "1"), "total-count": (2, "1")}},
            "have no quantity",
            id="what has no value counts in the total",
        ),
        pytest.param(
            [measured("a", "w", 70), measured("b", "w", 1, valueQuantity={"value": 5, "comparator": "<", "system": UCUM, "code": "kg"})],
            "code=w&statistic=minimum",
            {"w": {"minimum": (70, "kg")}},
            "below or above",
            id="a bound is no value",
        ),
        pytest.param(
            [measured("a", "w", 70), measured("b", "w", 1, status="entered-in-error")],
            "code=w&statistic=total-count",
            {"w": {"total-count": (1, "1")}},
            "",
            id="errors are left out",
        ),
        pytest.param(
            [measured("a", "w", 70), measured("b", "w", 80, modifierExtension=[{"url": "http://x", "valueBoolean": True}])],
            "code=w&statistic=maximum",
            {"w": {"maximum": (70, "kg")}},
            "modifier",
            id="what a modifier may change is left out and named",
        ),
        pytest.param(
            [pressure("a", 120, 80), pressure("b", 140, 90)],
            "code=bp&statistic=average",
            {"high": {"average": (130, "mm[Hg]")}, "low": {"average": (85, "mm[Hg]")}},
            "",
            id="a panel gives its components",
        ),
        pytest.param(
            [pressure("a", 120, 80), measured("b", "high", 140, "mm[Hg]")],
            "code=high,bp&statistic=maximum,count",
            {"high": {"maximum": (140, "mm[Hg]"), "count": (2, "1")}, "low": {"maximum": (80, "mm[Hg]"), "count": (1, "1")}},
            "",
            id="a component counts once, with those that stand alone",
        ),
        pytest.param(
            [measured("a", "w", 70), measured("b", "h", 170, "cm"), measured("c", "panel", 0, valueQuantity=None, hasMember=[{"reference": "Observation/a"}, {"reference": "Observation/b"}])],
            "code=panel&statistic=sum",
            {"w": {"sum": (70, "kg")}, "h": {"sum": (170, "cm")}},
            "",
            id="a panel gives its members",
        ),
        pytest.param(
            [measured("a", "w", 70), measured("b", "w", 80, effectiveDateTime="2020-01-01")],
            "code=w&statistic=count&duration=999999",
            {"w": {"count": (2, "1")}},
            "",
            id="a duration in hours back from now",
        ),
        pytest.param([], "code=w&statistic=count,average", {"w": {"count": (0, "1"), "average": (None, "")}}, "", id="nothing is counted as nothing"),
        pytest.param([measured("a", "t", 37, "Cel"), measured("b", "t", Decimal("100.4"), "[degF]")], "code=t&statistic=maximum,std-dev", {"t": {"maximum": (38, "[degF]") , "std-dev": (0, "K")}}, "", id="temperatures are converted"),
    ],
)  # fmt: skip
async def test_what_is_counted(every: list[Observation], query: str, expected: dict[str, Any], told: str) -> None:
    async with memory_hub() as composed:
        await put(composed, [{"resourceType": "Patient", "id": "p"}, *every])
        answer = answered(await call(composed, f"Observation/$stats?subject=Patient/p&{query}"))
        for item in answer["parameter"]:
            assert [i for i in composed.hub.validate(item["resource"]) if i.severity in ("error", "fatal")] == []
    if "t" in expected:  # of two units that are used as often, the last one: either is right here
        found = summary(answer)["t"]
        assert found["maximum"] in ((38, "Cel"), (Decimal("100.4"), "[degF]"))
        assert found["std-dev"][1] in ("K", "[degR]")
        return
    assert summary(answer) == expected
    assert told in diagnostics(answer) and (told or not diagnostics(answer))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 4), decimals), max_size=12))
async def test_a_period_counts_what_a_search_of_it_finds(rows: list[tuple[str, int, Decimal]]) -> None:
    every = [
        measured(f"o{n}", c, v, effectiveDateTime=f"2026-01-0{day}T12:00:00Z") for n, (c, day, v) in enumerate(rows)
    ]
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "subject", "valueUri": "Patient/p"},
            {"name": "coding", "valueCoding": {"system": "s", "code": "a"}},
            {"name": "period", "valuePeriod": {"start": "2026-01-02", "end": "2026-01-03"}},
            {"name": "statistic", "valueCode": "sum"},
            {"name": "statistic", "valueCode": "count"},
            {"name": "include", "valueBoolean": True},
        ],
    }
    async with memory_hub() as composed:
        await put(composed, [{"resourceType": "Patient", "id": "p"}, *every])
        answer = answered(await call(composed, "Observation/$stats", body=body))
    kept = [v for c, day, v in rows if c == "a" and day in (2, 3)]
    found = summary(answer)["a"]
    assert found["count"][0] == len(kept)
    assert found["sum"][0] == (sum(kept) if kept else None)
    sources = [item["resource"]["id"] for item in answer["parameter"] if item["name"] == "source"]
    assert sorted(sources) == sorted(f"o{n}" for n, (c, day, _) in enumerate(rows) if c == "a" and day in (2, 3))

"""Bands: a measured value to points, also where only a bound of the value is known."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import NamedTuple, TypeAlias

Value: TypeAlias = Decimal | str | bool


class Bound(NamedTuple):
    """A value of which only a bound is known, as in Quantity.comparator."""

    comparator: str  # < <= >= >
    value: Decimal


class Points(NamedTuple):
    """The least and the most points that a parameter can have, as far as is known."""

    low: int
    high: int


class Bands(NamedTuple):
    """Rows (highest value of the band, points), ascending; None closes."""

    rows: tuple[tuple[Decimal | None, int], ...]
    step: Decimal = Decimal(1)  # to which the chart is printed
    nearest: bool = False  # round to the nearest step; else a value between two bands takes the more points


def bands(*rows: tuple[str | None, int], step: str = "1", nearest: bool = False) -> Bands:
    """Return bands written with texts, so that 36.1 is 36.1."""
    made = tuple((None if top is None else Decimal(top), points) for top, points in rows)
    return Bands(made, Decimal(step), nearest)


def points_of(chart: Bands, value: Decimal | Bound) -> Points:
    """Return the points of a value in its chart's unit.

    Charts are printed in whole steps. A value between two bands takes the more points of both (a design choice
    on the safe side), unless the chart rounds to the nearest step.
    """
    if isinstance(value, Bound):
        return _points_of_bound(chart, value)
    if chart.nearest:
        points = chart.rows[_row(chart, value.quantize(chart.step, ROUND_HALF_UP))][1]
        return Points(points, points)
    sides = (_step(chart, value, ROUND_FLOOR), _step(chart, value, ROUND_CEILING))
    points = max(chart.rows[_row(chart, side)][1] for side in sides)
    return Points(points, points)


def most(chart: Bands) -> int:
    """Return the most points a chart gives."""
    return max(points for _, points in chart.rows)


def _step(chart: Bands, value: Decimal, rounding: str) -> Decimal:
    return (value / chart.step).to_integral_value(rounding) * chart.step


def _row(chart: Bands, value: Decimal) -> int:
    return next(place for place, (top, _) in enumerate(chart.rows) if top is None or value <= top)


def _points_of_bound(chart: Bands, bound: Bound) -> Points:
    """Every band that the bound leaves open counts."""
    value = bound.value
    if bound.comparator == "<":
        value = _step(chart, value, ROUND_CEILING) - chart.step
    elif bound.comparator == ">":
        value = _step(chart, value, ROUND_FLOOR) + chart.step
    place = _row(chart, value)
    rows = chart.rows[: place + 1] if bound.comparator.startswith("<") else chart.rows[place:]
    return Points(min(points for _, points in rows), max(points for _, points in rows))

"""The statistics of R4's code system, over exact numbers.

Where R4 leaves a choice: variance and standard deviation are those of a sample (n - 1); percentiles, quartiles and
quintiles are linearly interpolated, definition 7 of Hyndman and Fan (https://doi.org/10.1080/00031305.1996.10473566);
skew is the third and kurtosis the fourth standardised moment (a normal distribution has 0 and 3); the regression is
that of least squares over days.
Source: http://terminology.hl7.org/CodeSystem/observation-statistics, version 4.0.1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import cached_property
from math import lcm
from typing import Final, NamedTuple

from fhir_server.ucum import canonical

SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/observation-statistics"
DIGITS: Final = 18  # that a decimal of FHIR carries for sure: https://hl7.org/fhir/R4/datatypes.html#decimal
ROUNDED: Final = 15  # digits of a number that no decimal writes exactly
DAY: Final = 86_400_000_000  # microseconds

# Differences of these are written in another unit: a spread of 1 Cel is 1 K, not 274.15 K.
_DIFFERENCES: Final = {"Cel": "K", "[degF]": "[degR]"}


class Point(NamedTuple):
    """One measurement."""

    value: Fraction
    at: int | None  # microseconds since 1970


class Figure(NamedTuple):
    """One number of a statistic."""

    value: Decimal | None  # None: it is not defined for these measurements
    unit: str  # UCUM
    text: str = ""  # what it is, where a statistic has several


@dataclass(frozen=True)
class Sample:
    """Some measurements in one unit.

    Args:
        points: The measurements.
        total: How many there are with those that have no value to count.
        unit: UCUM.
        origin: Where the days of the regression begin, microseconds since 1970.
    """

    points: Sequence[Point]
    total: int
    unit: str
    origin: int

    @cached_property
    def _scale(self) -> int:
        """A number that makes all values whole, so that sums are those of integers."""
        return lcm(*{point.value.denominator for point in self.points})

    @cached_property
    def _wholes(self) -> list[int]:
        """The values times the scale, least first."""
        return sorted(self.whole(point.value) for point in self.points)

    def whole(self, value: Fraction) -> int:
        """Return a value times the scale."""
        return value.numerator * (self._scale // value.denominator)

    def value(self, place: int) -> Fraction:
        """Return a value by its place, least first."""
        return Fraction(self._wholes[place], self._scale)

    @cached_property
    def sum(self) -> Fraction:
        """All values together."""
        return Fraction(sum(self._wholes), self._scale)

    @cached_property
    def mean(self) -> Fraction:
        """The average; there is at least one value."""
        return self.sum / len(self._wholes)

    def _raw(self, power: int) -> Fraction:
        return Fraction(sum(value**power for value in self._wholes), len(self._wholes) * self._scale**power)

    def moment(self, power: int) -> Fraction:
        """Return the central moment of power 2, 3 or 4."""
        mean, second = self.mean, self._raw(2)
        if power == 2:
            return second - mean**2
        third = self._raw(3)
        if power == 3:
            return third - 3 * mean * second + 2 * mean**3
        return self._raw(4) - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4

    def quantile(self, share: Fraction) -> Fraction:
        """Return the value below which a share of all lies, interpolated."""
        place = (len(self._wholes) - 1) * share
        low = int(place)
        below, above = self.value(low), self.value(min(low + 1, len(self._wholes) - 1))
        return below + (place - low) * (above - below)

    def line(self) -> tuple[Fraction, Fraction] | None:
        """Return gradient a day and value at the origin of the least squares; None where time does not vary."""
        dated = [(point.at - self.origin, self.whole(point.value)) for point in self.points if point.at is not None]
        n, x, y = len(dated), sum(at for at, _ in dated), sum(value for _, value in dated)
        spread = n * sum(at * at for at, _ in dated) - x * x
        if not spread:
            return None
        gradient = Fraction(n * sum(at * value for at, value in dated) - x * y, spread * self._scale)
        return gradient * DAY, Fraction(y, n * self._scale) - gradient * Fraction(x, n)

    @property
    def difference(self) -> str:
        """The unit of differences."""
        return _DIFFERENCES.get(self.unit, self.unit)


def figures(code: str, sample: Sample) -> list[Figure]:
    """Return what a statistic comes to; raise KeyError where R4 has no such statistic."""
    return _STATISTICS[code](sample)


def written(value: Fraction) -> Decimal:
    """Return a number with all its digits where 18 are enough, else rounded to 15."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest == 1:
        exact = Context(prec=400).divide(Decimal(value.numerator), Decimal(value.denominator))
        if len(exact.as_tuple().digits) <= DIGITS:
            return _plain(exact)
    context = Context(prec=ROUNDED, rounding=ROUND_HALF_EVEN)
    return _plain(context.divide(Decimal(value.numerator), Decimal(value.denominator)))


def root(value: Fraction) -> Decimal:
    """Return a square root, exactly or rounded to 15 digits."""
    wide = Context(prec=60)
    found = wide.sqrt(wide.divide(Decimal(value.numerator), Decimal(value.denominator)))
    return written(Fraction(found) if Fraction(found) ** 2 == value else Fraction(Context(prec=ROUNDED).plus(found)))


def _plain(value: Decimal) -> Decimal:
    """Return a decimal without an exponent and without zeros at its end."""
    return Decimal(f"{value:f}".rstrip("0").rstrip(".")) if "." in f"{value:f}" else Decimal(f"{value:f}")


def product(unit: str, sign: str, other: str) -> str:
    """Return a product or quotient of units in UCUM; "" where UCUM cannot write it, as for pH."""
    left, right = (f"1{each}" if each.startswith("/") else each for each in (unit, other))
    made = f"({left}){sign}({right})" if {"/", "."} & {*left, *right} else f"{left}{sign}{right}"
    return made if canonical(made) is not None else ""


_Statistic = Callable[[Sample], list[Figure]]


def _of(measure: Callable[[Sample], Fraction | None], unit: Callable[[Sample], str], least: int = 1) -> _Statistic:
    """Return a statistic that is defined from `least` values on."""

    def statistic(sample: Sample) -> list[Figure]:
        value = measure(sample) if len(sample.points) >= least else None
        return [Figure(None if value is None else written(value), unit(sample))]

    return statistic


def _unit(sample: Sample) -> str:
    return sample.unit


def _difference(sample: Sample) -> str:
    return sample.difference


def _one(sample: Sample) -> str:
    return "1"


def _square(sample: Sample) -> str:
    return product(sample.difference, ".", sample.difference)


def _quantile(share: str) -> _Statistic:
    return _of(lambda sample: sample.quantile(Fraction(share)), _unit)


def _variance(sample: Sample) -> Fraction:
    return sample.moment(2) * len(sample.points) / (len(sample.points) - 1)


def _deviation(sample: Sample) -> list[Figure]:
    value = root(_variance(sample)) if len(sample.points) > 1 else None
    return [Figure(value, sample.difference)]


def _quartile_deviation(sample: Sample) -> Fraction:
    return (sample.quantile(Fraction(3, 4)) - sample.quantile(Fraction(1, 4))) / 2


def _skew(sample: Sample) -> list[Figure]:
    spread = sample.moment(2) if sample.points else Fraction()
    if not spread:
        return [Figure(None, "1")]
    third = sample.moment(3)
    size = root(third * third / spread**3)
    return [Figure(-size if third < 0 else size, "1")]


def _kurtosis(sample: Sample) -> Fraction | None:
    spread = sample.moment(2)
    return sample.moment(4) / spread**2 if spread else None


def _regression(sample: Sample) -> list[Figure]:
    line = sample.line()
    gradient, intercept = (None, None) if line is None else map(written, line)
    return [
        Figure(gradient, product(sample.difference, "/", "d"), "gradient a day"),
        Figure(intercept, sample.unit, "intercept, at the period's begin"),
    ]


_STATISTICS: Final[Mapping[str, _Statistic]] = {
    "average": _of(lambda sample: sample.mean, _unit),
    "maximum": _of(lambda sample: sample.value(-1), _unit),
    "minimum": _of(lambda sample: sample.value(0), _unit),
    "count": _of(lambda sample: Fraction(len(sample.points)), _one, least=0),
    "total-count": _of(lambda sample: Fraction(sample.total), _one, least=0),
    "median": _quantile("1/2"),
    "std-dev": _deviation,
    "sum": _of(lambda sample: sample.sum, _unit),
    "variance": _of(_variance, _square, least=2),
    "20-percent": _quantile("1/5"),
    "80-percent": _quantile("4/5"),
    "4-lower": _quantile("1/4"),
    "4-upper": _quantile("3/4"),
    "4-dev": _of(_quartile_deviation, _difference),
    "5-1": _quantile("1/5"),
    "5-2": _quantile("2/5"),
    "5-3": _quantile("3/5"),
    "5-4": _quantile("4/5"),
    "skew": _skew,
    "kurtosis": _of(_kurtosis, _one),
    "regression": _regression,
}
CODES: Final = tuple(_STATISTICS)

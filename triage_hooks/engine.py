"""The engine: readings in, an evaluation out. Pure: no clock, no store, no randomness.

The same readings at the same moment give the same evaluation, for ever: a rule's version changes with it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple

from triage_hooks.rules.bands import Bound, Value
from triage_hooks.rules.inputs import INPUTS
from triage_hooks.rules.score import Rule, Score


class Reading(NamedTuple):
    """One measured input of one patient."""

    input: str  # name in rules.inputs
    at: int  # microseconds since 1970, when it was measured
    value: Value | Bound | None  # None: something is there that cannot be used
    reference: str  # Observation/id
    problem: str = ""  # why it cannot be used: absent, unit, implausible, unreadable


class Evaluation(NamedTuple):
    """What a rule says of a patient as of a moment."""

    rule: Rule
    at: int
    score: Score
    scale: int  # oxygen saturation scale that held
    used: Mapping[str, Reading]
    problems: Mapping[str, str]  # missing input -> why: absent when there is no value at all


class Series:
    """Readings of one patient, by input, in the order of time."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._readings: dict[str, list[Reading]] = {}
        for reading in sorted(readings, key=_PLACE):
            held = self._readings.get(reading.input)
            if held is None:
                self._readings[reading.input] = [reading]
            else:
                held.append(reading)

    def newest(self, name: str, at: int) -> Sequence[Reading]:
        """Return the newest readings of an input that still count: several only where they share a moment."""
        items: Sequence[Reading] = self._readings.get(name, ())
        place = len(items)
        if place and items[-1].at > at:
            place = bisect_right(items, at, key=_AT)
        if not place or at - items[place - 1].at > INPUTS[name].window:
            return ()
        first = place - 1
        if first and items[first - 1].at == items[first].at:
            first = bisect_left(items, items[first].at, 0, place, key=_AT)
        return items[first:place]

    def moments(self, name: str) -> Sequence[int]:
        """Return when an input was measured, oldest first."""
        return [reading.at for reading in self._readings.get(name, ())]


_AT: Final = itemgetter(1)
_PLACE: Final = itemgetter(1, 3)
"""Order by time; what shares a moment by its reference: arbitrary, but always the same."""


def evaluate(rule: Rule, series: Series, at: int, *, scale: int = 1) -> Evaluation:
    """Apply a rule to what is known at a moment.

    A value that cannot be used is missing, and named; it never counts as normal, and an older usable value
    does not stand in for it.
    """
    used: dict[str, Reading] = {}
    problems: dict[str, str] = {}
    values: dict[str, Value | Bound] = {}
    for name in rule.inputs:
        newest = series.newest(name, at)
        if not newest:
            problems[name] = "absent"
            continue
        reading = newest[0] if len(newest) == 1 else _chosen(rule, newest, scale)
        if reading.value is None:
            problems[name] = reading.problem
        else:
            used[name], values[name] = reading, reading.value
    score = _scored(rule.formula, tuple(values.items()), scale)
    return Evaluation(rule, at, score, scale, used, problems)


@lru_cache(4096)
def _scored(
    formula: Callable[[Mapping[str, Value | Bound], int], Score],
    values: tuple[tuple[str, Value | Bound], ...],
    scale: int,
) -> Score:
    """Return what a formula says: what is measured takes few values, and most moments know one or two inputs."""
    return formula(dict(values), scale)


def _chosen(rule: Rule, readings: Sequence[Reading], scale: int) -> Reading:
    """Of readings that share a moment take a usable one, and of several the gravest."""
    values: dict[Value | Bound, Reading] = {}
    for reading in readings:
        if reading.value is not None:
            values.setdefault(reading.value, reading)
    if len(values) < 2:
        return next(iter(values.values()), readings[0])
    return max(values.items(), key=lambda pair: rule.formula({pair[1].input: pair[0]}, scale).minimum)[1]


def worse(one: Evaluation, other: Evaluation | None) -> bool:
    """Whether one evaluation is more urgent than another: by rank, then by the least reachable score."""
    return other is None or urgency(one) > urgency(other)


def urgency(evaluation: Evaluation) -> tuple[int, int]:
    """Return what orders evaluations, the most urgent greatest."""
    rank = evaluation.score.rank
    return (-rank.place if rank else -99, evaluation.score.minimum)

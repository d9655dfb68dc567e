"""Which evaluations are worth a record, and a quick look that tells where none is, as nearly always."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from triage_hooks.chart import WINDOWS, Chart
from triage_hooks.engine import Evaluation, Reading, Series, evaluate, urgency, worse
from triage_hooks.rules.bands import Bound, Value
from triage_hooks.rules.score import Rule, Score

SCALES: Final = (1, 2)  # of the oxygen saturation


def is_silent(rule: Rule, chart: Chart, fresh: Sequence[Reading]) -> bool:
    """Whether a quick look says that no evaluation is worth a record, whatever the oxygen scale.

    True only where `to_record(evaluations(...))` would be empty on both scales; False where it would not be, or where
    the look is too quick to say: readings of several moments, later ones before them, two of an input at one moment.

    Args:
        rule: That judges.
        chart: Of the patient, complete from the moment of the fresh readings on, which it holds.
        fresh: At least one, of this rule's inputs.
    """
    at = fresh[0].at
    if at != chart.newest or (len(fresh) > 1 and any([reading.at != at for reading in fresh])):
        return False
    lanes, values = chart.lanes, []
    for name in rule.inputs:
        lane = lanes.get(name)
        if lane is None:
            continue
        readings = lane.readings
        reading = readings[-1]
        if at - reading.at > WINDOWS[name]:
            continue
        if len(readings) > 1 and readings[-2].at == reading.at:
            return False
        if reading.value is not None:
            values.append((name, reading.value))
    return _is_silent(rule.formula, rule.enough, rule.notable, tuple(values))


@lru_cache(8192)  # what is measured takes few values, and most moments know one or two inputs
def _is_silent(
    formula: Callable[[Mapping[str, Value | Bound], int], Score],
    enough: int,
    notable: int,
    values: tuple[tuple[str, Value | Bound], ...],
) -> bool:
    known = dict(values)
    scales = SCALES if "spo2" in known else SCALES[:1]
    return not any([_tells(formula(known, scale), len(known), enough, notable) for scale in scales])


def is_telling(evaluation: Evaluation) -> bool:
    """Whether a score is worth a record: much is known, or what is known is not calm."""
    rule = evaluation.rule
    return _tells(evaluation.score, len(evaluation.used), rule.enough, rule.notable)


def _tells(score: Score, used: int, enough: int, notable: int) -> bool:
    return used >= enough or score.is_complete or score.minimum >= notable


def evaluations(rule: Rule, fresh: Sequence[Reading], stored: Sequence[Reading], scale: int) -> list[Evaluation]:
    """Evaluate at every moment at which a fresh reading counts, oldest first.

    A reading that comes late counts at its own moment and at the later ones whose set it completes.
    """
    series = Series([*fresh, *stored])
    new = {(reading.reference, reading.input) for reading in fresh}
    first = min(reading.at for reading in fresh)
    moments = sorted({reading.at for reading in (*fresh, *stored) if reading.at >= first})
    made = (evaluate(rule, series, at, scale=scale) for at in moments)
    return [item for item in made if any((used.reference, name) in new for name, used in item.used.items())]


def to_record(judged: Sequence[Evaluation]) -> list[Evaluation]:
    """Return the newest evaluation, then the gravest where another one is graver; those not worth a record left out."""
    if not judged:
        return []
    newest = judged[-1]
    gravest = max(judged, key=urgency) if len(judged) > 1 else newest
    both = [newest, gravest] if gravest is not newest and worse(gravest, newest) else [newest]
    return [item for item in both if is_telling(item)]

"""What a rule answers: a score with its reachable range, and the form every rule has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from triage_hooks.ranks import Rank
from triage_hooks.rules.bands import Bound, Points, Value


class Score(NamedTuple):
    """A score as far as is known: missing inputs widen the range, they never count 0."""

    points: Mapping[str, Points]  # of each input, in the rule's order; a missing one has its whole range
    missing: tuple[str, ...]
    level: str  # of the least reachable total, in the rule's own words
    level_most: str  # of the greatest
    red: tuple[str, ...]  # inputs that alone are grave, for certain
    rank: Rank | None  # of the least reachable total; None: nothing to do

    @property
    def minimum(self) -> int:
        """The least total that is possible."""
        return sum(points.low for points in self.points.values())

    @property
    def maximum(self) -> int:
        """The greatest total that is possible."""
        return sum(points.high for points in self.points.values())

    @property
    def is_complete(self) -> bool:
        """Whether every input is known."""
        return not self.missing


class Rule(NamedTuple):
    """A rule that runs on incoming measurements; all of it is data but the formula."""

    id: str
    version: str
    title: str
    source: str  # who published the numbers
    family: str  # one open alert for each patient and family
    track: str  # acute | chronic
    inputs: tuple[str, ...]  # names in rules.inputs
    enough: int  # known inputs from which any score is worth a record
    notable: int  # least reachable score from which it is, however little is known
    adult_from: int  # age in years below which the rule does not hold
    formula: Callable[[Mapping[str, Value | Bound], int], Score]  # (values, oxygen scale) -> score

"""Quick SOFA: one point each for fast breathing, low pressure, altered mentation; positive from 2.

Source: Singer et al., Sepsis-3, JAMA 2016;315:801 (numbers as quoted by PMC6134436). It means something only
where an infection is suspected, so no measurement triggers it by itself.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

RATE_FROM: Final = Decimal(22)  # /min
SYSTOLIC_TO: Final = Decimal(100)  # mm[Hg]
POSITIVE_FROM: Final = 2


class Quick(NamedTuple):
    """Points, and whether they suggest a poor outcome."""

    score: int
    positive: bool


def quick(*, resp_rate: Decimal, systolic_bp: Decimal, altered_mentation: bool) -> Quick:
    """Return the score of three known values."""
    score = (resp_rate >= RATE_FROM) + (systolic_bp <= SYSTOLIC_TO) + altered_mentation
    return Quick(score, score >= POSITIVE_FROM)

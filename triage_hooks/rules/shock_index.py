"""Shock index: heart rate over systolic pressure.

Source: Rady et al., Ann Emerg Med 1994 (PubMed 8092595): normal 0.5 to 0.7, abnormal above 0.9. What lies
between is called borderline here. Beta-blockers mask it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

NORMAL_TO: Final = Decimal("0.7")
ABNORMAL_ABOVE: Final = Decimal("0.9")


class Shock(NamedTuple):
    """The quotient, to three decimals, and its class."""

    quotient: Decimal
    kind: str  # normal | borderline | abnormal


def shock_index(*, heart_rate: Decimal, systolic_bp: Decimal) -> Shock:
    """Return the index; ValueError where the pressure is not above 0."""
    if systolic_bp <= 0:
        raise ValueError("systolic_bp")
    exact = heart_rate / systolic_bp
    kind = "normal" if exact <= NORMAL_TO else "abnormal" if exact > ABNORMAL_ABOVE else "borderline"
    return Shock(exact.quantize(Decimal("0.001")), kind)

"""What of a measurement is calm: where the rules' own charts give no points. For feeds that choose what goes first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from fhir_server.interface import Calm
from triage_hooks.rules.bands import Bands
from triage_hooks.rules.inputs import INPUTS, Input
from triage_hooks.rules.news2 import CHARTS as NEWS2_CHARTS
from triage_hooks.rules.news2 import CONSCIOUSNESS as NEWS2_CONSCIOUSNESS
from triage_hooks.rules.news2 import NEWS2, SPO2_SCALE_1
from triage_hooks.rules.score import Rule
from triage_hooks.vital_signs import CONSCIOUSNESS, OXYGEN_CONCENTRATION, OXYGEN_FLOW, ROOM_AIR, YES_NO

CHARTS: Final[Mapping[str, Mapping[str, Bands]]] = {NEWS2.id: {**NEWS2_CHARTS, "spo2": SPO2_SCALE_1}}
"""Rule -> input -> its chart. Of the oxygen scales the first: the second is one patient's, and no feed knows whose."""

_NO: Final = frozenset(code for (_, code), answer in YES_NO.items() if not answer)
_ALERT: Final = frozenset(code for (_, code), letter in CONSCIOUSNESS.items() if not NEWS2_CONSCIOUSNESS[letter])


def calm(rules: Sequence[Rule]) -> tuple[Calm, ...]:
    """Return what is calm of each measurement that a rule takes in; where several rules do, what all call so."""
    found: dict[tuple[str, str], Calm] = {}
    for rule in rules:
        for name in rule.inputs:
            for one in _of(INPUTS[name], CHARTS[rule.id].get(name)):
                before = found.get(one[:2])
                found[one[:2]] = one if before is None else _both(before, one)
    return tuple(found.values())


def _of(item: Input, chart: Bands | None) -> Iterator[Calm]:
    for system, code in item.codes:
        if chart is not None:
            yield Calm(system, code, *_range(item, chart))
        elif code in (OXYGEN_FLOW, OXYGEN_CONCENTRATION):
            yield Calm(system, code, Decimal(0), Decimal(0) if code == OXYGEN_FLOW else ROOM_AIR)
        else:
            yield Calm(system, code, answers=_NO if item.name == "on_oxygen" else _ALERT)


def _range(item: Input, chart: Bands) -> tuple[Decimal, Decimal]:
    """Return the least and the greatest value of no points, within what is taken for a measurement."""
    low = item.low
    for top, points in chart.rows:
        if not points:
            return low, item.high if top is None else top
        assert top is not None, "a chart has a row of no points"
        low = top + chart.step
    raise AssertionError("a chart has a row of no points")


def _both(one: Calm, other: Calm) -> Calm:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Calm(one.system, one.code, answers=one.answers & other.answers)
    low, high = max(one.low, other.low), min(one.high, other.high)
    return Calm(one.system, one.code, low, high, one.answers & other.answers)

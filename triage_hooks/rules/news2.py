"""NEWS2, the National Early Warning Score, as published; no number of it is altered.

Source: Royal College of Physicians, National Early Warning Score (NEWS) 2: standardising the assessment of
acute-illness severity in the NHS, London, 2017, chart 1 (points) and chart 2 (thresholds). Reproduced with
acknowledgement of the Royal College of Physicians.

For people of 16 years and more who are not pregnant. The second oxygen scale is for confirmed hypercapnic
respiratory failure with a prescribed target of 88 to 92 %: a clinician sets it, a diagnosis alone never does.
Made for hospitals; its use at home is an extrapolation and no validation of it was found: a sorting aid.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Final

from triage_hooks.ranks import Rank, rank
from triage_hooks.rules.bands import Bands, Bound, Points, Value, bands, most, points_of
from triage_hooks.rules.score import Rule, Score

CHARTS: Final[Mapping[str, Bands]] = {
    "resp_rate": bands(("8", 3), ("11", 1), ("20", 0), ("24", 2), (None, 3)),
    "systolic_bp": bands(("90", 3), ("100", 2), ("110", 1), ("219", 0), (None, 3)),
    "pulse": bands(("40", 3), ("50", 1), ("90", 0), ("110", 1), ("130", 2), (None, 3)),
    # Rounded to the nearest 0.1 degree before banding.
    "temperature": bands(("35.0", 3), ("36.0", 1), ("38.0", 0), ("39.0", 1), (None, 2), step="0.1", nearest=True),
}
SPO2_SCALE_1: Final = bands(("91", 3), ("93", 2), ("95", 1), (None, 0))
SPO2_SCALE_2_AIR: Final = bands(("83", 3), ("85", 2), ("87", 1), (None, 0))
SPO2_SCALE_2_OXYGEN: Final = bands(("83", 3), ("85", 2), ("87", 1), ("92", 0), ("94", 1), ("96", 2), (None, 3))
OXYGEN: Final = {False: 0, True: 2}
CONSCIOUSNESS: Final = {"A": 0, "C": 3, "V": 3, "P": 3, "U": 3}  # C is new confusion
# Every chart has a band of no points and one of the most; all oxygen saturation charts reach the same.
UNKNOWN: Final[Mapping[str, Points]] = {
    **{name: Points(0, most(chart)) for name, chart in {**CHARTS, "spo2": SPO2_SCALE_1}.items()},
    "on_oxygen": Points(0, max(OXYGEN.values())),
    "consciousness": Points(0, max(CONSCIOUSNESS.values())),
}
RED: Final = 3  # points of one parameter that are a warning by themselves
MEDIUM: Final = 5  # urgent response threshold
HIGH: Final = 7  # emergency response threshold

PARAMETERS: Final = ("resp_rate", "spo2", "on_oxygen", "systolic_bp", "pulse", "consciousness", "temperature")
_UNKNOWN: Final = {name: UNKNOWN[name] for name in PARAMETERS}


@lru_cache(4096, typed=True)  # a measure takes few values, and each transaction asks for all seven
def points(parameter: str, value: Value | Bound | None, *, scale: int = 1, oxygen: bool | None = None) -> Points:
    """Return the points of one parameter, as a range where the value is not known for certain.

    Args:
        parameter: One of PARAMETERS.
        value: A number in the chart's unit (/min, %, mm[Hg], Cel), a yes or no for oxygen, a letter for
            consciousness; None when missing.
        scale: Which oxygen saturation scale holds, 1 or 2.
        oxygen: Whether the patient breathes oxygen; None when unknown. Only scale 2 asks.

    Raises:
        ValueError: The value is none that the parameter can have.
    """
    if value is None:
        return UNKNOWN[parameter]
    if parameter == "on_oxygen":
        return _listed(OXYGEN, value)
    if parameter == "consciousness":
        return _listed(CONSCIOUSNESS, value)
    charts = _saturation_charts(scale, oxygen) if parameter == "spo2" else (CHARTS[parameter],)
    if isinstance(value, bool) or not isinstance(value, (Decimal, Bound)):
        raise ValueError(parameter)
    reached = [points_of(chart, value) for chart in charts]
    return Points(min(item.low for item in reached), max(item.high for item in reached))


def total(values: Mapping[str, Value | Bound], scale: int = 1) -> Score:
    """Add up what is known and what could be.

    The two ends are both reachable: on scale 2 the saturation never has more points on air than on oxygen,
    so that the least total is that on air, and the greatest that on oxygen.
    """
    oxygen = values.get("on_oxygen")
    known = oxygen if isinstance(oxygen, bool) else None
    reached, missing, red = dict(_UNKNOWN), [], []
    least = greatest = 0
    for name in PARAMETERS:
        if name in values:
            reached[name] = points(name, values[name], scale=scale, oxygen=known)
        else:
            missing.append(name)
        low, high = reached[name]
        least += low
        greatest += high
        if low == RED:
            red.append(name)
    return Score(
        points=reached,
        missing=tuple(missing),
        level=_level(least, bool(red)),
        level_most=_level(greatest, any(item.high == RED for item in reached.values())),
        red=tuple(red),
        rank=_rank(least, tuple(red), values.get("consciousness")),
    )


def _listed(chart: Mapping[str, int] | Mapping[bool, int], value: object) -> Points:
    for key, reached in chart.items():
        if value == key and type(value) is type(key):
            return Points(reached, reached)
    raise ValueError("not in the chart")


def _saturation_charts(scale: int, oxygen: bool | None) -> tuple[Bands, ...]:
    if scale == 1:
        return (SPO2_SCALE_1,)
    if scale != 2:
        raise ValueError("scale")
    if oxygen is None:
        return (SPO2_SCALE_2_AIR, SPO2_SCALE_2_OXYGEN)
    return (SPO2_SCALE_2_OXYGEN,) if oxygen else (SPO2_SCALE_2_AIR,)


def _level(reached: int, red: bool) -> str:
    """Name the clinical risk as chart 2 does."""
    if reached >= HIGH:
        return "high"
    if reached >= MEDIUM:
        return "medium"
    return "low-medium" if red else "low"


def _rank(reached: int, red: tuple[str, ...], consciousness: object) -> Rank | None:
    """Order among all alerts: this hub's design, for clinicians to confirm.

    That a patient who is not alert is never below tri 2 follows the French grid (SFMU, FRENCH V1, 2018:
    altered consciousness is tri 2).
    """
    unresponsive = consciousness in ("V", "P", "U")
    if reached >= HIGH:
        return rank("1") if unresponsive or {"spo2", "resp_rate"} <= set(red) else rank("2")
    if unresponsive:
        return rank("2")
    if reached >= MEDIUM:
        return rank("3A")
    if red:
        return rank("3A") if consciousness == "C" else rank("3B")
    return rank("4") if reached else None


NEWS2: Final = Rule(
    id="news2",
    version="1.0.0",
    title="NEWS2",
    source="Royal College of Physicians, NEWS2, London, 2017",
    family="vitals",
    track="acute",
    inputs=PARAMETERS,
    enough=3,
    notable=2,
    adult_from=16,
    formula=total,
)

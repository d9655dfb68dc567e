"""Which measures a code may stand for, and which of them a unit and a duration choose."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from adapters.devices.measures import MEASURES, QUANTITY, Measure
from adapters.devices.unit import UNITS, Unit, is_convertible

DAY_US: Final = 86_400_000_000  # microseconds


class Panel(NamedTuple):
    """A reading made of components."""

    loinc: str
    mdc: int
    fr: str
    en: str
    required: tuple[str, ...]  # LOINC codes
    optional: tuple[str, ...]
    source: str


BLOOD_PRESSURE: Final = Panel(
    "85354-9",
    150020,
    "Pression artérielle",
    "Blood pressure",
    ("8480-6", "8462-4"),
    ("8478-0",),
    "https://hl7.org/fhir/R4/bp.html",
)


def _grouped() -> Mapping[tuple[str, str], tuple[Measure, ...]]:
    made: dict[tuple[str, str], tuple[Measure, ...]] = {}
    for measure in MEASURES:
        # A narrower code is its row's last one: 59408-5 means 2708-6 too, not the other way round.
        keys = [("loinc", code) for code in measure.loinc[-1:]]
        keys += [("mdc", str(code)) for code in measure.mdc]
        keys += [("local", measure.local)] if measure.local else []
        for key in keys:
            made[key] = (*made.get(key, ()), measure)
    return MappingProxyType(made)


_BY_CODE: Final = _grouped()


def measures_of(system: str, code: str) -> tuple[Measure, ...]:
    """Return the measures that a code (`loinc`, `mdc`, `local`) may stand for; several where the unit decides."""
    return _BY_CODE.get((system, code), ())


def panel_of(system: str, code: str) -> Panel | None:
    """Return the panel that a code stands for, if it does."""
    panel = BLOOD_PRESSURE
    return panel if (system, code) in (("loinc", panel.loinc), ("mdc", str(panel.mdc))) else None


def fitting(candidates: tuple[Measure, ...], unit: Unit, *, lasted: int | None = None) -> Measure | None:
    """Return the measure that takes values in `unit`, one of that very dimension first; None where none does.

    Args:
        candidates: Of one code.
        unit: Of the value.
        lasted: Microseconds of the measurement, None where it is of a moment; 24 hours choose a code of a day.
    """
    quantities = [measure for measure in candidates if measure.kind == QUANTITY]
    same = [measure for measure in quantities if UNITS[measure.unit].dimension == unit.dimension]
    if same:
        of_day = [measure for measure in same if measure.day]
        rest = [measure for measure in same if not measure.day]
        return of_day[0] if of_day and (lasted == DAY_US or not rest) else rest[0]
    return next((m for m in quantities if is_convertible(unit, UNITS[m.unit], glucose=m.glucose)), None)

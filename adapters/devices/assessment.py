"""Whether a reading is fit for the record: code known, unit convertible, value plausible, time exact. Pure."""

from __future__ import annotations

from adapters.devices import reason
from adapters.devices.instant import exact
from adapters.devices.measure import Measure, Panel, fitting, measures_of, panel_of
from adapters.devices.reading import Measured, Part, Reading, Sample
from adapters.devices.reason import Reason
from adapters.devices.unit import UNITS, convert, unit_of


def assess(reading: Reading) -> Measured | Reason:
    """Return the reading in canonical units, or the first reason why it stays out of the record."""
    panel = panel_of(reading.system, reading.code)
    if panel is None and not measures_of(reading.system, reading.code):
        return reason.CODE_UNKNOWN
    if (panel is not None) != reading.is_panel or not reading.samples:
        return reason.MALFORMED
    parts: list[Part] = []
    category = "vital-signs"
    for sample in reading.samples:
        judged = _judge(reading.system, sample)
        if isinstance(judged, Reason):
            return judged
        measure, part = judged
        category = measure.category if panel is None else category
        parts.append(part)
    if panel is not None and (missing := _incomplete(panel, parts)):
        return missing
    instant = exact(reading.at) if reading.at else None
    if reading.at and instant is None:
        return reason.TIME_UNREADABLE
    if not reading.at and not reading.id:
        return reason.UNTRACEABLE
    mdc = reading.code if reading.system == "mdc" else ""
    loinc = (panel.loinc,) if panel else parts[0].loinc
    text = panel.fr if panel else parts[0].text
    return Measured(loinc, mdc, text, category, tuple(parts), panel is not None, reading.at, instant)


def _judge(system: str, sample: Sample) -> tuple[Measure, Part] | Reason:
    candidates = measures_of(system, sample.code)
    if not candidates:
        return reason.CODE_UNKNOWN
    if sample.value is None:
        return reason.VALUE_UNREADABLE
    unit = unit_of(sample.unit)
    if unit is None:
        return reason.UNIT_UNKNOWN
    measure = fitting(candidates, unit)
    if measure is None:
        return reason.UNIT_MISMATCH
    wanted = UNITS[measure.unit]
    value = convert(sample.value, unit, wanted, decimals=measure.decimals)
    if not measure.low <= value <= measure.high:
        return reason.VALUE_IMPLAUSIBLE
    same = (unit.factor, unit.offset, unit.dimension) == (wanted.factor, wanted.offset, wanted.dimension)
    mdc = sample.code if system == "mdc" else ""
    shown = sample.unit.strip() if same and not sample.unit.strip().isdigit() else wanted.code
    part = Part(measure.loinc, mdc, measure.fr, value, shown, wanted.code, None if same else sample)
    return measure, part


def _incomplete(panel: Panel, parts: list[Part]) -> Reason | None:
    """Return why the components do not make the panel: one missing, twice or foreign, or a pressure upside down."""
    values = {part.loinc[0]: part.value for part in parts}
    if len(values) != len(parts) or not values.keys() <= {*panel.required, *panel.optional}:
        return reason.MALFORMED
    if not values.keys() >= set(panel.required):
        return reason.COMPONENT_MISSING
    systolic, diastolic = (values[code] for code in panel.required)
    return reason.VALUE_IMPLAUSIBLE if systolic <= diastolic else None

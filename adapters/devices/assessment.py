"""Whether a reading is fit for the record: code known, unit convertible, value plausible, time exact. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from adapters.devices import measures, reason
from adapters.devices.instant import exact
from adapters.devices.measure import DAY_US, Panel, fitting, measures_of, panel_of
from adapters.devices.measures import Measure
from adapters.devices.reading import Measured, Part, Reading, Sample
from adapters.devices.reason import Reason
from adapters.devices.unit import UNITS, Unit, convert, unit_of

PANEL: Final = "panel"
SHAPES: Final[Mapping[str, frozenset[frozenset[str]]]] = MappingProxyType(
    {
        kind: frozenset(frozenset(shape.split()) for shape in shapes)
        for kind, shapes in {
            PANEL: ("number",),
            measures.QUANTITY: ("number", "absent"),
            measures.CODED: ("coded", "absent"),
            measures.WAVE: ("wave", "absent"),
            measures.MEDIA: ("media",),
            measures.EVENT: ("", "coded"),
            measures.MEDICATION: ("", "number", "coded", "medication", "number medication", "coded medication"),
        }.items()
    }
)
"""What a reading of each kind holds: one of these sets."""
MANNERS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {measures.MEDIA: frozenset({"site", "notes"}), measures.MEDICATION: frozenset({"notes"})}
)
"""What may stand beside the value of these kinds; of others all of it."""
MOST_DOSE: Final = 10_000
LONGEST: Final = 31 * 86_400_000_000  # microseconds that a reading may last


class Span(NamedTuple):
    """When, by the device's own clock; None where it has none."""

    instant: int | None
    end: int | None
    is_day: bool = False  # from midnight to midnight: of 23, 24 or 25 hours

    @property
    def lasted(self) -> int | None:
        """Microseconds that it took."""
        return self.end - self.instant if self.end is not None and self.instant is not None else None


def assess(reading: Reading) -> Measured | Reason:
    """Return the reading in canonical units, or the first reason why it stays out of the record."""
    panel = panel_of(reading.system, reading.code)
    candidates = measures_of(reading.system, reading.code)
    if panel is None and not candidates:
        return reason.CODE_UNKNOWN
    if panel is None and candidates[0].kind == measures.CONTROL:
        return reason.CONTROL_SOLUTION
    if not _has_shape(reading, panel, candidates):
        return reason.MALFORMED
    span = _span(reading)
    if isinstance(span, Reason):
        return span
    return _of_panel(reading, panel, span) if panel else _of_kind(reading, candidates, span)


def _has_shape(reading: Reading, panel: Panel | None, candidates: Sequence[Measure]) -> bool:
    """Whether the reading has what its code asks for, and nothing else."""
    kind = PANEL if panel else candidates[0].kind
    beside = {name for name in ("site", "method", "notes") if getattr(reading, name)}
    is_told = beside <= MANNERS.get(kind, beside)
    return _given(reading) in SHAPES[kind] and (kind == PANEL) == reading.is_panel and is_told


def _given(reading: Reading) -> frozenset[str]:
    is_absent = len(reading.samples) == 1 and bool(reading.samples[0].absent) and not reading.is_panel
    there = {
        "number": bool(reading.samples) and not is_absent,
        "absent": is_absent,
        "coded": reading.coded is not None,
        "wave": reading.wave is not None,
        "media": reading.media is not None,
        "medication": reading.medication is not None,
    }
    return frozenset(name for name, is_there in there.items() if is_there)


def _span(reading: Reading) -> Span | Reason:
    instant = exact(reading.at) if reading.at else None
    end = exact(reading.end) if reading.end else None
    if (reading.at and instant is None) or (reading.end and (end is None or instant is None)):
        return reason.TIME_UNREADABLE
    if instant is not None and end is not None and not 0 <= end - instant <= LONGEST:
        return reason.TIME_UNREADABLE
    if instant is None and not reading.id:
        return reason.UNTRACEABLE
    return Span(instant, end, _is_day(reading.at, reading.end))


def _is_day(at: str, end: str) -> bool:
    """Whether two exact dateTimes are the midnights, by the clocks of their place, around one day."""
    if not end or {at[10:19], end[10:19]} != {"T00:00:00"}:
        return False
    return date.fromisoformat(end[:10]) - date.fromisoformat(at[:10]) == timedelta(days=1)


def _of_panel(reading: Reading, panel: Panel, span: Span) -> Measured | Reason:
    parts: list[Part] = []
    for sample in reading.samples:
        judged = _judge(reading.system, sample, span)
        if isinstance(judged, Reason):
            return judged
        parts.append(judged[1])
    if missing := _incomplete(panel, parts):
        return missing
    mdc = reading.code if reading.system == "mdc" else ""
    made = _made(reading, span, (panel.loinc,), panel.fr, "vital-signs", tuple(parts))
    return replace(made, mdc=mdc, is_panel=True)


def _of_kind(reading: Reading, candidates: tuple[Measure, ...], span: Span) -> Measured | Reason:
    measure, parts = candidates[0], tuple[Part, ...]()
    wave = reading.wave
    if measure.kind == measures.QUANTITY or (measure.kind == measures.MEDICATION and reading.samples):
        judged = _judge(reading.system, reading.samples[0], span)
        if isinstance(judged, Reason):
            return judged
        measure, parts = judged[0], (judged[1],)
    elif reading.samples:
        parts = (_absent(reading.system, reading.samples[0], measure),)
    elif wave is not None:
        unit = unit_of(wave.unit)
        if unit is None:
            return reason.UNIT_UNKNOWN
        if unit.dimension != UNITS[measure.unit].dimension:
            return reason.UNIT_MISMATCH
        if wave.period * (len(wave.data) // wave.dimensions) * 1000 > LONGEST:
            return reason.TIME_UNREADABLE
        wave = wave._replace(unit=unit.code)
    made = _made(reading, span, measure.loinc, measure.fr, measure.category, parts)
    return replace(
        made,
        mdc=reading.code if reading.system == "mdc" else str(measure.mdc[0]) if measure.kind == measures.EVENT else "",
        kind=measure.kind,
        local=measure.local,
        snomed=measure.snomed,
        wave=wave,
        alert=measure.alert,
        jump=measure.jump,
    )


def _made(
    reading: Reading, span: Span, loinc: tuple[str, ...], text: str, category: str, parts: tuple[Part, ...]
) -> Measured:
    return Measured(
        loinc, "", text, category, parts, False, reading.at, span.instant, end=reading.end, end_instant=span.end,
        coded=reading.coded, media=reading.media, medication=reading.medication, statuses=reading.statuses,
        types=reading.types, site=reading.site, method=reading.method, notes=reading.notes,
    )  # fmt: skip


def _judge(system: str, sample: Sample, span: Span) -> tuple[Measure, Part] | Reason:
    candidates = measures_of(system, sample.code)
    if not candidates:
        return reason.CODE_UNKNOWN
    if sample.value is None and not sample.unit:
        return candidates[0], _absent(system, sample, candidates[0])
    unit = unit_of(sample.unit)
    if unit is None:
        return reason.UNIT_UNKNOWN
    if candidates[0].kind == measures.MEDICATION:
        return _dose(system, sample, candidates[0], unit)
    measure = fitting(candidates, unit, lasted=DAY_US if span.is_day else span.lasted)
    if measure is None:
        return reason.UNIT_MISMATCH
    if sample.value is None:
        return measure, _absent(system, sample, measure)
    return _converted(system, sample, measure, unit)


def _converted(system: str, sample: Sample, measure: Measure, unit: Unit) -> tuple[Measure, Part] | Reason:
    assert sample.value is not None
    wanted = UNITS[measure.unit]
    value = convert(sample.value, unit, wanted, decimals=measure.decimals)
    if not measure.low <= value <= measure.high:
        return reason.VALUE_IMPLAUSIBLE
    same = (unit.factor, unit.offset, unit.dimension) == (wanted.factor, wanted.offset, wanted.dimension)
    mdc = sample.code if system == "mdc" else ""
    shown = sample.unit.strip() if same and not sample.unit.strip().isdigit() else wanted.code
    return measure, Part(measure.loinc, mdc, measure.fr, value, shown, wanted.code, None if same else sample)


def _dose(system: str, sample: Sample, measure: Measure, unit: Unit) -> tuple[Measure, Part] | Reason:
    """Return a dose in the unit it was given in: doses are not converted."""
    if sample.value is None:
        return measure, _absent(system, sample, measure)
    if not 0 < sample.value <= MOST_DOSE:
        return reason.VALUE_IMPLAUSIBLE
    return measure, Part((), sample.code, measure.fr, sample.value, unit.code, unit.code, None)


def _absent(system: str, sample: Sample, measure: Measure) -> Part:
    mdc = sample.code if system == "mdc" else ""
    return Part(measure.loinc, mdc, measure.fr, None, "", measure.unit, None, sample.absent)


def _incomplete(panel: Panel, parts: list[Part]) -> Reason | None:
    """Return why the components do not make the panel: one missing, twice or foreign, or a pressure upside down."""
    values = {part.key: part.value for part in parts}
    if len(values) != len(parts) or not values.keys() <= {*panel.required, *panel.optional}:
        return reason.MALFORMED
    if not values.keys() >= set(panel.required):
        return reason.COMPONENT_MISSING
    systolic, diastolic = (values[code] for code in panel.required)
    upside_down = systolic is not None and diastolic is not None and systolic <= diastolic
    return reason.VALUE_IMPLAUSIBLE if upside_down else None

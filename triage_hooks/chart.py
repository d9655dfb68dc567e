"""The chart: a patient's newest readings in one durable row, so that a measurement costs no search.

It is written in the transaction of each measurement. Absent, of another form, or too short for a measurement that
comes late, the store is searched instead. Pure, but for `Shelf`, which reads and writes the rows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Final, NamedTuple

from fhir_server import gate
from fhir_server.interface import Asking, Erasure, Writing
from fhir_server.model import Record
from triage_hooks.engine import Reading
from triage_hooks.rules.bands import Bound, Value
from triage_hooks.rules.inputs import INPUTS

KIND: Final = "triage-chart"  # of the durable rows; the key is the Patient's id
FORM: Final = 1  # of the row's body: a row of another form is made anew
DEPTH: Final = 6  # readings kept of each input
WINDOWS: Final = {name: item.window for name, item in INPUTS.items()}
SPAN: Final = 2 * max(WINDOWS.values())  # kept before the newest, in microseconds
NEVER: Final = -(2**63)  # a moment before all others


class Lane(NamedTuple):
    """The newest readings of one input, oldest first, and the row each is written as."""

    readings: tuple[Reading, ...]
    rows: tuple[bytes, ...]


class Chart(NamedTuple):
    """The newest readings of a patient, of each input at most DEPTH."""

    lanes: Mapping[str, Lane] = {}  # by input; none is empty
    newest: int = NEVER  # when the newest reading was measured
    floor: int = NEVER  # of what was measured up to this moment, something may be left out
    cuts: Mapping[str, int] = {}  # the same of one input; of one that has DEPTH readings, up to its oldest anyway

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All that is here; what is of one input is in the order of time."""
        return tuple([reading for lane in self.lanes.values() for reading in lane.readings])

    def covers(self, at: int) -> bool:
        """Whether everything is here that may count together with a measurement of that moment, then and later."""
        if at - _LONGEST <= self.floor:
            return False
        for name, lane in self.lanes.items():
            readings = lane.readings
            if len(readings) >= DEPTH and not _reaches(name, readings, readings[0].at, at):
                return False
        for name, cut in self.cuts.items():
            held = self.lanes.get(name)
            if not _reaches(name, held.readings if held else (), cut, at):
                return False
        return True

    def without(self, references: Collection[str]) -> Chart:
        """Return the chart without what stands in these Observations."""
        lanes: dict[str, Lane] = {}
        cuts = self.cuts
        for name, lane in self.lanes.items():
            places = [n for n, reading in enumerate(lane.readings) if reading.reference not in references]
            if len(places) < len(lane.readings) == DEPTH:
                cuts = {**cuts, name: max(lane.readings[0].at, cuts.get(name, NEVER))}
            if places:
                lanes[name] = Lane(tuple([lane.readings[n] for n in places]), tuple([lane.rows[n] for n in places]))
        return Chart(lanes, _newest(lanes), self.floor, cuts)

    def joined(self, fresh: Sequence[Reading]) -> Chart:
        """Return the chart with further readings, and without what is then too old or too many."""
        lanes, newest = dict(self.lanes), self.newest
        for reading in fresh:
            lanes[reading.input] = _inserted(lanes.get(reading.input), reading)
            if reading.at > newest:
                newest = reading.at
        floor, oldest = self.floor, newest - SPAN
        if old := [name for name, lane in lanes.items() if lane.readings[0].at < oldest]:
            for name in old:
                readings, rows = lanes.pop(name)
                place = bisect_left(readings, oldest, key=_AT)
                floor = max(floor, readings[place - 1].at)
                if place < len(readings):
                    lanes[name] = Lane(readings[place:], rows[place:])
        return Chart(lanes, newest, floor, self.cuts and _needed(self.cuts, lanes))

    def write(self) -> bytes:
        """Return the row's body."""
        rows = [row for lane in self.lanes.values() for row in lane.rows]
        cuts = b',"cuts":%b' % gate.write(self.cuts) if self.cuts else b""
        return b'{"form":%d,"floor":%d%b,"readings":[%b]}' % (FORM, self.floor, cuts, b",".join(rows))


def read(body: bytes) -> Chart | None:
    """Return the chart of a row's body; None where it has another form, or inputs that no rule has any more."""
    held = gate.load(body)
    if held.get("form") != FORM:
        return None
    found = [Reading(name, at, _value(text), where, why) for name, at, text, where, why in held["readings"]]
    lanes: dict[str, Lane] = {}
    for reading in found:
        lanes[reading.input] = _inserted(lanes.get(reading.input), reading)
    newest, cuts = _newest(lanes), held.get("cuts", {})
    if not WINDOWS.keys() >= {*lanes, *cuts}:
        return None
    floor = held.get("floor", newest - SPAN)  # earlier rows do not say what they forgot as too old
    return Chart(lanes, newest, floor, cuts)


def _reaches(name: str, readings: Sequence[Reading], cut: int, at: int) -> bool:
    """Whether what was left out up to `cut` is too old to count at a moment, or another one counts in its place."""
    if at - WINDOWS[name] > cut:
        return True
    return bool(readings) and (cut < readings[-1].at <= at or any([cut < reading.at <= at for reading in readings]))


def _needed(cuts: Mapping[str, int], lanes: Mapping[str, Lane]) -> Mapping[str, int]:
    """Return the cuts that a lane does not say by itself."""
    return {
        name: cut
        for name, cut in cuts.items()
        if name not in lanes or len(lanes[name].readings) < DEPTH or lanes[name].readings[0].at < cut
    }


def _newest(lanes: Mapping[str, Lane]) -> int:
    return max([lane.readings[-1].at for lane in lanes.values()], default=NEVER)


def _inserted(lane: Lane | None, reading: Reading) -> Lane:
    """Put a reading at its place, which is nearly always the last, and leave the oldest out where they are too many."""
    if lane is None:
        return Lane((reading,), (_row(reading),))
    readings, rows = lane
    place = len(readings) if readings[-1].at < reading.at else bisect_right(readings, _PLACE(reading), key=_PLACE)
    first = 1 if len(readings) >= DEPTH else 0
    if place < first:
        return lane
    row = _row(reading)
    return Lane(
        (*readings[first:place], reading, *readings[place:]),
        (*rows[first:place], row, *rows[place:]),
    )


_LONGEST: Final = SPAN // 2
_AT: Final = itemgetter(1)
_PLACE: Final = itemgetter(1, 3)  # at, reference


def _row(reading: Reading) -> bytes:
    name, at, value, where, why = reading
    return gate.write((name, at, _text(value), where, why))


def _text(value: Value | Bound | None) -> str:
    """Return a value as a text whose first character says what it is."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "+" if value else "-"
    if isinstance(value, Bound):
        return f"?{value.comparator} {value.value}"
    return f"#{value}" if isinstance(value, Decimal) else f"'{value}"


def _value(text: str) -> Value | Bound | None:
    kind, rest = text[:1], text[1:]
    if kind == "#":
        return Decimal(rest)
    if kind == "'":
        return rest
    if kind == "?":
        comparator, _, value = rest.partition(" ")
        return Bound(comparator, Decimal(value))
    return {"+": True, "-": False}.get(kind)


class Shelf:
    """Reads and writes charts, and keeps some at hand: who is measured is measured again.

    A chart at hand stands beside the body it was written as, and counts only where the store's row has that body: a
    body says all of its chart, so this is right whoever wrote the row, and where the transaction that did was undone.
    """

    def __init__(self) -> None:
        self._charts: dict[str, tuple[bytes, Chart]] = {}  # by patient
        self._size = 0  # of the bodies, in bytes

    async def held(self, asking: Asking, patient: str) -> Chart | None:
        """Return a patient's chart; None where there is none to be used."""
        record = await asking.record(KIND, patient)
        if record is None:
            return None
        kept = self._charts.get(patient)
        return kept[1] if kept is not None and kept[0] == record.body else read(record.body)

    async def keep(self, writing: Writing, patient: str, chart: Chart) -> None:
        """Write a patient's chart."""
        body = chart.write()
        before = self._charts.get(patient)
        self._size += len(body) - (len(before[0]) if before else 0)
        if self._size > _MOST_SHELVED:
            self._charts.clear()
            self._size = len(body)
        self._charts[patient] = (body, chart)
        await writing.put_record(KIND, patient, "", body)


_MOST_SHELVED: Final = 4_000_000  # bytes of the bodies of charts at hand; with what is made of them five times that


def is_of(record: Record, erasure: Erasure) -> bool:
    """Whether a row is the chart of the Patient that is erased, or holds what is erased (`interface.Eraser`)."""
    if erasure.patient:
        return record.key == erasure.patient
    return any(f'"{reference}"'.encode() in record.body for reference in erasure.references)

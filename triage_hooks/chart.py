"""The chart: a patient's newest readings in one durable row, so that a measurement costs no search.

It is written in the transaction of each measurement. Absent, of another form, or too short for a measurement that
comes late, the store is searched instead. Pure, but for the two functions at the end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
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
SPAN: Final = 2 * max(item.window for item in INPUTS.values())  # kept before the newest, in microseconds


_MOST_WRITTEN: Final = 512
_written: Final[dict[bytes, Chart]] = {}
"""Charts by the body they were written as: a body says all of its chart, so this is right wherever a body comes from,
also where the transaction that wrote it was undone."""


class Chart(NamedTuple):
    """The newest readings of a patient, of each input at most DEPTH; those of one input oldest first."""

    readings: tuple[Reading, ...] = ()

    def covers(self, at: int) -> bool:
        """Whether everything is here that may count together with a measurement of that moment."""
        if not self.readings or at >= max(map(_AT, self.readings)):
            return True  # as most are: nothing is newer
        held: dict[str, list[int]] = {}
        for reading in self.readings:
            held.setdefault(reading.input, []).append(reading.at)
        newest = max(times[-1] for times in held.values())
        return at >= newest - SPAN // 2 and all(len(times) < DEPTH or times[0] <= at for times in held.values())

    def without(self, references: Collection[str]) -> Chart:
        """Return the chart without what stands in these Observations."""
        if not references:
            return self
        return Chart(tuple(reading for reading in self.readings if reading.reference not in references))

    def joined(self, fresh: Iterable[Reading]) -> Chart:
        """Return the chart with further readings, and without what is then too old or too many."""
        every = sorted((*self.readings, *fresh), key=_PLACE)
        oldest = every[-1].at - SPAN if every else 0
        counts: dict[str, int] = {}
        kept = []
        for reading in reversed(every):
            name, at = reading.input, reading.at
            count = counts[name] = counts.get(name, 0) + 1
            if count <= DEPTH and at >= oldest:
                kept.append(reading)
        kept.reverse()
        return Chart(tuple(kept))

    def write(self) -> bytes:
        """Return the row's body."""
        rows = [(name, at, _text(value), where, why) for name, at, value, where, why in self.readings]
        return gate.write({"form": FORM, "readings": rows})


def read(body: bytes) -> Chart | None:
    """Return the chart of a row's body; None where it has another form."""
    kept = _written.get(body)
    if kept is not None:
        return kept
    held = gate.load(body)
    if held.get("form") != FORM:
        return None
    rows = held["readings"]
    return Chart(tuple(Reading(name, at, _value(text), where, why) for name, at, text, where, why in rows))


_AT: Final = itemgetter(1)
_PLACE: Final = itemgetter(1, 3)  # at, reference


def _text(value: Value | Bound | None) -> str:
    """Return a value as a text whose first character says what it is."""
    if value.__class__ is Decimal:
        return f"#{value}"
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


async def held(asking: Asking, patient: str) -> Chart | None:
    """Return a patient's chart; None where there is none to be used."""
    record = await asking.record(KIND, patient)
    return read(record.body) if record else None


async def keep(writing: Writing, patient: str, chart: Chart) -> None:
    """Write a patient's chart."""
    body = chart.write()
    if len(_written) >= _MOST_WRITTEN:
        _written.clear()
    _written[body] = chart  # who is measured is measured again
    await writing.put_record(KIND, patient, "", body)


def is_of(record: Record, erasure: Erasure) -> bool:
    """Whether a row is the chart of the Patient that is erased (`interface.Eraser`)."""
    return record.key == erasure.patient

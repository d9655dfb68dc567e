"""An order group by position: what each NTE, PRT and OBX belongs to, whatever version and order it came in.

Comments and participations belong to what they follow: the order, a result or a specimen. An OBX after an SPM
is about the specimen where results came before it; where none did, it is a result: many senders write the
specimen first. Lines of one text (TX, FT) are one result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from adapters.hl7.tokens import Segment

LINES: Final = frozenset({"TX", "FT"})
"""Types of which consecutive OBX are lines of one text."""


@dataclass(slots=True)
class Told:
    """A segment with the comments and participations that follow it."""

    segment: Segment
    notes: list[Segment] = field(default_factory=list)
    people: list[Segment] = field(default_factory=list)  # PRT
    lines: list[Segment] = field(default_factory=list)  # of one text: the OBX after the first


@dataclass(slots=True)
class Sample:
    """A specimen with the observations about it."""

    told: Told
    results: list[Told] = field(default_factory=list)


@dataclass(slots=True)
class Ordered:
    """One order with all that came with it."""

    orc: Told | None = None
    obr: Told | None = None
    timings: list[Segment] = field(default_factory=list)  # TQ1
    diagnoses: list[Segment] = field(default_factory=list)  # DG1
    results: list[Told] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    others: list[Segment] = field(default_factory=list)  # what orders do not have, e.g. RXO

    @property
    def notes(self) -> list[Segment]:
        """Comments on the order itself."""
        return [note for told in (self.orc, self.obr) if told for note in told.notes]

    @property
    def people(self) -> list[Segment]:
        """Who took part in the order itself."""
        return [prt for told in (self.orc, self.obr) if told for prt in told.people]


def arrange(segments: Iterable[Segment]) -> Ordered:
    """Sort the segments of one order group."""
    made = Ordered()
    last: Told | None = None
    for segment in segments:
        name = segment.name
        if name == "OBX":
            last = _result(made, last, segment)
        elif name == "NTE":
            if last is not None:
                last.notes.append(segment)
        elif name == "PRT":
            if last is not None:
                last.people.append(segment)
        elif name == "SPM":
            last = Told(segment)
            made.samples.append(Sample(last))
        elif name == "OBR" and made.obr is None:
            last = made.obr = Told(segment)
        elif name == "ORC" and made.orc is None:
            last = made.orc = Told(segment)
        elif name == "TQ1":
            made.timings.append(segment)
        elif name == "DG1":
            made.diagnoses.append(segment)
        else:
            made.others.append(segment)
    if not made.results:
        made.results = [told for sample in made.samples for told in sample.results]
        for sample in made.samples:
            sample.results = []
    return made


def _result(made: Ordered, last: Told | None, obx: Segment) -> Told:
    """Take in an OBX; return what comments after it belong to."""
    target = made.samples[-1].results if made.samples else made.results
    if last is not None and target and target[-1] is last and _continues(last, obx):
        last.lines.append(obx)
        return last
    told = Told(obx)
    target.append(told)
    return told


def _continues(last: Told, obx: Segment) -> bool:
    """Whether an OBX is the next line of the text before it."""
    before = last.segment
    return obx.text(2) in LINES and all(before.raw(n) == obx.raw(n) for n in (2, 3, 4, 11, 14))

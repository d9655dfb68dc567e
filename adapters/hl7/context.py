"""What converting one message needs to know beside its segments, and where problems are noted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from adapters.hl7.codes import NO_CODES, Codes
from adapters.hl7.faults import Problem
from adapters.hl7.times import Moment, Zone, is_reversed, read
from adapters.hl7.tokens import Segment

UNKNOWN = "unknown"
"""The facility of a message that names none."""

LONGEST_CODE, MOST_SPACES = 32, 2
"""What of a code is kept in the account: a text that stands in its place may say anything, and is not."""

MOST_UNMAPPED = 500
"""Different codes without a map that the account of one message lists."""

_UNFIT = re.compile(r"[^A-Za-z0-9.-]+")


def urn_part(text: str) -> str:
    """Write a name so that it can stand in a urn: `CHU TEST` -> `CHU-TEST`."""
    return _UNFIT.sub("-", text.strip()).strip("-")


@dataclass(slots=True)
class Context:
    """One message on its way to FHIR."""

    tenant: str
    zone: Zone
    facility: str  # as a urn part
    authorities: Mapping[str, str]  # namespace of an assigning authority -> identifier system
    problems: list[Problem] = field(default_factory=list)
    taken: dict[int, frozenset[int]] = field(default_factory=dict)  # segment's identity -> fields that a map reads
    counts: dict[tuple[str, ...], int] = field(default_factory=dict)  # how often each resource's key came up
    device_final: bool = False  # whether results that a device calls unverified (OBX-11 R) are final
    codes: Codes = NO_CODES  # what the sender's own codes stand for
    unmapped: dict[tuple[str, str, str], int] = field(default_factory=dict)  # field, system, code -> how often

    @property
    def facility_system(self) -> str:
        """Root of identifier and code systems that only the sender knows."""
        return f"urn:predmp:facility:{self.facility}"

    def take(self, segment: Segment, fields: frozenset[int]) -> None:
        """Say which fields of a segment a map reads; the others, and segments never taken, are reported."""
        self.taken[id(segment)] = self.taken.get(id(segment), frozenset()) | fields

    def miss(self, segment: Segment, number: int, system: str, code: str) -> None:
        """Count a code of the sender's own that stands for nothing others know."""
        is_code = len(code) <= LONGEST_CODE and code.count(" ") <= MOST_SPACES
        key = (f"{segment.name}-{number}", system, code if is_code else "…")
        if key in self.unmapped or len(self.unmapped) < MOST_UNMAPPED:
            self.unmapped[key] = self.unmapped.get(key, 0) + 1

    def occurrence(self, key: tuple[str, ...]) -> int:
        """Count how often a resource's key came up in this message, this time included."""
        self.counts[key] = self.counts.get(key, 0) + 1
        return self.counts[key]

    def used(self, segments: Iterable[Segment]) -> dict[str, list[int]]:
        """Return by segment name the valued fields that a map reads."""
        found: dict[str, set[int]] = {}
        for segment in segments:
            fields = self.taken.get(id(segment))
            if fields is not None:
                valued = {n for n in fields if n < len(segment.fields) and segment.fields[n]}
                found.setdefault(segment.name, set()).update(valued)
        return {name: sorted(numbers) for name, numbers in found.items()}

    def unused(self, segments: Iterable[Segment]) -> list[str]:
        """Return the segments that no map took, and the valued fields that none reads, each named once."""
        found: dict[str, None] = {}
        for segment in segments:
            fields = self.taken.get(id(segment))
            if fields is None:
                found[segment.name] = None
                continue
            for number, text in enumerate(segment.fields):
                if text and number and number not in fields:
                    found[f"{segment.name}-{number}"] = None
        return list(found)

    def note(self, segment: Segment, number: int, rule: str, code: str = "") -> None:
        """Record what could not be carried over as it was."""
        self.problems.append(Problem(segment.place(number).path, rule, code))

    def moment(self, segment: Segment, number: int, text: str) -> Moment | None:
        """Read a time; what was decided or could not be read is noted."""
        if not text:
            return None
        found = read(text, self.zone)
        if found is None:
            self.note(segment, number, "time-malformed")
        elif found.rule:
            self.note(segment, number, found.rule)
        return found

    def period(self, segment: Segment, number: int, start: str, end: str) -> dict[str, str]:
        """Read a start and an end as a Period; an end before the start is left out and noted."""
        first, last = self.moment(segment, number, start), self.moment(segment, number, end)
        made = {"start": first.text} if first else {}
        if last and first and is_reversed(first.text, last.text):
            self.note(segment, number, "period-reversed")
        elif last:
            made["end"] = last.text
        return made

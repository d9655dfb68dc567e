"""What converting one message needs to know beside its segments, and where problems are noted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from adapters.hl7.codes import NO_CODES, Codes
from adapters.hl7.faults import Problem
from adapters.hl7.memory import Convert, Given, Key, Memory
from adapters.hl7.times import Moment, Zone, is_reversed, read
from adapters.hl7.tokens import Segment

T = TypeVar("T")

UNKNOWN = "unknown"
"""The facility of a message that names none."""

LONGEST_CODE, MOST_SPACES = 32, 2
"""What of a code is kept in the account: a text that stands in its place may say anything, and is not."""

MOST_UNMAPPED = 500
"""Different codes without a map that the account of one message lists."""

_UNFIT = re.compile(r"[^A-Za-z0-9.-]+")


MOST_FIELDS = 100
"""Fields of a segment of which it is remembered which are read."""


def _parted(taken: frozenset[int], valued: tuple[bool, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the numbers of the valued fields that are read, and of those that are not."""
    numbers = [number for number, is_valued in enumerate(valued) if is_valued]
    return tuple(n for n in numbers if n in taken), tuple(n for n in numbers if n and n not in taken)


_told = lru_cache(maxsize=2_000)(_parted)


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
    missed: set[tuple[int, int, str]] = field(default_factory=set)  # segment's identity, field, code of each miss
    memory: Memory = field(default_factory=Memory)  # what was converted before on the same channel
    whose: Key = ()  # all of the message that conversions depend on beside their fields; () where none is remembered

    @property
    def facility_system(self) -> str:
        """Root of identifier and code systems that only the sender knows."""
        return f"urn:predmp:facility:{self.facility}"

    def take(self, segment: Segment, fields: frozenset[int]) -> None:
        """Say which fields of a segment a map reads; the others, and segments never taken, are reported."""
        known = self.taken.get(id(segment))
        self.taken[id(segment)] = fields if known is None else known | fields

    def miss(self, segment: Segment, number: int, system: str, code: str) -> None:
        """Count a code of the sender's own that stands for nothing others know.

        A code is counted once where it stands, though an order and its report both read it.
        """
        place = (id(segment), number, code)
        if place in self.missed:
            return
        self.missed.add(place)
        is_code = len(code) <= LONGEST_CODE and code.count(" ") <= MOST_SPACES
        key = (f"{segment.name}-{number}", system, code if is_code else "…")
        self._count(key, 1)

    def _count(self, key: tuple[str, str, str], times: int) -> None:
        if key in self.unmapped or len(self.unmapped) < MOST_UNMAPPED:
            self.unmapped[key] = self.unmapped.get(key, 0) + times

    def remembered(self, segment: Segment, key: Key, convert: Convert) -> dict[str, Any]:
        """Return what a conversion gives, made anew only where it was not made before; nobody changes it in place.

        Args:
            segment: Where all stands that the conversion reads.
            key: All that it reads, beside `whose`.
            convert: The conversion; it notes and misses, and does nothing else.
        """
        if not self.whose:
            return convert()
        given = self.memory.recall((self.whose, *key))
        if given is None:
            given = self._given(segment, convert)
            self.memory.keep((self.whose, *key), given)
        if given.problems:
            place = segment.place().path
            self.problems += [Problem(place + path, rule, code) for path, rule, code in given.problems]
        for miss, times in given.misses:
            self._count(miss, times)
        return given.made

    def _given(self, segment: Segment, convert: Convert) -> Given:
        """Return what a conversion gives, and what it notes and misses, without noting it."""
        problems, unmapped, missed = self.problems, self.unmapped, self.missed
        self.problems, self.unmapped, self.missed = [], {}, set()
        try:
            made, start = convert(), len(segment.place().path)
            noted = tuple((path[start:], rule, code) for path, rule, code in self.problems)
            return Given(made, noted, tuple(self.unmapped.items()))
        finally:
            self.problems, self.unmapped, self.missed = problems, unmapped, missed

    def quietly(self, convert: Callable[[], T]) -> T:
        """Return what a conversion gives without what it notes and misses: it was made, and noted, before."""
        problems, unmapped, missed = self.problems, self.unmapped, self.missed
        self.problems, self.unmapped, self.missed = [], {}, set()
        try:
            return convert()
        finally:
            self.problems, self.unmapped, self.missed = problems, unmapped, missed

    def occurrence(self, key: tuple[str, ...]) -> int:
        """Count how often a resource's key came up in this message, this time included."""
        self.counts[key] = self.counts.get(key, 0) + 1
        return self.counts[key]

    def account(self, segments: Iterable[Segment]) -> tuple[dict[str, list[int]], list[str]]:
        """Return what was made of a message's fields.

        Returns:
            By segment name the valued fields that a map reads; and the segments that no map took with the valued
            fields that none reads, each named once.
        """
        used: dict[str, set[int]] = {}
        unused: dict[str, None] = {}
        for segment in segments:
            name, fields = segment.name, self.taken.get(id(segment))
            if fields is None:
                unused[name] = None
                continue
            valued = tuple(map(bool, segment.fields))
            read, left = _told(fields, valued) if len(valued) <= MOST_FIELDS else _parted(fields, valued)
            used.setdefault(name, set()).update(read)
            for number in left:
                unused[f"{name}-{number}"] = None
        return {name: sorted(numbers) for name, numbers in used.items()}, list(unused)

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

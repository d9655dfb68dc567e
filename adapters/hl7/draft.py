"""What one message wants stored, before anything is looked up: the shapes that readers give and `apply` takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json
from adapters.hl7.maps.rows import Stated
from adapters.hl7.movements import Movement
from adapters.hl7.results import Report
from adapters.hl7.tokens import Segment
from adapters.hl7.wanted import Wanted as Wanted

Key: TypeAlias = tuple[str, str]
"""System and value of an identifier."""


class Kind(NamedTuple):
    """What sort of message it is."""

    type: str  # MSH-9.1
    trigger: str  # MSH-9.2
    structure: str
    version: str  # MSH-12.1

    @property
    def name(self) -> str:
        """E.g. `ADT^A01`."""
        return f"{self.type}^{self.trigger}"


@dataclass(frozen=True, slots=True)
class Visit:
    """A stay as a message tells it."""

    key: Key  # system and value of its number
    segment: Segment
    stated: tuple[Stated, ...] = ()
    trigger: str = ""
    movement: Movement | None = None  # ZBE: what happened in the stay, of which its places and statuses are made
    prior: Key | None = None  # the number it had before (A50)
    moves: bool = False  # whether it comes from another patient (A45)

    @property
    def patient_class(self) -> str:
        """PV1-2."""
        return self.segment.text(2)


class Prior(NamedTuple):
    """A number that a patient had: MRG-1."""

    key: Key
    segment: Segment
    identifiers: tuple[Json, ...]  # all of MRG-1


class Link(NamedTuple):
    """Another patient who is the same person as this one, or is no longer thought to be (A24, A37)."""

    key: Key
    is_same: bool


@dataclass(frozen=True, slots=True)
class Person:
    """A patient as a message tells it, with all that is said about them."""

    key: Key
    segment: Segment
    stated: tuple[Stated, ...]
    leads: bool  # whether the feed leads on identity (ADT) or only names the patient (results)
    visit: Visit | None = None
    reports: tuple[Report, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    prior: tuple[Prior, ...] = ()
    link: Link | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """All numbers by which the message is about patients: its lanes."""
        return (self.key, *(one.key for one in self.prior), *((self.link.key,) if self.link else ()))


@dataclass(frozen=True, slots=True)
class Draft:
    """All that one message wants stored."""

    people: tuple[Person, ...]
    at: datetime | None  # when the event was recorded: EVN-2, else MSH-7
    context: Context = field(repr=False)
    doubt: int = 0  # microseconds by which it may be later, see `event`

    @property
    def references(self) -> list[str]:
        """`Type/id` of what is stored under an id made from the message."""
        made = []
        for person in self.people:
            for report in person.reports:
                made += [f"Observation/{one['id']}" for one in report.observations]
                if report.report is not None:
                    made.append(f"DiagnosticReport/{report.report['id']}")
            made += [f"{one.resource['resourceType']}/{one.resource['id']}" for one in person.wanted]
        return made

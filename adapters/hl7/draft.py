"""What one message wants stored, before anything is looked up: the shapes that readers give and `apply` takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from adapters.hl7.context import Context
from adapters.hl7.maps.rows import Stated
from adapters.hl7.results import Report
from adapters.hl7.tokens import Segment
from adapters.hl7.wanted import Wanted as Wanted


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

    key: tuple[str, str]  # system and value of its number
    segment: Segment
    stated: tuple[Stated, ...] = ()
    trigger: str = ""
    ended: str = ""  # when the stay ended where PV1-45 is empty, as FHIR writes it

    @property
    def patient_class(self) -> str:
        """PV1-2."""
        return self.segment.text(2)


@dataclass(frozen=True, slots=True)
class Person:
    """A patient as a message tells it, with all that is said about them."""

    key: tuple[str, str]
    segment: Segment
    stated: tuple[Stated, ...]
    leads: bool  # whether the feed leads on identity (ADT) or only names the patient (results)
    visit: Visit | None = None
    reports: tuple[Report, ...] = ()
    wanted: tuple[Wanted, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """All that one message wants stored."""

    people: tuple[Person, ...]
    at: datetime | None  # when the event was recorded: EVN-2, else MSH-7
    context: Context = field(repr=False)

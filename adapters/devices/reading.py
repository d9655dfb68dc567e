"""The canonical record: what every feed (HTTP, and others to come) makes of a device's message."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple


class DeviceName(NamedTuple):
    """A device as its sender names it: an identifier."""

    system: str
    value: str


class Sample(NamedTuple):
    """A value under a code, as it was sent."""

    code: str
    value: Decimal | None  # prints as it was written; None where `absent` says why
    unit: str
    absent: str = ""  # of R4's data-absent-reason: not-a-number, positive-infinity, error, not-performed …


class Coded(NamedTuple):
    """A value, or a medication, that is a code."""

    system: str  # a uri; "" where there is only a text
    code: str
    text: str = ""


class Wave(NamedTuple):
    """Samples in equal steps: origin + factor x datum, in `unit` (R4's SampledData)."""

    origin: Decimal
    unit: str
    period: Decimal  # milliseconds between two instants
    data: tuple[str, ...]  # decimals as written, or E U L; `dimensions` of them an instant
    factor: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    dimensions: int = 1


class Media(NamedTuple):
    """A picture or a sound."""

    content_type: str
    data: bytes
    title: str = ""


class Clock(NamedTuple):
    """What a device's clock showed (`device`) when its gateway's showed `gateway`: FHIR dateTimes."""

    device: str
    gateway: str
    sync: str = ""  # how the device sets its clock: an MDC code, "" not told


@dataclass(frozen=True, slots=True)
class Reading:
    """One message of a device: a value, the components of a panel, a code, a wave, a picture or an event."""

    system: str  # of every code in it: loinc or mdc
    code: str
    samples: tuple[Sample, ...]  # one, under `code` itself, unless it is a panel; none where it has no number
    is_panel: bool
    at: str  # FHIR dateTime as the device wrote it, with offset; "" where it has no clock
    id: str  # the sender's own, "" none
    end: str = ""  # where it took a time: FHIR dateTime of its end, on the device's clock
    coded: Coded | None = None
    wave: Wave | None = None
    media: Media | None = None
    medication: Coded | None = None  # what was dispensed
    statuses: tuple[str, ...] = ()  # status bits: see `status.STATUSES`
    types: tuple[str, ...] = ()  # MDC codes of supplemental types
    site: Coded | None = None  # where on the body
    method: Coded | None = None
    notes: tuple[str, ...] = ()


class Part(NamedTuple):
    """A value in its measure's unit, with what was sent where that differs."""

    loinc: tuple[str, ...]
    mdc: str  # as the sender coded it, "" where it did not
    text: str  # what is measured, in French
    value: Decimal | None
    unit: str  # as it is shown
    ucum: str
    original: Sample | None  # what the device sent, where it was converted
    absent: str = ""  # why there is no value (data-absent-reason)

    @property
    def key(self) -> str:
        """What tells it from the other parts of its reading."""
        return self.loinc[0] if self.loinc else self.mdc


@dataclass(frozen=True, slots=True)
class Measured:
    """A reading found fit for the record: codes known, units canonical, values plausible, time exact."""

    loinc: tuple[str, ...]
    mdc: str
    text: str
    category: str
    parts: tuple[Part, ...]
    is_panel: bool
    at: str  # as written, "" where the device has no clock
    instant: int | None  # microseconds since 1970 by the device's own clock, None where `at` is ""
    kind: str = "quantity"
    local: str = ""  # the hub's own code
    snomed: str = ""
    end: str = ""
    end_instant: int | None = None
    coded: Coded | None = None
    wave: Wave | None = None  # its unit is UCUM
    media: Media | None = None
    medication: Coded | None = None
    statuses: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    site: Coded | None = None
    method: Coded | None = None
    notes: tuple[str, ...] = ()
    alert: str = ""  # the FRENCH level of the alert that an event opens
    jump: Decimal | None = None  # see `measures.Measure`

    @property
    def code(self) -> str:
        """The code that names its type: MDC where it is known, else LOINC, else the hub's own."""
        return self.mdc or (self.loinc[-1] if self.loinc else self.local)

    @property
    def lasted(self) -> int | None:
        """Microseconds that it took; None where it is of a moment."""
        return self.end_instant - self.instant if self.end_instant is not None and self.instant is not None else None

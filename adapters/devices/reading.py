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
    value: Decimal  # prints as it was written
    unit: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One message of a device: a value, or the components of a panel."""

    system: str  # of every code in it: loinc or mdc
    code: str
    samples: tuple[Sample, ...]  # one, under `code` itself, unless it is a panel
    is_panel: bool
    at: str  # FHIR dateTime as the device wrote it, with offset; "" where it has no clock
    id: str  # the sender's own, "" none


class Part(NamedTuple):
    """A value in its measure's unit, with what was sent where that differs."""

    loinc: tuple[str, ...]
    mdc: str  # as the sender coded it, "" where it did not
    text: str  # what is measured, in French
    value: Decimal
    unit: str  # as it is shown
    ucum: str
    original: Sample | None  # what the device sent, where it was converted


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
    instant: int | None  # microseconds since 1970, None where `at` is ""

"""The current moment, and parts of dates.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#utility-functions
"""

from __future__ import annotations

from typing import Final

from fhir_server.fhirpath.functions.arguments import Function
from fhir_server.fhirpath.nodes import Collection, Run, type_of
from fhir_server.fhirpath.temporal import Temporal, from_datetime


def _now(run: Run, _: Collection) -> Collection:
    return [from_datetime(run.now())]


def _today(run: Run, _: Collection) -> Collection:
    return [Temporal("Date", from_datetime(run.now()).parts[:3])]


def _time_of_day(run: Run, _: Collection) -> Collection:
    return [Temporal("Time", from_datetime(run.now()).parts[3:], None, 3)]


def _type(_: Run, items: Collection) -> Collection:
    return [type_of(item) for item in items]


FUNCTIONS: Final = {
    "now": Function(_now),
    "today": Function(_today),
    "timeOfDay": Function(_time_of_day),
    "type": Function(_type),
}

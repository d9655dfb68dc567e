"""Triage on the way of a write: what judging a measurement costs by the chart, and by all that is stored of a day.

`python -m bench.triage` measures in one process, by CPU time, in turns, the best of several rounds; the store is a
dict, so that only triage counts. A measurement that tells nothing is what nearly all are: a calm blood pressure of
one of 100 patients, each measured every ten minutes. One that tells is low enough to be recorded as a score.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from time import process_time
from typing import Any, Final
from zoneinfo import ZoneInfo

from bench.payload import observation
from fhir_server import gate
from fhir_server.model import Change, Record, Resource, Version
from triage_hooks.engine import Reading
from triage_hooks.enricher import Triage
from triage_hooks.rules.news2 import NEWS2
from triage_hooks.telling import evaluations, to_record
from triage_hooks.vital_signs import readings

ROUNDS: Final = 7
COUNT: Final = 2_000  # measurements of a round
ZONE: Final = ZoneInfo("Europe/Paris")
DAY: Final = 144  # measurements of a patient in a day


class Rows:
    """What triage asks of a transaction, over a dict."""

    tenant = "default"
    now = 1_795_500_000_000_000

    def __init__(self) -> None:
        self.held: dict[str, Record] = {}

    async def record(self, kind: str, key: str) -> Record | None:
        """Return a row."""
        return self.held.get(key)

    async def put_record(self, kind: str, key: str, state: str, body: bytes, *, lane: str = "") -> Record:
        """Write a row."""
        made = self.held[key] = Record(kind, key, state, lane, 1, self.now, body)
        return made

    async def find(self, query: str) -> list[Resource]:
        """Find nothing."""
        return []

    async def resource(self, reference: str) -> Resource | None:
        """Return an adult man."""
        return {"resourceType": "Patient", "birthDate": "1951-04-23", "gender": "male"}


def measurements(first: int, count: int, *, systolic: int = 0) -> list[Change]:
    """Return creates of blood pressures; `systolic` in place of a calm one."""
    made = []
    for number in range(first, first + count):
        resource = gate.parse_resource(observation(number))
        resource["id"] = f"01931b5e-{number:08x}-7000-8000-000000000000"
        if systolic:
            resource["component"][0]["valueQuantity"]["value"] = systolic
        made.append(Change(Version("Observation", resource["id"], 1, 0, "POST", b""), resource, None))
    return made


def finished(work: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine returns that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


def judged(triage: Triage, rows: Rows, changes: Sequence[Change]) -> float:
    """Return the microseconds of CPU that a measurement takes, each in a transaction of its own."""
    begin = process_time()
    for change in changes:
        finished(triage.run(rows, [change]))  # type: ignore[arg-type]  # the part it asks of
    return (process_time() - begin) / len(changes) * 1e6


def plainly(changes: Sequence[Change], day: Sequence[Resource]) -> float:
    """Return the same of reading and judging all measurements of a day for each that comes."""
    begin = process_time()
    for change in changes:
        stored: list[Reading] = [item for one in day for item in readings(one, zone=ZONE, now=Rows.now)]
        to_record(evaluations(NEWS2, readings(change.resource, zone=ZONE, now=Rows.now), stored, 1))
    return (process_time() - begin) / len(changes) * 1e6


def main() -> None:
    """Print the times and the ratio."""
    triage, rows = Triage("http://127.0.0.1:8080/fhir", ZONE), Rows()
    judged(triage, rows, measurements(0, 1_000))
    day = [change.resource for change in measurements(0, 100 * DAY)[::100]]
    calm, telling, plain = [], [], []
    number = 100 * DAY
    for _ in range(ROUNDS):
        calm.append(judged(triage, rows, measurements(number, COUNT)))
        telling.append(judged(triage, rows, measurements(number + COUNT, COUNT // 10, systolic=95)))
        plain.append(plainly(measurements(number, 20), day))
        number += 2 * COUNT
    print(f"a measurement that tells nothing: {min(calm):.1f} us")
    print(f"one that is recorded as a score, without the store's part: {min(telling):.1f} us")
    print(f"one judged by all {DAY} of a day: {min(plain):.1f} us, {min(plain) / min(calm):.1f} times the first")


if __name__ == "__main__":
    main()

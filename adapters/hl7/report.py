"""What a replay did, or would do, as values: of one message, and of many, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from adapters.hl7.faults import Fault
from fhir_server.model import Record


class Mode(StrEnum):
    """What a replay may change."""

    DRY_RUN = "dry-run"  # nothing
    APPLY = "apply"  # all that the message says
    AS_OF = "apply-as-of"  # all but resources that something later than the message has changed


@dataclass(frozen=True, slots=True)
class Difference:
    """One element that differs; the values are the patient's data."""

    path: str  # e.g. "valueQuantity.value", "name[0].family"
    before: Any  # None where it was not there
    after: Any  # None where it is not there any more


@dataclass(frozen=True, slots=True)
class Touched:
    """What a message does to one resource."""

    reference: str  # Type/id
    action: str  # created | updated | unchanged | kept (newer data stay: `apply-as-of`)
    differences: tuple[Difference, ...] = ()  # of a created one each of its elements


@dataclass(frozen=True, slots=True)
class Report:
    """What a replay of one message did, or would do."""

    key: str
    mode: Mode
    before: str  # state of the message until now
    state: str  # that it has now, or would have
    touched: tuple[Touched, ...] = ()
    fault: Fault | None = None  # why it is in quarantine, where it is
    reason: dict[str, Any] = field(default_factory=dict)  # what the core said, without values
    rules: tuple[str, ...] = ()  # `path rule` of each problem

    @property
    def changes(self) -> int:
        """How many resources are made or changed."""
        return sum(one.action in ("created", "updated") for one in self.touched)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which stored messages: all that fit every part that is given."""

    state: str = ""
    fault: str = ""  # code of table 0357
    path: str = ""  # of the fault, e.g. "PID[1]-3"
    type: str = ""  # e.g. "ADT^A08"
    channel: str = ""
    since: str = ""  # received at or after, ISO 8601 in UTC
    until: str = ""  # received before
    rule: str = ""  # that some problem of it names
    sender: str = ""  # MSH-3 and MSH-4, as `LIS|LABO`
    code: str = ""  # that had no map, with its field: `OBX-3 FC`

    def fits(self, record: Record, body: dict[str, Any]) -> bool:
        """Whether a stored message is selected."""
        error, received = body.get("error", {}), body.get("received", "")
        return (
            (not self.state or record.state == self.state)
            and (not self.fault or error.get("code") == self.fault)
            and (not self.path or error.get("path") == self.path)
            and (not self.type or body.get("type") == self.type)
            and (not self.channel or body.get("channel") == self.channel)
            and (not self.since or received >= self.since)
            and (not self.until or received < self.until)
            and (not self.sender or f"{body.get('application', '')}|{body.get('facility', '')}" == self.sender)
            and (not self.code or any(f"{row[0]} {row[2]}" == self.code for row in body.get("unmapped", ())))
            and (not self.rule or any(issue["rule"] == self.rule for issue in body.get("issues", ())))
        )


@dataclass(slots=True)
class Summary:
    """Many reports, counted; of constant size."""

    messages: int = 0
    states: Counter[tuple[str, str]] = field(default_factory=Counter)  # (before, after)
    actions: Counter[tuple[str, str]] = field(default_factory=Counter)  # (type of resource, action)
    paths: Counter[tuple[str, str]] = field(default_factory=Counter)  # (type, path without numbers) that differ
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)  # (code, path)

    def add(self, report: Report) -> None:
        """Count one."""
        self.messages += 1
        self.states[report.before, report.state] += 1
        if report.fault is not None:
            self.faults[report.fault.code, report.fault.place.path] += 1
        for one in report.touched:
            type = one.reference.partition("/")[0]
            self.actions[type, one.action] += 1
            if one.action != "created":
                self.paths.update({(type, _plain(difference.path)) for difference in one.differences})


def _plain(path: str) -> str:
    """Return a path without the numbers of its list items, so that paths can be counted."""
    return "".join(part.partition("]")[2] if n else part for n, part in enumerate(path.split("[")))


def differences(before: Any, after: Any, path: str = "") -> Iterator[Difference]:
    """Yield the elements in which two resources differ; what the store itself writes (id, meta) is left out."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys((*before, *after)):
            if path or name not in ("id", "meta"):
                place = f"{path}.{name}" if path else name
                yield from differences(before.get(name), after.get(name), place)
    elif isinstance(before, list) and isinstance(after, list):
        for number in range(max(len(before), len(after))):
            one, other = (side[number] if number < len(side) else None for side in (before, after))
            yield from differences(one, other, f"{path}[{number}]")
    elif before != after or (type(before) is not type(after)) or str(before) != str(after):
        yield Difference(path, before, after)

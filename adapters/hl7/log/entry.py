"""One stored message as the log shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from adapters.hl7.record import KIND as KIND
from adapters.hl7.record import raw_of
from fhir_server import gate
from fhir_server.model import Record

SHOWN: Final = (
    "control_id", "type", "version", "received", "settled", "code", "channel", "attempts", "error", "issues", "unused",
    "used", "unmapped", "resources", "replay_of", "replays", "parent", "left_out", "edited_by", "reason",
    "history", "urgent",
)  # fmt: skip
"""What the log gives of a message: nothing of its content but codes that have no map."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored message."""

    record: Record
    body: dict[str, Any]

    @property
    def key(self) -> str:
        """What the message is known by."""
        return self.record.key

    @property
    def seq(self) -> int:
        """Its place in the order in which messages came."""
        return self.record.seq

    @property
    def state(self) -> str:
        """received, applied, superseded, quarantined or filtered."""
        return self.record.state

    @property
    def sender(self) -> str:
        """MSH-3 and MSH-4 as sent: `application|facility`."""
        return f"{self.body.get('application', '')}|{self.body.get('facility', '')}"

    @property
    def received(self) -> str:
        """ISO 8601 in UTC."""
        found: str = self.body.get("received", "")
        return found

    @property
    def raw(self) -> bytes:
        """The bytes as they came."""
        return raw_of(self.body)

    @property
    def patients(self) -> tuple[str, ...]:
        """Ids of the Patients whose resources it made: whom a look at it is audited for."""
        found = [r.removeprefix("Patient/") for r in self.body.get("resources", ()) if r.startswith("Patient/")]
        return tuple(dict.fromkeys(found))

    def shown(self) -> dict[str, Any]:
        """Return it as `predmp hl7 log --json` prints it: without its text."""
        return {
            "key": self.key,
            "state": self.state,
            "sender": self.sender,
            **{name: self.body[name] for name in SHOWN if name in self.body},
        }


def read_entry(record: Record) -> Entry:
    """Return a record as an entry of the log."""
    return Entry(record, gate.load(record.body))

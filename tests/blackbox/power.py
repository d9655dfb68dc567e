"""A file system that can lose power: an apsw VFS that writes down what reaches the files and when it is synced.

Only what was written before a file's last sync is sure to be there after power loss; of the rest any part may be.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import apsw

SECTOR = 512  # bytes that reach the disk together, or not at all


class Event(NamedTuple):
    """What happened: to a file, or `ack` of a unit of work."""

    what: str  # write truncate sync delete ack
    name: str  # of the file, or of the unit
    at: int = 0  # offset, or size
    data: bytes = b""


@dataclass(slots=True)
class Log:
    """All events, in order."""

    events: list[Event] = field(default_factory=list)

    def ack(self, name: str) -> None:
        self.events.append(Event("ack", name))


class RecordingVfs(apsw.VFS):
    """The system's own VFS, written down."""

    def __init__(self, name: str, log: Log) -> None:
        self.log = log
        super().__init__(name=name, base="")

    def xOpen(self, name: Any, flags: Any) -> RecordingFile:
        return RecordingFile(self.log, name, flags)

    def xDelete(self, name: str, sync_directory: bool) -> None:
        super().xDelete(name, sync_directory)
        self.log.events.append(Event("delete", Path(name).name))


class RecordingFile(apsw.VFSFile):
    def __init__(self, log: Log, name: Any, flags: Any) -> None:
        self._log = log
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(path).name if path else ""
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._log.events.append(Event("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._log.events.append(Event("truncate", self._name, size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._log.events.append(Event("sync", self._name))


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Event] = field(default_factory=list)


def _apply(image: bytearray, event: Event) -> None:
    if event.what == "truncate":
        del image[event.at :]
        return
    if len(image) < event.at:
        image.extend(bytes(event.at - len(image)))
    image[event.at : event.at + len(event.data)] = event.data


class Cut(NamedTuple):
    """What is left after a power loss."""

    files: dict[str, bytes]
    acked: frozenset[str]


def cuts(log: Log, points: set[int], rng: random.Random) -> Iterator[Cut]:
    """Lose power after each of these events: nothing unsynced is left, or a random part of it is."""
    files: dict[str, _File] = {}
    acked: set[str] = set()
    for number, event in enumerate(log.events):
        if event.what == "ack":
            acked.add(event.name)
        elif event.what == "delete":
            files.pop(event.name, None)
        else:
            file = files.setdefault(event.name, _File())
            if event.what == "sync":
                for pending in file.pending:
                    _apply(file.durable, pending)
                file.pending.clear()
            else:
                file.pending.append(event)
        if number in points:
            share = rng.choice([0.0, 0.0, 0.5, 0.9])
            yield Cut({name: _left(file, share, rng) for name, file in files.items() if name}, frozenset(acked))


def _left(file: _File, share: float, rng: random.Random) -> bytes:
    image = bytearray(file.durable)
    for event in file.pending:
        if rng.random() < share:
            torn = rng.random() < 0.2 and event.what == "write"
            _apply(image, event._replace(data=event.data[:SECTOR]) if torn else event)
    return bytes(image)

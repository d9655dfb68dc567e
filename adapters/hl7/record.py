"""What is stored of a message: one `hl7-inbox` record, JSON whose `raw` gives the bytes back as they came.

States: `received` (acknowledged, not yet applied), then `applied`, `superseded` (all it says is older than what is
stored), `quarantined` (with its fault) or `filtered` (left out by a person, with the reason). The record's key is
channel, MSH-3, MSH-4 and MSH-10, and the day of MSH-7 where the channel says that its sender uses control ids again.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from adapters.hl7.faults import Fault, Place
from fhir_server import gate
from fhir_server.interface import Erasure
from fhir_server.model import Record

KIND: Final = "hl7-inbox"
"""Kind of the records that hold messages."""

RECEIVED, APPLIED, SUPERSEDED = "received", "applied", "superseded"
QUARANTINED, FILTERED = "quarantined", "filtered"

STATES: Final = (RECEIVED, APPLIED, SUPERSEDED, QUARANTINED, FILTERED)

INTERNAL: Final = "207"
NOT_APPLIED: Final = Fault(INTERNAL, Place("MSH"), "The message could not be applied.")


@lru_cache(maxsize=16)
def when(at: int) -> str:
    """Write microseconds since 1970 as records do: ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(at / 1_000_000, UTC).isoformat(timespec="milliseconds")


def raw_part(raw: bytes, codec: str) -> dict[str, str]:
    """Return the bytes as text (`raw`) where the text gives the same bytes back, else as base64 (`raw64`)."""
    try:
        text = raw.decode(codec)
        is_kept = "\x00" not in text and (codec in ("ascii", "utf-8") or text.encode(codec) == raw)
    except UnicodeError:
        is_kept = False
    return {"raw": text} if is_kept else {"raw64": base64.b64encode(raw).decode("ascii")}


def raw_of(body: dict[str, Any]) -> bytes:
    """Return the bytes of a stored message."""
    if "raw64" in body:
        return base64.b64decode(body["raw64"])
    text: str = body["raw"]
    return text.encode(body["charset"])


def error_part(fault: Fault) -> dict[str, Any]:
    """Return a fault as it is stored: code of table 0357, place, our own words."""
    return {"code": fault.code, "path": fault.place.path, "detail": fault.detail}


def holds(record: Record, erasure: Erasure) -> bool:
    """Whether a message made, or names by an identifier, what is erased (`interface.Eraser`)."""
    body = gate.load(record.body)
    if not erasure.references.isdisjoint(body.get("resources", ())):
        return True
    return any(names(text, erasure.identifiers) for text in _texts(body))


def names(text: str, values: Iterable[str]) -> bool:
    """Whether a text holds one of some values, by itself: not as a part of a longer number or word."""
    return any(re.search(rf"(?<![^\W_]){re.escape(value)}(?![^\W_])", text) for value in values)


def _texts(body: dict[str, Any]) -> Iterator[str]:
    """Yield how a message may be read: what is not in its character set can still name somebody."""
    if "raw" in body:
        yield body["raw"]
        return
    raw = raw_of(body)
    yield raw.decode(body.get("charset") or "utf-8", "replace")
    yield raw.replace(b"\x00", b"").decode("latin-1")  # UTF-16 and UTF-32, whichever end is first

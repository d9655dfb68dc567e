"""What people did with a card: read strictly, kept once. Pure.

Source: CDS Hooks 2.0.1, https://cds-hooks.hl7.org/2.0/#feedback
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple
from uuid import UUID

from fhir_server.errors import BadRequest

KIND: Final = "cds-feedback"  # of the durable rows
MAX_ITEMS: Final = 200
MAX_COMMENT: Final = 4000  # characters


class Feedback(NamedTuple):
    """One outcome of one card."""

    card: str
    outcome: str  # accepted | overridden
    at: str  # outcomeTimestamp, as written
    accepted: tuple[str, ...]  # suggestion ids
    reason: tuple[str, str]  # system and code of the override reason
    comment: str

    def key(self, service: str, subject: str) -> str:
        """Return the same key for the same feedback of the same caller: sent twice, it is kept once."""
        return sha256("|".join((service, subject, self.card, self.outcome, self.at)).encode()).hexdigest()

    def kept(self, service: str, subject: str) -> dict[str, Any]:
        """Return what is stored."""
        made = {**self._asdict(), "reason": list(self.reason), "accepted": list(self.accepted)}
        return {"service": service, "subject": subject, **made}


def read_feedback(body: Any) -> list[Feedback]:
    """Read the body of a feedback call; raise BadRequest that says what is wrong, and where."""
    items = body.get("feedback") if isinstance(body, dict) else None
    if not isinstance(items, list) or not 0 < len(items) <= MAX_ITEMS:
        raise BadRequest(f"feedback is a list of 1 to {MAX_ITEMS} objects.", expression="feedback")
    return [_one(item, f"feedback[{number}]") for number, item in enumerate(items)]


def _one(item: Any, place: str) -> Feedback:
    if not isinstance(item, dict):
        raise BadRequest("This is no object.", expression=place)
    outcome, at = item.get("outcome"), item.get("outcomeTimestamp")
    if outcome not in ("accepted", "overridden"):
        raise BadRequest("outcome is accepted or overridden.", expression=f"{place}.outcome")
    accepted = _accepted(item, place) if outcome == "accepted" else ()
    reason, comment = _reason(item, place) if outcome == "overridden" else (("", ""), "")
    return Feedback(_uuid(item.get("card"), f"{place}.card"), outcome, _instant(at, place), accepted, reason, comment)


def _uuid(value: Any, place: str) -> str:
    try:
        return str(UUID(value))
    except (TypeError, ValueError, AttributeError):
        raise BadRequest("This is no UUID.", expression=place) from None


def _instant(value: Any, place: str) -> str:
    try:
        aware = datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        aware = False
    if not aware:
        raise BadRequest("outcomeTimestamp is a moment with its zone.", expression=f"{place}.outcomeTimestamp")
    return str(value)


def _accepted(item: dict[str, Any], place: str) -> tuple[str, ...]:
    given = item.get("acceptedSuggestions")
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise BadRequest("acceptedSuggestions is required with accepted.", expression=f"{place}.acceptedSuggestions")
    return tuple(_uuid(one.get("id"), f"{place}.acceptedSuggestions") for one in given)


def _reason(item: dict[str, Any], place: str) -> tuple[tuple[str, str], str]:
    """Return the coded reason and the comment; the specification lets both be absent."""
    given = item.get("overrideReason", {})
    reason = given.get("reason", {}) if isinstance(given, dict) else None
    comment = given.get("userComment", "") if isinstance(given, dict) else None
    if not isinstance(reason, dict) or not isinstance(comment, str) or len(comment) > MAX_COMMENT:
        raise BadRequest("overrideReason holds a Coding and a comment.", expression=f"{place}.overrideReason")
    system, code = reason.get("system", ""), reason.get("code", "")
    if not isinstance(system, str) or not isinstance(code, str):
        raise BadRequest("overrideReason.reason is a Coding.", expression=f"{place}.overrideReason.reason")
    return (system, code), comment

"""A resource of a message laid over the stored one, element by element.

What a message does not say stays as it is. A choice (`effective[x]`) is one element, an extension is one by its url,
and the participants of an appointment are told by those who are asked for it and by what is booked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from adapters.hl7.datatypes import Json
from adapters.hl7.maps.sch import CONTACTS
from adapters.hl7.merge import united

CHOICES: Final = ("effective", "occurrence", "quantity")
"""Elements that R4 has one form of, of those that a message lays over what is stored."""

TIMES: Final = ("start", "end", "minutesDuration")
STATUS: Final = frozenset({"status", "_status", "cancelationReason"})
"""What an older message says nothing of any more."""


def over(stored: Json, own: Json, dropped: Sequence[Json] | None = None) -> Json:
    """Return what is stored with the elements of a message; identifiers are united.

    Args:
        stored: The resource as it is.
        own: The resource as the message has it.
        dropped: Of an appointment, the actors and services that the message takes out of it; None where it
            tells the whole of what is booked.
    """
    made = {**_without_choices(stored, own), **own, "id": stored["id"]}
    for name in own.keys() & {known[1:] for known in stored if known.startswith("_")}:
        if f"_{name}" not in own:  # it said more of the value that was
            del made[f"_{name}"]
    if "identifier" in stored and "identifier" in own and isinstance(own["identifier"], list):
        made["identifier"] = united(stored["identifier"], own["identifier"])
    if "extension" in stored and own.get("extension"):
        told = {one["url"] for one in own["extension"]}
        made["extension"] = [*(one for one in stored["extension"] if one["url"] not in told), *own["extension"]]
    if "contained" in stored and "contained" not in own and "requester" in own:
        del made["contained"]  # it held who asked before
    if own["resourceType"] == "DocumentReference" and "context" in stored and "context" in own:
        made["context"] = {**stored["context"], **own["context"]}
    if own["resourceType"] == "Flag" and "start" not in own.get("period", {"start"}):
        made["period"] = _ended(stored.get("period", {}), own["period"])
    if own["resourceType"] == "Appointment":
        made |= _booked(stored, own, dropped)
    return made


def _ended(stored: Json, own: Json) -> Json:
    """Return the period of what began before with its end: no earlier than its start, where a sender's clock jumped."""
    start, end = stored.get("start", ""), own["end"]
    if "T" in start and "T" in end and datetime.fromisoformat(end) < datetime.fromisoformat(start):
        end = start
    return {**stored, "end": end}


def filled(stored: Json, own: Json) -> Json:
    """Return what is stored with those elements of a message that it has not."""
    return {**over(own, stored), "id": stored["id"]}


def completed(stored: Json, own: Json) -> Json:
    """Return what is stored with what an older message adds: how far it is and when it takes place are told already."""
    left = {name: value for name, value in own.items() if name not in STATUS and value is not None}
    if any(name in stored for name in TIMES):
        left = {name: value for name, value in left.items() if name not in TIMES}
    made = filled(stored, left)
    if not _has_content(stored) and _has_content(own):
        made["content"] = own["content"]
    return made


def _has_content(document: Json) -> bool:
    """Whether a document is more than announced."""
    return any("data" in one["attachment"] or "url" in one["attachment"] for one in document.get("content", ()))


def _without_choices(stored: Json, own: Json) -> Json:
    """Return what is stored without the forms of a choice of which the message has another one."""
    told = [base for base in CHOICES if any(_is_form(name, base) for name in own)]
    if not told:
        return stored
    return {name: value for name, value in stored.items() if not any(_is_form(name, base) for base in told)}


def _is_form(name: str, base: str) -> bool:
    bare = name.removeprefix("_")
    return bare.startswith(base) and bare[len(base) : len(base) + 1].isupper()


def _booked(stored: Json, own: Json, dropped: Sequence[Json] | None) -> Json:
    """Return participants and services: lists that a message does not tell stay.

    What stays of an appointment that was moved is there at its new time.
    """
    made: dict[str, Any] = {}
    told = own.get("participant", [])
    kept = [one for one in stored.get("participant", []) if not _is_told(one, told, dropped)]
    if own.get("start", stored.get("start")) != stored.get("start"):
        kept = [{name: value for name, value in one.items() if name != "period"} for one in kept]
    if kept or told:
        made["participant"] = [*kept, *told]
    if dropped is not None and "serviceType" in stored:
        services = own.get("serviceType", [])
        gone = {coding for one in (*services, *dropped) for coding in _codings(one)}
        made["serviceType"] = [*(one for one in stored["serviceType"] if not gone & _codings(one)), *services] or None
    return made


def _is_told(one: Json, told: Sequence[Json], dropped: Sequence[Json] | None) -> bool:
    """Whether a stored participant is taken out, or told anew by a message."""
    if role := _role(one):
        return any(_role(other) == role for other in told)
    if dropped is None:
        return any(not _role(other) for other in told)
    return _whom(one["actor"]) in {_whom(actor) for actor in (*dropped, *(other["actor"] for other in told))}


def _role(one: Json) -> str:
    """Return what a participant is asked for an appointment as; "" for what is booked for it."""
    if str(one["actor"].get("reference", "")).startswith(("Patient/", "urn:uuid:")):
        return "patient"
    return next((text for kind in one.get("type", ()) if (text := kind.get("text", "")) in CONTACTS), "")


def _whom(actor: Json) -> str:
    """Return what tells an actor: the number, else the name."""
    number = actor.get("identifier", {})
    return f"{number.get('system')}|{number['value']}" if number else str(actor.get("display"))


def _codings(concept: Json) -> set[tuple[str, str]]:
    return {(one.get("system", ""), one.get("code", "")) for one in concept.get("coding", ())}

"""A resource that a message wants stored beside the patient and the stay."""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.hl7.datatypes import Json
from adapters.hl7.tokens import Segment


@dataclass(frozen=True, slots=True)
class Wanted:
    """A resource beside the patient and the stay, under an id made from what tells it apart (`ids.made_id`).

    It may refer to others of the same message as `Type/id`. Its patient and its stay are put in when it is applied.
    """

    resource: Json
    segment: Segment  # where it comes from
    how: str = "put"  # what becomes of what is stored: see `standing.HOW`
    in_order: bool = False  # whether an older event of the sender on it changes nothing
    found_by: tuple[str, str] | None = None  # system and value: those that have it are meant, where there are any
    otherwise: Json = field(default_factory=dict)  # elements that it has where neither the message nor the store does
    gone: frozenset[str] = frozenset()  # elements that the message deletes, where it does not fill them otherwise
    is_asked: bool = False  # whether its status is only what is asked for (ORC-1): it does not reopen what is completed
    dropped: tuple[Json, ...] | None = None  # of an appointment: see `overlay.over`
    result: Json | None = None  # the document of a result that it is, or holds the data of: it never goes back

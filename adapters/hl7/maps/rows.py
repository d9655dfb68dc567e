"""How a map is written, and how it is applied.

A row names the field, the element, the converter and the guide's row. A field that is empty says nothing;
the null value (`""`) says: delete; any other value replaces what this row's field said before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

from adapters.hl7.context import Context
from adapters.hl7.tokens import NULL, Segment

Owns: TypeAlias = Callable[[dict[str, Any]], bool]


@cache
def segment_of(guide: str) -> str:
    """Return the segment that a row is about: `PID` of `ours: PID-11.7 BDL`; "" where it names none."""
    found = re.search(r"\b([A-Z][A-Z0-9]{2})-\d", guide)
    return found[1] if found else ""


class Row(NamedTuple):
    """One row of a segment's map."""

    field: int  # v2 field, from 1
    element: str  # FHIR element of the resource being built; a dot for an inner one
    convert: Callable[[Context, Segment, int], Any]  # None: could not be read, the element stays as it is
    guide: str  # the row of the guide it follows, or "ours" with the reason
    owns: Owns | None = None  # of a list: which items stem from this field; None: all of them
    with_field: int = 0  # of a list: the field whose row it is said with, where both own the same items

    @property
    def clock(self) -> str:
        """What is newer or older as a whole: the element, or what one field says of a list.

        Extensions are of fields of several segments (PID-6, PD1-6): they are told apart by the segment too.
        """
        if self.owns is None:
            return self.element
        place = f"{self.element}#{self.with_field or self.field}"
        return f"{place}@{segment_of(self.guide)}" if self.element == "extension" else place


def whole(field: int, element: str, guide: str, owns: Owns | None = None, with_field: int = 0) -> Row:
    """Return a row whose value is made of several fields or segments: its reader states it, `state` does not."""
    return Row(field, element, lambda context, segment, number: None, guide, owns, with_field)


class Stated(NamedTuple):
    """What one field says about one element."""

    row: Row
    value: Any  # None: delete


GONE = object()
"""What a converter answers when the field is read and says that the element has no value."""


def state(rows: Sequence[Row], context: Context, segment: Segment) -> list[Stated]:
    """Return what a segment says, field by field."""
    made = []
    fields = segment.fields
    given = len(fields)
    for row in rows:
        if row.field >= given or not (raw := fields[row.field]):
            continue
        if raw == NULL:
            made.append(Stated(row, None))
            continue
        value = row.convert(context, segment, row.field)
        if value is GONE:
            made.append(Stated(row, None))
        elif value is not None:
            made.append(Stated(row, value))
    return made


SHARED: Final = frozenset({"additives", "code", "extension", "identifier", "participant", "security"})
"""Elements that a field alone does not empty: several fill them, or R4 wants them."""


def emptied(rows: Sequence[Row], segment: Segment | None) -> frozenset[str]:
    """Return the elements that a segment deletes of a resource that it is laid over (`Wanted.gone`)."""
    if segment is None or NULL not in segment.fields:
        return frozenset()
    found = (row.element for row in rows if segment.raw(row.field) == NULL and "." not in row.element)
    return frozenset(found) - SHARED


def repeated(
    convert: Callable[[Context, Segment, int, list[list[str]]], Any],
) -> Callable[[Context, Segment, int], Any]:
    """Make a row's converter of one that takes a repetition: the element is a list."""

    def every(context: Context, segment: Segment, number: int) -> Any:
        made = [convert(context, segment, number, parts) for parts in segment.repetitions(number)]
        return [value for value in made if value is not None] or None

    return every


def single(convert: Callable[[Context, Segment, int, list[list[str]]], Any]) -> Callable[[Context, Segment, int], Any]:
    """Make a row's converter of one that takes a repetition: the first counts, more are noted."""

    def first(context: Context, segment: Segment, number: int) -> Any:
        found = segment.repetitions(number)
        if len(found) > 1:
            context.note(segment, number, "repetition-not-used")
        return convert(context, segment, number, found[0])

    return first

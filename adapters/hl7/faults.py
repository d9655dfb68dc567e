"""What can be wrong with a message, as values: faults that refuse it, problems that are recorded.

Neither ever carries a value from the message: a problem may name the code that has no map, a fault
names only the place.
"""

from __future__ import annotations

from typing import NamedTuple

TEXTS = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "207": "Application internal error",
}
"""HL7 table 0357. The codes stand in the HL7 v2.5 tables; the wording here was not checked against them."""

REJECTING = frozenset({"200", "201", "202", "203"})


class Place(NamedTuple):
    """Where in a message: ERR-2. Zero means the whole of the level above."""

    segment: str
    number: int = 1  # which segment of that name, from 1
    field: int = 0
    repetition: int = 0
    component: int = 0

    @property
    def path(self) -> str:
        """As written in logs and in the message log, e.g. `OBX[2]-6`."""
        text = f"{self.segment}[{self.number}]"
        if self.field:
            text += f"-{self.field}"
        if self.component:
            text += f".{self.component}"
        return text


class Fault(NamedTuple):
    """Why a message is refused: a code of table 0357, its place, and whether AE or AR."""

    code: str
    place: Place
    detail: str = ""  # our own words, never a value from the message
    reject: bool = False  # AR where the code alone would give AE

    @property
    def answer(self) -> str:
        """AE for a fault of content, AR for what this system cannot take at all."""
        return "AR" if self.reject or self.code in REJECTING else "AE"

    @property
    def text(self) -> str:
        """The text of ERR-3, and the detail where there is one."""
        return TEXTS[self.code]


class Problem(NamedTuple):
    """What could not be carried over as it was: kept with the message, shown by `predmp hl7 log`."""

    path: str  # e.g. "OBX[2]-6"
    rule: str  # what happened, e.g. "unit-unknown"
    code: str = ""  # the code that has no map; never free text, never a number or a name


class Refused(Exception):
    """The message cannot be taken; it is kept all the same where it can be."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.code)
        self.fault = fault

"""What a message's turn depends on, told by a look at its text: whose it is, and whether somebody may wait for it.

The look costs a few microseconds, so that each message can have it before it is acknowledged. It decides on order
between patients and on nothing else: a wrong guess costs time, never a message, and never the order of one patient.
For that `whose` may name too many numbers and never too few: two messages that share a lane share one of them.

Urgent is a result (ORU) with a critical flag (OBX-8: what HL7 table 0078 calls critical), or of a measurement that a
room judges (`Core.calm`), under its own code, an MDC code or a sender's code that a ConceptMap leads to it, whose
value is not calm: out of the range, missing, or nothing that can be compared; and each alarm (ORU^R40, IHE PCD-04).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from adapters.hl7.channels import Channel
from adapters.hl7.codes import Codes
from adapters.hl7.context import UNKNOWN, Context, urn_part
from adapters.hl7.datatypes import coded
from adapters.hl7.escapes import Delimiters, unescape
from adapters.hl7.faults import Refused
from adapters.hl7.maps import mdc, obx
from adapters.hl7.maps.tables import table
from adapters.hl7.times import Zone
from adapters.hl7.tokens import Segment, Syntax, lines_of, read_delimiters
from fhir_server.interface import Calm

ALARM: Final = "ORU^R40"
MOST_CODES: Final = 10_000  # OBX-3 fields of which it is kept what they stand for
LONGEST: Final = 500  # characters of such a field
MOST_LOOKED_AT: Final = 2_000  # OBX of a message; one with more counts as calm after these

NUMBERS: Final = {"PID": (2, 3, 4), "MRG": (1, 2, 4)}
"""Fields with a patient's numbers, which `Person.keys` are made from."""

_PARTED = re.compile(r"[ ,^&~]+")


class Glance(NamedTuple):
    """What a look at a message tells."""

    whose: tuple[str, ...] = ()  # values of the numbers of the patients it is about; none: nobody's
    urgent: str = ""  # the field that makes it urgent; "" where it can wait


class _Range(NamedTuple):
    """`Calm`, ready to be compared."""

    low: float | None
    high: float
    answers: frozenset[str]


class Urgency:
    """Looks at messages; remembers what OBX-3 fields stand for.

    Args:
        calm: Gives what rooms judge, once all rooms are open.
    """

    def __init__(self, calm: Callable[[], Sequence[Calm]]) -> None:
        self._calm = calm
        self._by_code: dict[tuple[str, str], _Range] | None = None
        self._known: dict[tuple[str, str, str], dict[str, _Range | None]] = {}  # sender -> field -> what is calm
        self._kept = 0  # rows of it
        self._codes: dict[str, Codes] = {}  # by tenant: those that `_known` was made with
        self._critical = frozenset(code for code, to in table("InterpretationCodes").items() if "ritical" in to.display)

    def look(self, channel: Channel, text: str, name: str, codec: str = "utf-8") -> Glance:
        """Look at a message.

        Args:
            channel: The way it came.
            text: The message, decoded.
            name: Its type and trigger, e.g. `ORU^R01`.
            codec: Python's name of the character set it came in.
        """
        try:
            marks = _USUAL if text.startswith(_USUALLY) else read_delimiters(text[:1_024])[0]
        except Refused:
            return Glance()
        syntax, field = Syntax(marks, codec), marks.field
        whose: list[str] = []
        results: list[list[str]] = []
        lines = lines_of(text)
        for line in lines:
            start = line[:3]
            if start not in _LOOKED_AT and (start := (line := line.lstrip(" \t\n"))[:3]) not in _LOOKED_AT:
                continue
            if start != "OBX":
                whose += _numbers(line.split(field, 5), NUMBERS[start], syntax)
            elif len(results) < MOST_LOOKED_AT:
                results.append(line.split(field, 9))
        urgent = ""
        if name == ALARM:
            urgent = "MSH-9"
        elif results and name[:3] == "ORU":
            urgent = self._judge(channel, lines[0].split(field, 5), results, syntax)
        return Glance(tuple(whose), urgent)

    def _judge(self, channel: Channel, header: list[str], results: list[list[str]], syntax: Syntax) -> str:
        """Return the field that makes one of the results urgent."""
        application, name = (*header, "", "", "", "")[2:4]
        facility = _facility(application, name, syntax.delimiters.component)
        known = self._known_of(channel, facility, syntax)
        for fields in results:
            given = len(fields)
            if given < 4:
                continue
            if given > 8 and (flags := fields[8]) and not self._critical.isdisjoint(_PARTED.split(flags.strip())):
                return "OBX-8"
            calm = known.get(fields[3], _NEW)
            if calm is _NEW:
                calm = self._find(channel, facility, fields, syntax) if len(fields[3]) <= LONGEST else None
                if len(fields[3]) <= LONGEST:
                    self._kept += 1
                    known[fields[3]] = calm
            if calm is not None and not _is_calm(calm, fields, syntax):
                return "OBX-5"
        return ""

    def _known_of(self, channel: Channel, facility: str, syntax: Syntax) -> dict[str, _Range | None]:
        """Return what is known of a sender's OBX-3 fields: what is calm of each, None for what no room judges."""
        codes = channel.local.codes
        if self._codes.get(channel.tenant) is not codes or self._kept >= MOST_CODES:
            self._known.clear()
            self._kept = 0
            self._codes[channel.tenant] = codes
        place = (channel.tenant, facility, syntax.delimiters.encoding)
        known = self._known.get(place)
        if known is None:
            self._kept += 1
            known = self._known[place] = {}
        return known

    def _find(self, channel: Channel, facility: str, fields: list[str], syntax: Syntax) -> _Range | None:
        """Read the field as the maps do."""
        if self._by_code is None:
            self._by_code = {(one.system, one.code): _range(one) for one in self._calm()}
        context = Context(channel.tenant, Zone(channel.zone), facility, {}, codes=channel.local.codes)
        segment = Segment("OBX", 1, fields, syntax)
        for coding in (coded(context, segment, 3, segment.first(3)) or {}).get("coding", ()):
            system, code = coding.get("system", ""), coding["code"]
            pairs = [(system, code)]
            if system == mdc.SYSTEM:
                pairs += [(obx.LOINC, one) for row in mdc.MEASURES.get(code, ()) for one in row.loinc.split()]
            for pair in pairs:
                if found := self._by_code.get(pair):
                    return found
        return None


_LOOKED_AT: Final = frozenset({*NUMBERS, "OBX"})
_USUAL: Final = Delimiters()
_USUALLY: Final = f"MSH{_USUAL.field}{_USUAL.encoding}{_USUAL.field}"
_NEW: Final = _Range(None, 0.0, frozenset())


@lru_cache(maxsize=1_000)
def _facility(application: str, facility: str, component: str) -> str:
    """Return the sender as `arrival` names it: MSH-4, else MSH-4.2, else MSH-3."""
    name, _, rest = facility.partition(component)
    first = application.partition(component)[0]
    return urn_part(name) or urn_part(rest.partition(component)[0]) or urn_part(first) or UNKNOWN


def _numbers(fields: list[str], numbers: Sequence[int], syntax: Syntax) -> list[str]:
    marks, found = syntax.delimiters, []
    for number in numbers:
        if number < len(fields) and (field := fields[number]):
            for one in field.split(marks.repetition):
                value = one.partition(marks.component)[0].partition(marks.subcomponent)[0]
                if marks.escape in value:
                    value = unescape(value, marks, syntax.codec)
                if value := value.strip():
                    found.append(value)
    return found


def _range(calm: Calm) -> _Range:
    if calm.low is None or calm.high is None:
        return _Range(None, 0.0, calm.answers)
    return _Range(float(calm.low), float(calm.high), calm.answers)


def _is_calm(calm: _Range, fields: list[str], syntax: Syntax) -> bool:
    """Whether OBX-5 is calm."""
    value = fields[5] if len(fields) > 5 else ""
    if calm.low is None:
        return value.partition(syntax.delimiters.component)[0].strip() in calm.answers
    try:
        return calm.low <= float(value) <= calm.high
    except ValueError:
        return False

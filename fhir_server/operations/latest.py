"""The newest Observations of each code: groups, recency and ties, as `$lastn` defines them.

Our reading of R4 where it leaves a choice: two Observations of a subject are of one group when a chain of shared
codings (system and code) joins them, over all that match; one without codings is grouped by its text. Newest is by
the beginning of `effective[x]`; among equal ones by `issued`, then by when it was stored. One without `effective[x]` is
older than all that have it. All that begin at the same instant as the last one wanted are given too.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/observation-operation-lastn.html
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from fhir_server import gate
from fhir_server.model import Version
from fhir_server.search import dates

Code: TypeAlias = tuple[str, str, str]  # subject, system and code; of a text: subject, "\0text" and the text

_TEXT: Final = "\0text"
_SLACK: Final = 64  # Observations that a group may keep beyond those wanted, before it is sorted


class _Coding(msgspec.Struct):
    system: str = ""
    code: str = ""


class _Concept(msgspec.Struct):
    coding: list[_Coding] = []
    text: str = ""


class _Reference(msgspec.Struct):
    reference: str = ""


class _Observation(msgspec.Struct):
    code: _Concept
    subject: _Reference | None = None
    effectiveDateTime: str | None = None
    effectiveInstant: str | None = None
    effectivePeriod: dict[str, Any] | None = None
    effectiveTiming: dict[str, Any] | None = None
    issued: str | None = None


_decode = msgspec.json.Decoder(_Observation).decode


class Seen(NamedTuple):
    """An Observation with what its place depends on."""

    version: Version
    codes: tuple[Code, ...]
    begin: int | None  # of effective[x], microseconds since 1970
    issued: int | None
    text: str = ""  # effectiveDateTime as it is written

    @property
    def rank(self) -> tuple[int, ...]:
        """Larger is newer."""
        dated = (1, self.begin) if self.begin is not None else (0, 0)
        return (*dated, *((1, self.issued) if self.issued is not None else (0, 0)), self.version.seq)

    def ties(self, other: Seen) -> bool:
        """Whether both were made at the same time; what has no time was not made at the same time as anything."""
        if self.begin is None and other.begin is None:
            return self.issued is not None and self.issued == other.issued
        return self.begin == other.begin


def see(version: Version, zone: tzinfo) -> Seen:
    """Read of an Observation what its place depends on."""
    body = _read(version)
    return _seen(version, body, _codes(body), zone)


def _read(version: Version) -> _Observation:
    try:
        return _decode(version.body)
    except msgspec.ValidationError:  # a null in a list, which has only extensions
        return msgspec.convert(_without_nulls(gate.load(version.body)), _Observation)


def _codes(body: _Observation) -> tuple[Code, ...]:
    whose = body.subject.reference if body.subject is not None else ""
    codings = body.code.coding
    if len(codings) == 1 and codings[0].code:
        return ((whose, codings[0].system, codings[0].code),)
    codes = tuple(dict.fromkeys((whose, coding.system, coding.code) for coding in codings if coding.code))
    return codes or ((whose, _TEXT, body.code.text),)


def _seen(version: Version, body: _Observation, codes: tuple[Code, ...], zone: tzinfo) -> Seen:
    begin = dates.read(body.effectiveDateTime or body.effectiveInstant, zone)
    if body.effectivePeriod is not None:
        begin = dates.read_period(body.effectivePeriod, zone)
    elif body.effectiveTiming is not None:
        begin = dates.read_timing(body.effectiveTiming, zone)
    issued = dates.read(body.issued, zone)
    return Seen(
        version,
        codes,
        begin.lo if begin is not None else None,
        issued.lo if issued is not None else None,
        body.effectiveDateTime or "",
    )


def _without_nulls(resource: dict[str, Any]) -> dict[str, Any]:
    concept = resource.get("code") or {}
    kept = {"coding": [each for each in concept.get("coding", ()) if each], "text": concept.get("text") or ""}
    return {name: value for name, value in resource.items() if value is not None} | {"code": kept}


class _Group:
    """Observations that belong together, as far as they may be among the newest."""

    __slots__ = ("floor", "kept")

    def __init__(self) -> None:
        self.kept: list[Seen] = []
        self.floor = ""  # when the last of those wanted was made; what is older than it is none of them

    def newest(self, most: int) -> list[Seen]:
        """Sort and cut to those wanted, with those that tie with the last of them."""
        self.kept.sort(key=lambda seen: seen.rank, reverse=True)
        end = most
        while end < len(self.kept) and self.kept[end].ties(self.kept[most - 1]):
            end += 1
        del self.kept[end:]
        self.floor = self.kept[-1].text if len(self.kept) >= most else ""
        return self.kept

    def is_too_old(self, text: str | None) -> bool:
        """Whether a time is older than those wanted, told by its text alone: of the same form and zone."""
        floor = self.floor
        return text is not None and len(text) == len(floor) >= 20 and text[19:] == floor[19:] and text < floor


class Latest:
    """Collects the newest Observations of each group.

    Args:
        most: How many of a group are wanted, at least 1.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._parents: dict[Code, Code] = {}
        self._of: dict[Code, _Group] = {}  # by the code that stands for the group

    def add(self, seen: Seen) -> None:
        """Take an Observation, in any order."""
        self._put(self._group(seen.codes), seen)

    def take(self, version: Version, zone: tzinfo) -> None:
        """Take an Observation, in any order; of one that is too old only its codes are looked at."""
        body = _read(version)
        codes = _codes(body)
        group = self._group(codes)
        if not group.is_too_old(body.effectiveDateTime):
            self._put(group, _seen(version, body, codes, zone))

    def _put(self, group: _Group, seen: Seen) -> None:
        group.kept.append(seen)
        if len(group.kept) > 2 * self._most + _SLACK:
            group.newest(self._most)

    def _group(self, codes: tuple[Code, ...]) -> _Group:
        root = self._root(codes[0])
        for code in codes[1:]:
            root = self._join(root, self._root(code))
        group = self._of.get(root)
        if group is None:
            group = self._of[root] = _Group()
        return group

    def _root(self, code: Code) -> Code:
        if self._parents.get(code) == code:
            return code
        path = [code]
        while (parent := self._parents.setdefault(path[-1], path[-1])) != path[-1]:
            path.append(parent)
        for each in path:
            self._parents[each] = path[-1]
        return path[-1]

    def _join(self, one: Code, other: Code) -> Code:
        if one != other:
            self._parents[other] = one
            joined = self._of.setdefault(one, _Group())
            moved = self._of.pop(other, None)
            joined.kept += moved.kept if moved is not None else []
            joined.floor = ""  # known again when the joined are sorted
        return one

    def groups(self) -> list[list[Seen]]:
        """Return the newest of each group, newest first; the group with the newest Observation first."""
        found = [group.newest(self._most) for group in self._of.values()]
        return sorted((kept for kept in found if kept), key=lambda kept: kept[0].rank, reverse=True)

    def is_settled(self, seen: Seen) -> bool:
        """Whether, of one group that comes newest first, nothing from `seen` on can be among the newest."""
        if len(self._of) != 1:
            return False
        kept = next(iter(self._of.values())).newest(self._most)
        if len(kept) < self._most or (seen.begin is None and kept[-1].begin is None):
            return False
        return seen.rank < kept[-1].rank and not seen.ties(kept[-1])


def latest(versions: Iterable[Version], most: int, zone: tzinfo) -> list[list[Seen]]:
    """Return the groups of some Observations."""
    collected = Latest(most)
    for version in versions:
        collected.add(see(version, zone))
    return collected.groups()

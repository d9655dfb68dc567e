"""What many resources have alike, so that the index values of the next one need not be worked out again.

Resources of one sender differ in their ids, references, times and numbers; all else that they say comes again byte
for byte. So a written body is parted into what comes again, its skeleton, and what varies. What the parameters find in
resources of one skeleton is learned once: two samples, in which each varying text is a mark, are indexed as any
resource is, and where both say the same of the same marks, each mark tells where its text goes. From then on a
resource is one look-up of its skeleton and a reading of what varies.

Nothing is guessed: a skeleton serves only where the samples agree and each mark comes out whole (a number that is
converted, a name that is joined do not), and a resource only where its values are as different from each other as the
marks are. Everything else is indexed in the general way.
"""

from __future__ import annotations

import re
from datetime import tzinfo
from decimal import Decimal
from typing import Final

from fhir_server import gate
from fhir_server.search import dates
from fhir_server.search.learning import SHOWN, Index, learn
from fhir_server.search.values import Ends, Filled, Pattern, Period
from fhir_server.search.words import folded

# What varies is a value behind a colon. The first group is part of the skeleton and tells the kind: a reference has
# its type there, a time the first digit of its year, a day the first two, an id or an identifier's value a quote, a
# number nothing. Inside a string no quote without a backslash stands before a colon. What a reference shows varies
# with it, and is not indexed.
_VARYING: Final = re.compile(
    rb':("[A-Z][A-Za-z]{1,63}/(?=[A-Za-z0-9\-.]{1,64}"[,}])'
    rb'|"1(?=9\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+\-]\d\d:\d\d)"[,}])'
    rb'|"2(?=0\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+\-]\d\d:\d\d)"[,}])'
    rb'|"(?:19|20)(?=\d\d-\d\d-\d\d"[,}])'
    rb'|"(?:(?<="id":")|(?<="value":")|(?<="versionId":"))(?=[\w ./:\-+^|#]{1,64}"[,}])'
    rb'|(?<=[A-Za-z]":)(?=-?\d{1,15}(?:\.\d{1,15})?[,}]))([^",}]*(?:","display":"[^"\\]{1,200}(?="))?)',
    re.ASCII,
)
_split: Final = _VARYING.split

_FILTERS: Final = frozenset({"system", "url", "type", "use", "code"})
"""What a parameter may filter by (`telecom.where(system='phone')`) without telling resources of one skeleton apart."""

_MOST: Final = 1_000  # patterns kept, some kB each
_ENOUGH: Final = 3  # times that a skeleton came before it is learned, which costs as much as indexing some dozens
_MOST_SEEN: Final = 20_000  # skeletons whose times are counted
_MOST_VARYING: Final = 200  # of a resource
_LONGEST: Final = 6_000  # bytes of a body; the skeletons of longer ones seldom come again
_TRIES: Final = 128  # after which it is judged whether a type's skeletons come again
_HITS: Final = 32  # of them that are worth the looking
_PAUSE: Final = 4_096  # resources of a type that are not looked at when they do not


def is_fixed(key: str, value: str) -> bool:
    """Return whether a key with this value is always part of the skeleton."""
    return key in _FILTERS and _VARYING.search(gate.write({key: value})) is None


class Patterns:
    """Finds the patterns of written resources and learns new ones.

    Args:
        index: Gives the values of any resource.
        zone: Of dates that name none.
    """

    def __init__(self, index: Index, zone: tzinfo) -> None:
        self._index, self._zone = index, zone
        self._known: dict[bytes, Pattern | None] = {}  # by skeleton
        self._seen: dict[int, int] = {}  # by hash of a skeleton: how often it came before it was learned
        self._luck: dict[str, list[int]] = {}  # by type: tries, hits, how many more are not looked at

    def find(self, type: str, body: bytes) -> Filled | None:
        """Return a resource as a pattern and what fills it; None where it is to be indexed in the general way.

        Args:
            type: Of the resource.
            body: As `gate.write` gives it.
        """
        if len(body) > _LONGEST:
            return None
        luck = self._luck.get(type)
        if luck is None:
            luck = self._luck[type] = [0, 0, 0]
        if luck[2]:
            luck[2] -= 1
            return None
        luck[0] += 1
        if luck[0] == _TRIES:
            luck[:] = (0, 0, 0 if luck[1] >= _HITS else _PAUSE)
        parts = _split(body)
        varying = parts[2::3]
        del parts[2::3]
        skeleton = b"\0".join(parts)
        if len(set(varying)) != len(varying):
            if len(varying) > _MOST_VARYING:
                return None
            skeleton += b"\0" + bytes([varying.index(one) for one in varying])  # which of them are equal
        pattern = self._known.get(skeleton)
        if pattern is None:
            if skeleton not in self._known:
                pattern = self._meet(skeleton, parts, varying, luck)
            if pattern is None:
                return None
        luck[1] += 1
        return _fill(pattern, varying, self._zone)

    def _meet(self, skeleton: bytes, parts: list[bytes], varying: list[bytes], luck: list[int]) -> Pattern | None:
        """Note a skeleton; learn its pattern when it came often enough."""
        if len(varying) > _MOST_VARYING or b'"data":' in skeleton:
            return None  # what is below `data` are no words
        mark = hash(skeleton)
        times = self._seen.get(mark, 0)
        if times < _ENOUGH:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[mark] = times + 1
            luck[1] += times > 0
            return None
        del self._seen[mark]
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        made = self._known[skeleton] = learn(parts, varying, self._index, self._zone)
        return made


# --- resources --------------------------------------------------------------------------------------------------


def _fill(pattern: Pattern, varying: list[bytes], zone: tzinfo) -> Filled | None:
    """Return a pattern with the values of a resource; None where they are not as different as the marks were."""
    texts = [first + varying[at].decode() for at, first in pattern.strings]
    try:
        periods = [_period(ends, texts, zone) for ends in pattern.periods]
    except ValueError:
        return None
    numbers = [Decimal(varying[at].decode()) for at in pattern.numbers]
    chosen = [varying[at].decode() for at in pattern.texts]
    said = " ".join(texts)
    if pattern.named or '"' in said:
        if [SHOWN in text for text in texts] != list(pattern.named):
            return None
        chosen = [text.partition(SHOWN)[0] for text in chosen]
        if len(set(chosen)) < len(chosen):
            return None
        said = folded(said.replace(SHOWN, " "))
    if len(set(periods)) < len(periods) or len(set(numbers)) < len(numbers):
        return None
    fixed = pattern.fixed
    if not (fixed.isdisjoint(periods) and fixed.isdisjoint(numbers) and fixed.isdisjoint(chosen)):
        return None
    owners = tuple([chosen[at] if at >= 0 else owner for at, owner in pattern.owners])
    return Filled(pattern, periods, numbers, chosen, owners, f"{pattern.words} {said}")


def _period(ends: Ends, texts: list[str], zone: tzinfo) -> Period:
    """Return the span from one date to the end of another; raise ValueError where it is none."""
    low, lo, high, hi = ends
    if low == high:
        return _moment(texts[low], zone)
    if low >= 0:
        lo = _moment(texts[low], zone).lo
    if high >= 0:
        hi = _moment(texts[high], zone).hi
    if lo >= hi:
        raise ValueError("it ends before it begins")
    return Period(lo, hi)


def _moment(text: str, zone: tzinfo) -> Period:
    return dates.instant(text) if len(text) > len("2026-01-01") else dates.span(text, zone)

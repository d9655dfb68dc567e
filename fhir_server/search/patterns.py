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
from collections.abc import Callable, Iterable, Iterator
from datetime import date, tzinfo
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from fhir_server import gate
from fhir_server.model import Resource
from fhir_server.search import dates
from fhir_server.search.values import (
    OWN,
    Composite,
    Ends,
    Filled,
    Indexed,
    Number,
    Pattern,
    Period,
    Position,
    Quantity,
    Reference,
    Token,
    Value,
)
from fhir_server.search.words import content_of, folded

Index: TypeAlias = Callable[[Resource], Indexed]
V = TypeVar("V")

# What varies is a value behind a colon. The first group is part of the skeleton and tells the kind: a reference has
# its type there, a time the first digit of its year, a day the first two, an id or an identifier's value a quote, a
# number nothing. Inside a string no quote without a backslash stands before a colon. What a reference shows varies
# with it, and is not indexed.
_VARYING: Final = re.compile(
    rb':("[A-Z][A-Za-z]{1,63}/(?=[A-Za-z0-9\-.]{1,64}"[,}])'
    rb'|"1(?=9\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+\-]\d\d:\d\d)"[,}])'
    rb'|"2(?=0\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+\-]\d\d:\d\d)"[,}])'
    rb'|"(?:19|20)(?=\d\d-\d\d-\d\d"[,}])'
    rb'|"(?:(?<="id":")|(?<="value":"))(?=[\w ./:\-+^|#]{1,64}"[,}])'
    rb'|(?<=[A-Za-z]":)(?=-?\d{1,15}(?:\.\d{1,15})?[,}]))([^",}]*(?:","display":"[^"\\]{1,200}(?="))?)',
    re.ASCII,
)
_split: Final = _VARYING.split

_FILTERS: Final = frozenset({"system", "url", "type", "use", "code"})
"""What a parameter may filter by (`telecom.where(system='phone')`) without telling resources of one skeleton apart."""

_SHOWN: Final = '","display":"'
_MOST: Final = 1_000  # patterns kept, some kB each
_ENOUGH: Final = 3  # times that a skeleton came before it is learned, which costs as much as indexing some dozens
_MOST_SEEN: Final = 20_000  # skeletons whose times are counted
_MOST_VARYING: Final = 200  # of a resource
_LONGEST: Final = 6_000  # bytes of a body; the skeletons of longer ones seldom come again
_TRIES: Final = 128  # after which it is judged whether a type's skeletons come again
_HITS: Final = 32  # of them that are worth the looking
_PAUSE: Final = 4_096  # resources of a type that are not looked at when they do not

_Slot: TypeAlias = tuple[str, int]  # a mark, by the first place where it stands


class _Sample(NamedTuple):
    """A body whose varying texts are marks, and what they are found by."""

    body: bytes
    lows: dict[int, _Slot]  # of dates, in microseconds
    highs: dict[int, _Slot]
    numbers: dict[Decimal, _Slot]
    texts: dict[str, _Slot]


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
        made = self._known[skeleton] = self._learn(parts, varying)
        return made

    def _learn(self, parts: list[bytes], varying: list[bytes]) -> Pattern | None:
        kinds = parts[1::2]
        shown = [b'"' in one for one in varying]
        if any(is_shown and not kind.endswith(b"/") for is_shown, kind in zip(shown, kinds, strict=True)):
            return None
        first = [varying.index(one) for one in varying]
        if any(kinds[at] != kinds[first[at]] and _is_date(kinds[at]) for at in range(len(kinds))):
            return None  # the same text, but not the same date
        samples = [_sample(parts, first, shown, way, self._zone) for way in (_OLD, _NEW)]
        resources = [gate.load(sample.body) for sample in samples]
        if _ends_early(resources[0]):
            return None
        found = [self._index(resource) for resource in resources]
        symbols = [_symbols(one, sample) for one, sample in zip(found, samples, strict=True)]
        if symbols[0] is None or symbols[0] != symbols[1]:
            return None
        return _pattern(parts, shown, found[0], samples[0])


# --- samples ----------------------------------------------------------------------------------------------------


class _Way(NamedTuple):
    """How marks are made from the places where they stand."""

    year: int  # before or after all dates that a resource may have beside them
    number: Callable[[int], str]
    text: Callable[[int], str]


# Whatever is compared (with each other, with a bound) comes out otherwise in the second sample.
_OLD: Final = _Way(1905, lambda at: str(700_001 + 7 * at), lambda at: f"zq{at}a")
_NEW: Final = _Way(2095, lambda at: f"{9_000 - at}.25", lambda at: f"0-{999 - at}")


def _is_date(kind: bytes) -> bool:
    return kind[1:2].isdigit()


def _sample(parts: list[bytes], first: list[int], shown: list[bool], way: _Way, zone: tzinfo) -> _Sample:
    made, lows, highs = [parts[0]], dict[int, _Slot](), dict[int, _Slot]()
    numbers, texts = dict[Decimal, _Slot](), dict[str, _Slot]()
    for at, place in enumerate(first):
        kind, slot = parts[2 * at + 1], ("slot", place)
        if _is_date(kind):
            text = date.fromordinal(date(way.year, 1, 2).toordinal() + place).isoformat()
            text += "T00:00:00Z" if len(kind) == len(b'"2') else ""
            period = dates.span(text, zone)
            lows[period.lo] = highs[period.hi] = slot
            kind = b'"'
        elif kind:
            text = way.text(place)
            texts[text] = slot
            text += _SHOWN + way.text(len(first) + at) if shown[at] else ""
        else:
            text = way.number(place)
            numbers[Decimal(text)] = slot
        made += (b":", kind, text.encode(), parts[2 * at + 2])
    return _Sample(b"".join(made), lows, highs, numbers, texts)


def _ends_early(value: Any) -> bool:
    """Whether a period ends before it begins, so that it says nothing, while others of its skeleton may be right."""
    if isinstance(value, list):
        return any(map(_ends_early, value))
    if not isinstance(value, dict):
        return False
    start, end = value.get("start"), value.get("end")
    return (isinstance(start, str) and isinstance(end, str) and end < start) or any(map(_ends_early, value.values()))


def _symbols(indexed: Indexed, sample: _Sample) -> Any:
    """Return what was found with slots in the place of marks; None where a mark is used in a way that no slot is."""
    try:
        values = [(code, [_symbol(value, sample) for value in found]) for code, found in indexed.values.items()]
    except _Unusable:
        return None
    return values, [sample.texts.get(owner, owner) for owner in indexed.owners]


class _Unusable(Exception):
    """A mark stands where the text that comes there decides more than its own row."""


def _symbol(value: Value, sample: _Sample) -> Any:
    if isinstance(value, Period):
        return "period", sample.lows.get(value.lo, value.lo), sample.highs.get(value.hi, value.hi)
    if isinstance(value, Composite):
        return "composite", [_symbol(part, sample) for part in value.parts]
    if isinstance(value, (Number, Quantity)):
        return _measure(value, sample)
    if isinstance(value, Token):
        _refuse((value.text, value.system, *(value.kind or ())), sample)
        return "token", value._replace(code=None), sample.texts.get(value.code or "", value.code)
    if isinstance(value, Reference):
        named = value.identifier or Token("", "")
        _refuse((value.type, value.url, value.version, named.system, named.code), sample)
        return "reference", value._replace(id=""), sample.texts.get(value.id, value.id)
    if isinstance(value, Position):
        return "position", value
    _refuse((value.value,), sample)
    return value.__class__.__name__, value


def _measure(value: Number | Quantity, sample: _Sample) -> Any:
    ends = [None if end is None else sample.numbers.get(end, end) for end in (value.lo, value.hi)]
    if isinstance(ends[0], tuple) != isinstance(ends[1], tuple) and None not in ends:
        raise _Unusable
    if isinstance(ends[0], tuple) and isinstance(ends[1], tuple) and ends[0] != ends[1]:
        raise _Unusable  # a range: whether it is a point depends on both
    rest = value[2:]
    _refuse(rest, sample)
    return value.__class__.__name__, ends, rest


def _refuse(texts: Iterable[str | None], sample: _Sample) -> None:
    if any(text in sample.texts for text in texts if text):
        raise _Unusable


# --- patterns ---------------------------------------------------------------------------------------------------


def _pattern(parts: list[bytes], shown: list[bool], indexed: Indexed, sample: _Sample) -> Pattern:
    """Return the pattern of a sample that was found to be usable."""
    kinds = parts[1::2]
    strings = [(at, kind[1:].decode()) for at, kind in enumerate(kinds) if kind]
    place = {at: number for number, (at, _) in enumerate(strings)}
    named = tuple([shown[at] for at, _ in strings]) if any(shown) else ()
    periods: dict[Period, Ends] = {}
    numbers, texts = dict[Decimal, int](), dict[str, int]()
    fixed: set[Any] = set()
    for value in _plain(indexed):
        if isinstance(value, Period):
            low, high = sample.lows.get(value.lo), sample.highs.get(value.hi)
            if low or high:
                ends = place[low[1]] if low else -1, place[high[1]] if high else -1
                periods[value] = (ends[0], value.lo, ends[1], value.hi)
            else:
                fixed.add(value)
        elif isinstance(value, (Number, Quantity)):
            for end in (value.lo, value.hi):
                if end is not None:
                    _note(end, sample.numbers, numbers, fixed)
        elif isinstance(value, Token):
            _note(value.code or "", sample.texts, texts, fixed)
        elif isinstance(value, Reference):
            _note(value.id, sample.texts, texts, fixed)
    for owner in indexed.owners:
        _note(owner, sample.texts, texts, fixed)
    order = {text: number for number, text in enumerate(texts)}
    bare = [b':"' + rest if kind else b":0" + rest for kind, rest in zip(kinds, parts[2::2], strict=True)]
    return Pattern(
        sample=indexed,
        period_marks={period: number for number, period in enumerate(periods)},
        number_marks={number: at for at, number in enumerate(numbers)},
        text_marks=order,
        periods=tuple(periods.values()),
        numbers=tuple(numbers.values()),
        texts=tuple(texts.values()),
        owners=tuple([(order.get(owner, -1), owner) for owner in indexed.owners]),
        fixed=frozenset(fixed),
        strings=tuple(strings),
        named=named,
        words=content_of(b"".join([parts[0], *bare])),
    )


def _plain(indexed: Indexed) -> Iterator[Value]:
    """Yield the values that make rows, those of composites' parts too."""
    for code, values in indexed.values.items():
        if code not in OWN:
            for value in values:
                if isinstance(value, Composite):
                    yield from value.parts
                else:
                    yield value


def _note(found: V, marks: dict[V, _Slot], into: dict[V, int], fixed: set[Any]) -> None:
    slot = marks.get(found)
    if slot is None:
        fixed.add(found)
    else:
        into[found] = slot[1]


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
        if [_SHOWN in text for text in texts] != list(pattern.named):
            return None
        chosen = [text.partition(_SHOWN)[0] for text in chosen]
        if len(set(chosen)) < len(chosen):
            return None
        said = folded(said.replace(_SHOWN, " "))
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

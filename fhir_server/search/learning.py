"""Learning a pattern from two samples of a skeleton, whose varying texts are marks (see patterns.py).

What may not vary is refused here: a mark that is joined, folded or compared with another comes out otherwise in the
second sample, or in a place that no slot has.
"""

from __future__ import annotations

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
from fhir_server.search.words import content_of

Index: TypeAlias = Callable[[Resource], Indexed]
V = TypeVar("V")

SHOWN: Final = '","display":"'
"""Between the id and what a reference shows, where both vary."""

_Slot: TypeAlias = tuple[str, int]  # a mark, by the first place where it stands


class _Sample(NamedTuple):
    """A body whose varying texts are marks, and what they are found by."""

    body: bytes
    lows: dict[int, _Slot]  # of dates, in microseconds
    highs: dict[int, _Slot]
    numbers: dict[Decimal, _Slot]
    texts: dict[str, _Slot]


def learn(parts: list[bytes], varying: list[bytes], index: Index, zone: tzinfo) -> Pattern | None:
    """Return the pattern of a skeleton; None where it makes none.

    Args:
        parts: What does not vary, and between each two the kind of what stands there, by turns.
        varying: What stands there in one resource.
        index: Gives the values of any resource.
        zone: Of dates that name none.
    """
    kinds = parts[1::2]
    shown = [b'"' in one for one in varying]
    if any(is_shown and not kind.endswith(b"/") for is_shown, kind in zip(shown, kinds, strict=True)):
        return None
    first = [varying.index(one) for one in varying]
    if any(kinds[at] != kinds[first[at]] and _is_date(kinds[at]) for at in range(len(kinds))):
        return None  # the same text, but not the same date
    samples = [_sample(parts, first, shown, way, zone) for way in (_OLD, _NEW)]
    resources = [gate.load(sample.body) for sample in samples]
    if _ends_early(resources[0]):
        return None
    found = [index(resource) for resource in resources]
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
            text += SHOWN + way.text(len(first) + at) if shown[at] else ""
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
    used = _Used({}, {}, {}, set())
    for value in _plain(indexed):
        _use(value, sample, {at: number for number, (at, _) in enumerate(strings)}, used)
    for owner in indexed.owners:
        _note(owner, sample.texts, used.texts, used.fixed)
    places = {text: number for number, text in enumerate(used.texts)}
    bare = [b':"' + rest if kind else b":0" + rest for kind, rest in zip(kinds, parts[2::2], strict=True)]
    return Pattern(
        sample=indexed,
        period_marks={period: number for number, period in enumerate(used.periods)},
        number_marks={number: at for at, number in enumerate(used.numbers)},
        text_marks=places,
        periods=tuple(used.periods.values()),
        numbers=tuple(used.numbers.values()),
        texts=tuple(used.texts.values()),
        owners=tuple([(places.get(owner, -1), owner) for owner in indexed.owners]),
        fixed=frozenset(used.fixed),
        strings=tuple(strings),
        named=tuple([shown[at] for at, _ in strings]) if any(shown) else (),
        words=content_of(b"".join([parts[0], *bare])),
    )


class _Used(NamedTuple):
    """Which marks make rows, with what they stand for; and what does not vary beside them."""

    periods: dict[Period, Ends]
    numbers: dict[Decimal, int]
    texts: dict[str, int]
    fixed: set[Any]


def _use(value: Value, sample: _Sample, place: dict[int, int], used: _Used) -> None:
    """Note the marks of a value."""
    if isinstance(value, Period):
        low, high = sample.lows.get(value.lo), sample.highs.get(value.hi)
        if low is None and high is None:
            used.fixed.add(value)
        else:
            begin, end = (-1 if slot is None else place[slot[1]] for slot in (low, high))
            used.periods[value] = (begin, value.lo, end, value.hi)
    elif isinstance(value, (Number, Quantity)):
        for bound in (value.lo, value.hi):
            if bound is not None:
                _note(bound, sample.numbers, used.numbers, used.fixed)
    elif isinstance(value, Token):
        _note(value.code or "", sample.texts, used.texts, used.fixed)
    elif isinstance(value, Reference):
        _note(value.id, sample.texts, used.texts, used.fixed)


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

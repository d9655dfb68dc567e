"""The structures of messages, from hl7apy's tables; the only place that imports hl7apy.

hl7apy serves as a dictionary here: which groups and segments a structure has, in which order and how
often. Its parser is not used. A structure is compiled once and kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from hl7apy import SUPPORTED_LIBRARIES, load_library, load_reference
from hl7apy.exceptions import ChildNotFound

VERSIONS = tuple(sorted(SUPPORTED_LIBRARIES))

NAMES: Final = {"ORU_R01_RESPONSE": "ORU_R01_PATIENT_RESULT"}
"""Groups that one version (2.3) names otherwise than all others: they are known by one name."""

SERVED_BY: Final = {"2.7.1": "2.7"}
"""Versions without tables of their own -> the version whose tables serve."""
"""The versions of HL7 v2 that have tables."""

NEWEST = "2.8.2"


class Item(NamedTuple):
    """One place of a group: a segment, or a group of them."""

    name: str
    least: int
    most: int  # -1: any number
    group: Grammar | None  # None: a segment
    opens: frozenset[str]  # the segments that may stand first in it


@dataclass(frozen=True, slots=True)
class Grammar:
    """One group, or a whole message."""

    name: str
    items: tuple[Item, ...]
    places: dict[str, tuple[int, ...]]  # segment -> the items it can stand in, at any depth


def known_version(text: str) -> str | None:
    """Return the version whose tables serve for MSH-12.1, None where it is no version of HL7 v2."""
    if text in SUPPORTED_LIBRARIES:
        return text
    return NEWEST if text == "2.9" or text.startswith("2.9.") else SERVED_BY.get(text)


def _item(name: str, reference: Any, least: int, most: int, kind: str) -> Item:
    if kind == "SEG":
        return Item(name, least, most, None, frozenset({name}))
    group = _compiled(NAMES.get(name, name), reference)
    return Item(group.name, least, most, group, _opening(group.items))


def _opening(items: tuple[Item, ...]) -> frozenset[str]:
    """Return what may stand first: up to the first item that must be there."""
    found: frozenset[str] = frozenset()
    for item in items:
        found |= item.opens
        if item.least:
            break
    return found


def _compiled(name: str, reference: Any) -> Grammar:
    items = tuple(_item(child, sub, least, most, kind) for child, sub, (least, most), kind in reference[1])
    places: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        for segment in item.group.places if item.group else (item.name,):
            places.setdefault(segment, []).append(number)
    return Grammar(name, items, {segment: tuple(numbers) for segment, numbers in places.items()})


@lru_cache(maxsize=256)
def structure(name: str, version: str) -> Grammar | None:
    """Return the grammar of a message structure, e.g. `ORU_R01` of `2.5`; None where that version has none."""
    try:
        return _compiled(name, load_reference(name, "Message", version))
    except ChildNotFound:
        return None


class Element(NamedTuple):
    """A field or one of its components, as the standard names it."""

    name: str  # e.g. "Patient identifier list"
    type: str  # data type, e.g. "CX"
    table: str  # HL7's number, e.g. "0203"; "" where its values are of no table
    parts: tuple[Element, ...]


def _element(reference: Any) -> Element:
    _, inner, type, name, table, *_ = reference
    parts = tuple(_element(part) for _, part, *_ in inner) if isinstance(inner, tuple) else ()
    words = (name or "").replace("_", " ").capitalize()
    return Element(words, type or "", (table or "").removeprefix("HL7"), parts)


@lru_cache(maxsize=1024)
def elements(segment: str, version: str) -> tuple[Element, ...]:
    """Return the fields of a segment, the first is field 1; none where that version does not define it."""
    try:
        reference = load_reference(segment, "Segment", known_version(version) or "2.5")
    except ChildNotFound:
        return ()
    return tuple(_element(field) for _, field, *_ in reference[1])


def preload(*versions: str) -> None:
    """Read the tables of these versions now, so that no first message waits for them."""
    for version in versions:
        load_library(version)

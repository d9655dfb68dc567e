"""How an expansion is wanted, and which codes of a value set that leaves.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/valueset-operation-expand.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from unicodedata import category

from fhir_server.errors import BadParameter
from fhir_server.operations.inputs import Inputs, flag, text, texts
from fhir_server.operations.terminology_inputs import bounded, size
from fhir_server.search.fold import fold
from fhir_server.terminology import display
from fhir_server.terminology.codesystem import CodeSystem
from fhir_server.terminology.expansion import AT_ONCE
from fhir_server.terminology.grammar import LANGUAGES
from fhir_server.terminology.valueset import Member

_SPACES: Final = {n: " " for n in range(128) if category(chr(n))[0] in "PZ" or category(chr(n)) == "Cc"}
FLAGS: Final = ("includeDesignations", "activeOnly", "excludeNested", "excludeNotForUI", "excludePostCoordinated")


class Wish(NamedTuple):
    """How the expansion is wanted."""

    words: tuple[str, ...]  # of the filter, folded
    offset: int
    most: int | None  # count
    languages: tuple[str, ...]
    with_designations: bool
    designations: tuple[tuple[str, str], ...]  # (system, code) of uses and languages
    is_active_only: bool
    for_ui: bool  # without concepts that only group others
    is_nested: bool
    without: frozenset[str]  # systems, as `url` or `url|version`


def read_wish(inputs: Inputs) -> Wish:
    """Return how the expansion is wanted.

    Raises:
        BadParameter: A value cannot be read.
    """
    if text(inputs, "contextDirection") not in ("", "incoming", "outgoing"):
        raise BadParameter("The parameter 'contextDirection' is incoming or outgoing.")
    offset, count = size(inputs, "offset"), size(inputs, "count")
    designations = tuple(_token(given) for given in texts(inputs, "designation"))
    is_whole = offset is None and count is None and not bounded(inputs, "filter")
    asks_nested = "excludeNested" in inputs and not flag(inputs, "excludeNested")
    for name in FLAGS:
        flag(inputs, name)
    return Wish(
        words=tuple(fold(bounded(inputs, "filter")).split()),
        offset=offset or 0,
        most=count,
        languages=display.wanted(bounded(inputs, "displayLanguage")),
        with_designations=flag(inputs, "includeDesignations") or bool(designations),
        designations=designations,
        is_active_only=flag(inputs, "activeOnly"),
        for_ui=flag(inputs, "excludeNotForUI"),
        is_nested=asks_nested and is_whole,
        without=frozenset(texts(inputs, "exclude-system")),
    )


def _token(given: str) -> tuple[str, str]:
    system, _, code = given.rpartition("|")
    return system or LANGUAGES, code


async def chosen(
    members: Iterable[Member], wish: Wish, systems: Mapping[str, CodeSystem | None], language: str
) -> list[Member]:
    """Return the members that are wanted, each with the text to show as its display."""
    made = []
    for number, member in enumerate(members):
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
        if (wish.is_active_only and member.is_inactive) or (wish.for_ui and member.is_abstract):
            continue
        if member.system in wish.without or f"{member.system}|{member.version}" in wish.without:
            continue
        known = systems.get(member.system)
        own = language or (known.language if known else "")
        shown = (
            display.best(member.display, own, member.designations, wish.languages) if wish.languages else member.display
        )
        if wish.words and not fits(wish.words, shown, member):
            continue
        made.append(member._replace(display=shown) if shown != member.display else member)
    return made


def fits(words: Sequence[str], shown: str, member: Member) -> bool:
    """Whether each word of the filter begins a word of one of the texts of a code, or the code itself."""
    texts = {shown, member.display, member.code, *(d.value for d in member.designations)}
    return any(_begins(words, _folded(text)) for text in texts if text)


def _folded(text: str) -> str:
    """Return what `fold` does but for the number of spaces; quickly where the text is ASCII, as most are."""
    made = text.lower().translate(_SPACES) if text.isascii() else ""
    return made if made and not made.isspace() else fold(text)


def _begins(words: Sequence[str], text: str) -> bool:
    padded = f" {text}"
    return all(f" {word}" in padded for word in words)

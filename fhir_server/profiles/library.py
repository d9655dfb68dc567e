"""Where profiles are found: those of R4 and of this hub, and the StructureDefinitions that a tenant stored.

What is found of the stored ones is kept in memory, by the tenant's epoch, which each write of a definition raises
(`Parts.watched`), and where other writes raised it by a row that definitions alone change; a compiled profile is
kept as long as the versions it was made from are the current ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from fhir_server import gate
from fhir_server.definitions import codes
from fhir_server.errors import FhirError
from fhir_server.model import Version
from fhir_server.profiles.builtin import definition as builtin
from fhir_server.profiles.findings import Coded, Known
from fhir_server.profiles.part import Profile, bare
from fhir_server.profiles.tree import BadProfile, base_of, build
from fhir_server.search.query import Query
from fhir_server.store.protocol import Transaction, View

DEFINITIONS: Final = frozenset({"StructureDefinition", "ValueSet", "CodeSystem"})
MARK: Final = "profile-definitions"  # kind of the one durable row that changes with each write of a definition
MOST_CHAIN: Final = 20  # profiles on profiles
MOST_KEPT: Final = 5_000  # canonicals looked up, found or not
MOST_SAME: Final = 50  # StructureDefinitions of one url


Ask = Callable[[str, list[tuple[str, str]]], Query]


class Terminology(Protocol):
    """What is asked of terminology."""

    async def contains(self, view: View, valueset_url: str, system: str | None, code: str) -> bool | None:
        """Return whether a code is in a value set; None where that cannot be said."""
        ...


class Source(NamedTuple):
    """A definition and what tells its versions apart."""

    key: tuple[str, int, int]  # id, version, time; of a built-in one its url
    definition: Mapping[str, Any]


@dataclass(slots=True)
class _Shelf:
    """What is kept of one tenant."""

    epoch: int
    mark: bytes  # of the stored definitions, see `move_mark`
    sources: dict[str, Source | None] = field(default_factory=dict)  # by canonical as written
    known: Known = field(default_factory=Known)  # the same, ready for checks


class Library:
    """Finds profiles and members of value sets.

    Args:
        ask: Makes a Query.
        terminology: Says which codes are in a value set.
    """

    def __init__(self, ask: Ask, terminology: Terminology) -> None:
        self._ask, self._terminology = ask, terminology
        self._shelves: dict[str, _Shelf] = {}
        self._compiled: dict[tuple[str, str], tuple[tuple[Source | None, ...], Profile | None]] = {}

    async def shelf(self, view: View, *, keep: bool) -> _Shelf:
        """Return what is known in the state of a view.

        Args:
            view: The state.
            keep: Whether what is read now may serve later calls: not inside a transaction that writes definitions.
        """
        epoch = await view.epoch()
        if not keep:
            return _Shelf(epoch, b"")
        kept = self._shelves.get(view.tenant)
        is_full = kept is not None and len(kept.sources) + len(kept.known.members) >= MOST_KEPT
        if kept is not None and kept.epoch == epoch and not is_full:
            return kept
        mark = await _mark(view)
        if kept is not None and kept.mark == mark and not is_full:
            kept.epoch = epoch  # something else was written that moves the epoch
            return kept
        made = self._shelves[view.tenant] = _Shelf(epoch, mark)
        return made

    async def learn(self, view: View, shelf: _Shelf, profiles: Sequence[str], questions: Sequence[Coded]) -> None:
        """Read what a check had to leave open."""
        known = shelf.known
        for canonical in profiles:
            known.profiles[canonical] = await self.profile(view, shelf, canonical)
        for question in questions:
            known.members[question] = await self._is_member(view, question)

    async def profile(self, view: View, shelf: _Shelf, canonical: str) -> Profile | None:
        """Return a profile; None where it, or one that it is built on, is not known or cannot be used."""
        chain: list[Source | None] = []
        following = canonical
        while following and len(chain) < MOST_CHAIN:
            if following not in shelf.sources:
                shelf.sources[following] = await self._find(view, following)
            found = shelf.sources[following]
            chain.append(found)
            following = based_on(found)
        key = (view.tenant, canonical)
        kept = self._compiled.get(key)
        if kept is not None and _keys(kept[0]) == _keys(chain):
            return kept[1]
        made = compiled(chain) if not following else None
        if len(self._compiled) >= MOST_KEPT:
            self._compiled.clear()
        self._compiled[key] = (tuple(chain), made)
        return made

    async def _find(self, view: View, canonical: str) -> Source | None:
        own = own_source(canonical)
        if own is not None:
            return own
        url, _, version = canonical.partition("|")
        pairs = [("url", bare(url)), ("_count", str(MOST_SAME))]
        found = await view.search(self._ask("StructureDefinition", pairs))
        return newest(found.versions, version)

    async def _is_member(self, view: View, question: Coded) -> bool | None:
        pairs = codes(question.value_set)
        if pairs is not None:
            return is_among(pairs, question)
        try:
            return await self._terminology.contains(view, question.value_set, question.system, question.code)
        except FhirError:  # not known, or larger than it is worked out for
            return None


def own_source(canonical: str) -> Source | None:
    """Return a definition that comes with the hub, None where there is none of that url and version."""
    url, _, version = canonical.partition("|")
    own = builtin(bare(url))
    return Source((bare(url), 0, 0), own) if own is not None and version in ("", str(own.get("version", ""))) else None


def is_among(pairs: Collection[tuple[str, str]], question: Coded) -> bool:
    """Whether a code is among those of a value set, (system, code); without a system, in any."""
    if question.system is None:
        return question.code in {code for _, code in pairs}
    return (question.system, question.code) in pairs


async def _mark(view: View) -> bytes:
    record = await view.record(MARK, "")
    return record.body if record is not None else b""


async def move_mark(tx: Transaction) -> None:
    """Say that stored definitions may have changed; the tenant's epoch, which the caller moves too, says less."""
    count = int((await _mark(tx) or b"0").partition(b" ")[0])
    await tx.put_record(MARK, "", "", b"%d %d" % (count + 1, tx.now))


def newest(versions: Sequence[Version], wanted: str) -> Source | None:
    """Return the definition of a business version; without one an active one first, then the highest version."""
    sources = [Source((v.id, v.version, v.at), gate.load(v.body)) for v in versions]
    if wanted:
        sources = [s for s in sources if s.definition.get("version") == wanted]
    return max(sources, key=_rank, default=None)


def _rank(source: Source) -> tuple[bool, list[tuple[bool, int, str]], int]:
    parts = str(source.definition.get("version", "")).replace("-", ".").split(".")
    numbers = [(part.isdecimal(), int(part[:9]) if part.isdecimal() else 0, part) for part in parts]
    return source.definition.get("status") == "active", numbers, source.key[2]


def _keys(chain: Sequence[Source | None]) -> list[tuple[str, int, int] | None]:
    return [source.key if source is not None else None for source in chain]


def based_on(source: Source | None) -> str:
    """Return the canonical of what a definition constrains, "" at the end of its chain."""
    if source is None:
        return ""
    try:
        return base_of(source.definition)
    except BadProfile:
        return ""


def compiled(chain: Sequence[Source | None]) -> Profile | None:
    """Build a profile from its chain, the base last; None where a link is missing or cannot be used."""
    profile: Profile | None = None
    try:
        for source in reversed(chain):
            if source is None:
                return None
            profile = build(source.definition, profile)
    except (BadProfile, AttributeError, TypeError, KeyError, ValueError):  # a definition of another shape than R4's
        return None
    return profile

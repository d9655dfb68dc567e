"""Filters as data, and pairs of them where a server cannot say all that a clause means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

Filter: TypeAlias = "dict[str, Any] | None"
"""A MongoDB filter; {} lets everything pass, None nothing."""


def all_of(filters: Iterable[Filter]) -> Filter:
    """Return the filter of what passes all of them."""
    found = list(filters)
    if None in found:
        return None
    parts = [one for one in found if one]
    if not parts:
        return {}
    return parts[0] if len(parts) == 1 else {"$and": parts}


def any_of(filters: Iterable[Filter]) -> Filter:
    """Return the filter of what passes one of them."""
    parts = [one for one in filters if one is not None]
    if not parts:
        return None
    if {} in parts:
        return {}
    return parts[0] if len(parts) == 1 else {"$or": parts}


def none_of(one: Filter) -> Filter:
    """Return the filter of what does not pass."""
    if one is None:
        return {}
    return {"$nor": [one]} if one else None


class Pair(NamedTuple):
    """Two bounds of a clause: what may answer it, and what is sure to.

    What is between them is looked at by `search.match`. Where both are the same the filter says it all.
    """

    may: Filter
    sure: Filter

    @property
    def is_exact(self) -> bool:
        """Whether nothing is left to be looked at."""
        return self.may is self.sure or self.may == self.sure


EVERY = Pair({}, {})
NONE = Pair(None, None)


def exactly(one: Filter) -> Pair:
    """Return the pair of a filter that says it all."""
    return Pair(one, one)


def at_most(one: Filter) -> Pair:
    """Return the pair of a filter whose matches must all be looked at."""
    return Pair(one, None)


def both(pairs: Iterable[Pair]) -> Pair:
    """Return the pair of what answers all of them."""
    found = list(pairs)
    return Pair(all_of(pair.may for pair in found), all_of(pair.sure for pair in found))


def either(pairs: Iterable[Pair]) -> Pair:
    """Return the pair of what answers one of them."""
    found = list(pairs)
    return Pair(any_of(pair.may for pair in found), any_of(pair.sure for pair in found))


def neither(pair: Pair) -> Pair:
    """Return the pair of what does not answer."""
    return Pair(none_of(pair.sure), none_of(pair.may))

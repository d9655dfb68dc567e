"""What converting the same fields gave before: results of one sender differ in values and times, hardly in the rest.

Kept with the channel, which is made anew whenever the hub is told something else of its senders (ConceptMap,
NamingSystem): nothing here outlives what it was made by. What is remembered is shared by all resources that it is
part of, so nobody changes it in place; what was noted then is noted again each time, at the segment's own place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

Key: TypeAlias = tuple[object, ...]
"""Who sent it, and all that the conversion reads."""

MOST: Final = 4_000
"""Conversions that are kept of one channel; with one more all are forgotten."""

LONGEST: Final = 500
"""Characters of the fields of one that is kept."""


class Given(NamedTuple):
    """What a conversion gave."""

    made: dict[str, Any]
    problems: tuple[tuple[str, str, str], ...] = ()  # place behind the segment (`-6`), rule, code
    misses: tuple[tuple[tuple[str, str, str], int], ...] = ()  # field, system, code; how often


class Memory:
    """Conversions of one channel."""

    def __init__(self) -> None:
        self._known: dict[Key, Given] = {}

    def recall(self, key: Key) -> Given | None:
        """Return what a conversion gave; None where it was not made, or is forgotten."""
        return self._known.get(key)

    def keep(self, key: Key, given: Given) -> None:
        """Remember what a conversion gave, unless its fields are long."""
        if sum(len(text) for text in key if isinstance(text, str)) > LONGEST:
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = given


Convert: TypeAlias = Callable[[], dict[str, Any]]
"""A conversion that reads nothing but what its key says."""

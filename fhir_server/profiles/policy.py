"""What the operator demands of profiles, from the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

UNKNOWN: Final = ("ignore", "warn", "refuse")


@dataclass(frozen=True, slots=True)
class Policy:
    """How writes are judged."""

    unknown: str = "ignore"  # what a profile of meta.profile that is not known here does to a write
    required: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by resource type: what it must conform to


def read_required(words: Sequence[str], types: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """Read `Type=canonical` words.

    Raises:
        ValueError: A word has no such form, or names no resource type.
    """
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        type, _, canonical = word.partition("=")
        if type not in types or ":" not in canonical:
            raise ValueError("require_profiles reads Type=canonical, parted by blanks")
        found[type] = (*found.get(type, ()), canonical)
    return found

"""Profiles that come with the hub, judged where there is no store to ask: in the processes that prepare an import.

A built-in definition goes before any that a tenant stores under its url, so what it says of a resource holds anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fhir_server.definitions import codes
from fhir_server.model import Resource
from fhir_server.profiles import quick
from fhir_server.profiles.findings import Coded, Known
from fhir_server.profiles.library import MOST_CHAIN, Source, based_on, compiled, is_among, own_source
from fhir_server.profiles.part import Profile

_MOST_KEPT: Final = 1_000  # canonicals looked up, found or not


class Beforehand:
    """Takes from the profiles that a resource declares those that nobody has to look at any more."""

    def __init__(self) -> None:
        self._known = Known(members=_Members())

    def left(self, resource: Resource, body: bytes, declared: Sequence[str]) -> tuple[str, ...]:
        """Return the declared profiles but for the built-in ones that a resource certainly conforms to.

        Args:
            resource: Valid by R4.
            body: The same as it is stored.
            declared: By it and the resources inside of it.
        """
        if not declared or not quick.is_plain(resource, body):
            return tuple(declared)
        return tuple(
            [c for c in declared if self._profile(c) is None or not quick.conforms(self._known, resource, [c])]
        )

    def _profile(self, canonical: str) -> Profile | None:
        """Return a built-in profile, None where there is none of that name."""
        profiles = self._known.profiles
        if canonical not in profiles:
            if len(profiles) >= _MOST_KEPT:
                profiles.clear()
                self._known.questions.clear()
            profiles[canonical] = _built(canonical)
        return profiles[canonical]


class _Members(dict[Coded, bool | None]):
    """Which codes are in the value sets that come with the hub; of the others nothing is known."""

    def __missing__(self, question: Coded) -> bool:
        pairs = codes(question.value_set)
        if pairs is None:
            raise KeyError(question)
        return is_among(pairs, question)


def _built(canonical: str) -> Profile | None:
    chain: list[Source] = []
    while canonical and len(chain) < MOST_CHAIN:
        source = own_source(canonical)
        if source is None:
            return None
        chain.append(source)
        canonical = based_on(source)
    return compiled(chain) if chain and not canonical else None

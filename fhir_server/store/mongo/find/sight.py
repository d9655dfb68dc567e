"""What may be seen, as a filter; the rule is `store.visibility`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fhir_server import gate
from fhir_server.model import Resource, Visibility
from fhir_server.store.mongo.documents import Document
from fhir_server.store.mongo.find.filters import EVERY, NONE, Filter, Pair, all_of, any_of, at_most
from fhir_server.store.visibility import OPEN, hidden

MOST_NAMED: Final = 50_000
"""Patients that a filter names; where an actor may see more, each resource is looked at."""


def typed(types: Iterable[str], see: Visibility) -> list[str]:
    """Return the types that may be seen at all."""
    return [type for type in dict.fromkeys(types) if see.types is None or type in see.types]


def sight(see: Visibility) -> Pair:
    """Return what may be seen; between the bounds are records of which a part may be seen."""
    if see.patients is None:
        return EVERY
    if len(see.patients) + len(see.partial) > MOST_NAMED:
        return at_most({})
    nobody: Filter = {"own": [], "k": {"$in": sorted(OPEN)}}
    sure = any_of((nobody, _owned(see.patients)))
    if not see.partial:
        return Pair(sure, sure)
    return Pair(any_of((nobody, _owned(see.patients | see.partial.keys()))), sure)


def _owned(patients: Iterable[str]) -> Filter:
    """Return what belongs to some of these Patients and to no other."""
    ids = sorted(patients)
    if not ids:
        return NONE.may
    return all_of(({"own": {"$in": ids}}, {"own": {"$not": {"$elemMatch": {"$nin": ids}}}}))


def is_seen(document: Document, body: bytes, see: Visibility) -> bool:
    """Return whether a document may be seen; `body` is what it said, of a deletion: before."""

    def load() -> Resource | None:
        return gate.load(body) if body else None

    return not hidden(document["k"], tuple(document["own"]), load, see)

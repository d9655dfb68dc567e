"""Naive search over a fixed set of resources, quick enough for all synthetic patients: what a store must answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fhir_server import gate
from fhir_server.model import Resource, Visibility
from fhir_server.search.cursor import Place, ordered, place
from fhir_server.search.match import Node
from fhir_server.search.query import Query
from fhir_server.search.values import Period, Token, Value
from fhir_server.store.visibility import hidden
from tests.worlds import World


class Stored(NamedTuple):
    """A resource as a store has it."""

    node: Node
    owners: tuple[str, ...]
    seq: int
    at: int  # microseconds since 1970


class Naive:
    """Evaluates queries one resource after the other, by `search.match` and `search.cursor`.

    Args:
        stored: All resources; their nodes need no `_id` and `_lastUpdated`.
    """

    def __init__(self, stored: Sequence[Stored]) -> None:
        self._stored = [each._replace(node=_with_own(each)) for each in stored]
        self._seqs = {(each.node.type, each.node.id): each.seq for each in self._stored}
        self._worlds: dict[int, tuple[Visibility, World]] = {}

    def search(self, query: Query, see: Visibility) -> list[str]:
        """Return all references that a search finds, in its order."""
        world = self._world(see)
        found: list[tuple[Place, str]] = []
        for node in world.matching(query.types, query.where):
            at = place(query.sort, node, self._seqs[node.type, node.id], world)
            found.append((at, f"{node.type}/{node.id}"))
        by_place = ordered(query.sort)
        found.sort(key=lambda pair: by_place(pair[0]))
        return [reference for _, reference in found]

    def _world(self, see: Visibility) -> World:
        """Return the resources that may be seen; what else there is does not exist for who asks."""
        kept = self._worlds.get(id(see))
        if kept is None:
            kept = self._worlds[id(see)] = (see, World(each.node for each in self._stored if not _is_hidden(each, see)))
        return kept[1]


def _with_own(stored: Stored) -> Node:
    node = stored.node
    own: dict[str, tuple[Value, ...]] = {
        "_id": (Token("", node.id),),
        "_lastUpdated": (Period(stored.at, stored.at + 1),),
    }
    return node._replace(values={**node.values, **own})


def _is_hidden(stored: Stored, see: Visibility) -> bool:
    def load() -> Resource:
        return gate.load(stored.node.body)

    return hidden(stored.node.type, stored.owners, load, see)

"""Resources as search sees them, held for naive evaluation with their references indexed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhir_server.search.match import Node, matches
from fhir_server.search.query import Clause
from fhir_server.search.values import Reference


class World:
    """`match.Around` over a fixed set of resources, all of them visible."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = list(nodes)
        self._by_reference = {(node.type, node.id): node for node in self.nodes}
        self._sources: dict[tuple[str, str, str, str], list[Node]] = {}
        self._by_type: dict[str, list[Node]] = {}
        for node in self.nodes:
            self._by_type.setdefault(node.type, []).append(node)
            for code, values in node.values.items():
                for value in values:
                    if isinstance(value, Reference) and value.id:
                        self._sources.setdefault((node.type, code, value.type, value.id), []).append(node)

    def target(self, type: str, id: str) -> Node | None:
        """Return that resource, or None."""
        return self._by_reference.get((type, id))

    def sources(self, type: str, code: str, to: Node) -> Iterable[Node]:
        """Return the resources of a type that refer to `to` by the parameter `code`."""
        return self._sources.get((type, code, to.type, to.id), ())

    def matching(self, types: Sequence[str], where: Sequence[Clause]) -> list[Node]:
        """Return what a search finds, in the order in which the resources were given."""
        if len(types) == 1:
            nodes = self._by_type.get(types[0], [])
        else:
            wanted = frozenset(types)
            nodes = [node for node in self.nodes if node.type in wanted]
        return [node for node in nodes if all(matches(clause, node, self) for clause in where)]

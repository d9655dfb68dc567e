"""A small world of codes: resources in a memory store, and the terminology service over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from fhir_server import gate
from fhir_server.model import Resource
from fhir_server.search.extract import Indexer
from fhir_server.store.memory import MemoryStore
from fhir_server.store.protocol import Store, Transaction, View, Write
from fhir_server.terminology import Terminology

TENANT: Final = "north"
SYSTEM: Final = "http://example.org/system"
INDEX: Final = Indexer("Europe/Paris", "http://h/fhir")


class CodeWorld:
    """A store with a terminology service; what `put` writes moves the epoch, as the applier sees to."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or MemoryStore()
        self.terminology = Terminology()
        self.versions: dict[tuple[str, str], int] = {}

    async def put(self, *resources: Resource) -> None:
        """Store resources; an id that was used before gets a new version."""

        async def work(tx: Transaction) -> None:
            for resource in resources:
                await self.write(tx, resource)
            await tx.bump_epoch()

        await self.store.transact(TENANT, work)

    async def write(self, tx: Transaction, resource: Resource) -> None:
        """Store a resource in a transaction."""
        key = resource["resourceType"], resource["id"]
        version = self.versions[key] = self.versions.get(key, 0) + 1
        made = Write(*key, version, tx.now, "PUT", gate.write(resource), INDEX(resource))
        await tx.put(made)

    @asynccontextmanager
    async def view(self) -> AsyncIterator[View]:
        """Give a consistent state."""
        async with self.store.view(TENANT) as view:
            yield view


async def world(*resources: Resource) -> CodeWorld:
    """Return a world that holds resources."""
    made = CodeWorld()
    await made.store.open()
    await made.put(*resources)
    return made


def concept(code: str, *children: Mapping[str, Any], **given: Any) -> dict[str, Any]:
    """Return a concept of a CodeSystem; names that are no elements are its properties."""
    elements: dict[str, Any] = {key: given.pop(key) for key in ("display", "definition", "designation") if key in given}
    properties = [{"code": name, _kind(value): value} for name, value in given.items()]
    made: dict[str, Any] = {"code": code, **elements}
    if properties:
        made["property"] = properties
    return made | ({"concept": list(children)} if children else {})


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "valueBoolean"
    return {int: "valueInteger", dict: "valueCoding"}.get(type(value), "valueCode")


def system(*concepts: Mapping[str, Any], id: str = "s", url: str = SYSTEM, **given: Any) -> Resource:
    """Return a CodeSystem."""
    made = {"resourceType": "CodeSystem", "id": id, "url": url, "status": "active", "content": "complete"}
    return made | {"concept": list(concepts)} | given


def include(*codes: str, url: str = SYSTEM, rules: Sequence[tuple[str, str, str]] = (), **given: Any) -> dict[str, Any]:
    """Return an include of codes, or of what obeys filters (property, op, value)."""
    made: dict[str, Any] = {"system": url} if url else {}
    if codes:
        made["concept"] = [{"code": code} for code in codes]
    if rules:
        made["filter"] = [{"property": property, "op": op, "value": value} for property, op, value in rules]
    return made | given


def value_set(
    *includes: Mapping[str, Any],
    id: str = "v",
    url: str = "http://example.org/vs",
    exclude: Sequence[Mapping[str, Any]] = (),
    compose: Mapping[str, Any] | None = None,
    **given: Any,
) -> Resource:
    """Return a ValueSet."""
    parts: dict[str, Any] = {"include": list(includes)} | ({"exclude": list(exclude)} if exclude else {})
    made = {"resourceType": "ValueSet", "id": id, "url": url, "status": "active"}
    return made | {"compose": parts | dict(compose or {})} | given

"""Where a search runs: the documents, the state, and bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import Unavailable
from fhir_server.model import Resource, Version
from fhir_server.search import match
from fhir_server.search.values import Indexed
from fhir_server.store.mongo.connection import Collection, Database
from fhir_server.store.mongo.documents import Document, own_values, read_version
from fhir_server.store.mongo.window import Window

PLAIN: Final = {"tok": 0, "str": 0, "ref": 0, "dt": 0, "num": 0}
"""Projection: all but what only filters look at."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a search needs of its view.

    Args:
        database: The collections.
        window: The state.
        index: Gives the values of a resource.
        seconds: What one statement may take.
    """

    database: Database
    window: Window
    index: Callable[[Resource], Indexed]
    seconds: float

    @property
    def versions(self) -> Collection:
        """The documents of resources."""
        return self.database.version

    @property
    def milliseconds(self) -> int:
        """What one statement may take."""
        return max(1, int(self.seconds * 1_000))

    async def find(
        self,
        where: Document,
        *,
        fields: Document | None = None,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
    ) -> list[Document]:
        """Return documents of resources."""
        cursor = self.versions.find(where, fields or PLAIN, max_time_ms=self.milliseconds)
        if sort:
            cursor = cursor.sort(list(sort)).allow_disk_use(True)  # 100 MB of memory otherwise
        return await cursor.limit(limit).to_list()

    async def read(self, document: Document) -> Version:
        """Return the version of a document, with its body."""
        return read_version(document, await self.body(document))

    async def read_all(self, documents: Iterable[Document]) -> list[Version]:
        """Return the versions of documents."""
        return [await self.read(document) for document in documents]

    async def body(self, document: Document) -> bytes:
        """Return the body of a document; raise Unavailable where parts of it are missing."""
        if "parts" not in document:
            return bytes(document.get("body", b""))
        names = [f"{document['_id']}/{n}" for n in range(document["parts"])]
        found = {d["_id"]: d["data"] for d in await self.database.part.find({"_id": {"$in": names}}).to_list()}
        if len(found) < len(names):
            raise Unavailable("A body is not whole.")
        return b"".join(found[name] for name in names)

    async def node(self, document: Document) -> match.Node:
        """Return a document as search sees it."""
        version = await self.read(document)
        values: dict[str, Any] = {**self.index(gate.load(version.body)).values, **own_values(version)}
        return match.Node(version.type, version.id, values, version.body)

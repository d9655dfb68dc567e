"""What rooms see of a state: the store's view behind the door's words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import parse_qsl

from fhir_server import gate
from fhir_server.errors import BadRequest, TooCostly
from fhir_server.identity.merge import plan_merge
from fhir_server.model import EVERYTHING, Actor, Entry, Outcome, Record, Resource
from fhir_server.search.query import Query
from fhir_server.security.scopes import ALL
from fhir_server.store.protocol import Transaction, View

MOST_FOUND = 10_000  # resources that one `find` gives
MOST_MERGED = 10_000  # resources that change when a room merges two Patients


class Ask(Protocol):
    """Turns (type, decoded pairs) into a Query; lenient leaves out what it does not know and names it."""

    def __call__(self, types: str, pairs: list[tuple[str, str]], lenient: bool = False) -> Query:
        """Read one search; raise FhirError that names the parameter."""
        ...


Apply = Callable[[Transaction, Sequence[Entry], Actor, str, bool], Awaitable[list[Outcome]]]


def split_query(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Split `Type?a=b&c=d` into the type and its decoded pairs."""
    type, _, query = text.partition("?")
    if not query:
        return type, []
    try:
        return type, parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise BadRequest("The query string cannot be read.") from None


class RoomView:
    """`interface.Asking` over a store's view."""

    def __init__(self, view: View, ask: Ask) -> None:
        self._view = view
        self._ask = ask
        self.tenant = view.tenant

    async def resource(self, reference: str) -> Resource | None:
        """Return the current resource of `Type/id`; None when absent or deleted."""
        type, _, id = reference.partition("/")
        version = await self._view.read(type, id)
        return None if version is None or version.is_deleted else gate.load(version.body)

    async def find(self, query: str) -> list[Resource]:
        """Return what a search finds: all of it, or the first `_count` where the query says so.

        Raises:
            TooCostly: More than 10,000 match and the query has no `_count`.
        """
        type, pairs = split_query(query)
        bounded = any(name == "_count" for name, _ in pairs)
        asked = self._ask(type, pairs if bounded else [*pairs, ("_count", "1000")])
        made: list[Resource] = []
        while True:
            found = await self._view.search(asked)
            made += [gate.load(version.body) for version in found.versions]
            if bounded or found.after is None:
                return made
            if len(made) >= MOST_FOUND:
                raise TooCostly("A search inside the hub finds more than 10,000 resources.")
            asked = _next(asked, found.after)

    async def record(self, kind: str, key: str) -> Record | None:
        """Return one of the room's durable rows."""
        return await self._view.record(kind, key)

    async def records(
        self,
        kind: str,
        *,
        state: str | None = None,
        lane: str | None = None,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Record]:
        """Return durable rows with seq > after, oldest first; with `before` those with seq < before, newest first."""
        return await self._view.records(kind, state=state, lane=lane, after=after, before=before, limit=limit)


def _next(query: Query, after: tuple[object, ...]) -> Query:
    return replace(query, after=after)


class RoomTransaction(RoomView):
    """`interface.Writing` over a store's transaction."""

    def __init__(self, tx: Transaction, ask: Ask, apply: Apply, base_url: str = "") -> None:
        super().__init__(tx, ask)
        self._tx = tx
        self._apply, self._base_url = apply, base_url
        self.now = tx.now

    async def put_record(self, kind: str, key: str, state: str, body: bytes, *, lane: str = "") -> Record:
        """Insert or replace a durable row; a replaced row keeps its seq."""
        return await self._tx.put_record(kind, key, state, body, lane=lane)

    async def drop_record(self, kind: str, key: str) -> None:
        """Remove a durable row, if it is there."""
        await self._tx.drop_record(kind, key)

    async def look_up(self, references: Sequence[str]) -> None:
        """Take in that these `Type/id` are read or written soon."""
        parts = (reference.partition("/") for reference in references)
        await self._tx.look_up([(type, id) for type, _, id in parts])

    async def records_of(self, kind: str, keys: Sequence[str]) -> dict[str, Record]:
        """Return durable rows by key, those that there are."""
        return await self._tx.records_of(kind, keys)

    def meanwhile(self, run: Callable[[Callable[[], bool]], None]) -> None:
        """Have something done while the disk is waited for."""
        self._tx.meanwhile(run)

    async def submit(
        self, entries: Sequence[Entry], *, actor: Actor, interaction: str = "transaction", enrich: bool = True
    ) -> list[Outcome]:
        """Apply entries as one FHIR transaction; validated, audited."""
        return await self._apply(self._tx, entries, actor, interaction, enrich)

    async def merge(self, source: str, target: str, *, by: str) -> list[str]:
        """Make two Patients one, as a room named `by`; return what changed.

        Raises:
            FhirError: As `$merge`; TooCostly where more than 10,000 resources would change.
        """
        limits: dict[str, Any] = {"most": MOST_MERGED, "base_url": self._base_url, "is_judged": False}
        plan = await plan_merge(self._tx, EVERYTHING, source, target, result=None, **limits)
        actor = Actor(self.tenant, by, ALL)
        await self._apply(self._tx, plan.entries(actor, self.now), actor, "$merge", False)
        return [version.reference for version, _ in plan.changes]

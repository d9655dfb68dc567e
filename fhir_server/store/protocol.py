"""The contract of a store. One suite (tests/contract) runs over every implementation.

A `View` is one consistent state; inside `Store.transact` the `Transaction` is a view that also sees
its own writes. All methods are coroutines so that a networked store fits the contract; a store that
answers at once never suspends in them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from fhir_server.model import EVERYTHING, Record, Version, Visibility
from fhir_server.search.query import Clause, Query
from fhir_server.search.values import Indexed

T = TypeVar("T")


class Write(NamedTuple):
    """A version to store, complete: the store gives it only its place in the order (`seq`)."""

    type: str
    id: str
    version: int  # one more than the current version; 1 for a new id
    at: int
    method: str
    body: bytes  # b"" for a deletion
    indexed: Indexed  # of the new body; NOTHING for a deletion, and without values where there is a draft
    draft: Draft | None = None  # the store's work on it, where another process did that already


class Draft(NamedTuple):
    """What a `Drafter` made of a resource that is to be stored."""

    shared: tuple[list[Any], list[Any]]  # the drafter's terms, and what it took at the end of the block
    made: tuple[Any, ...]
    instant: str  # the version's time as its body has it; "" where that is no version 1


class Drafting(NamedTuple):
    """How another process does a part of this store's work: `maker(key)` is a `Drafter`."""

    maker: str  # "module:name"
    key: bytes


class Drafter(Protocol):
    """Makes drafts: tuples, texts, bytes and numbers that `marshal` carries."""

    terms: list[Any]  # what all drafts name by number; it only grows

    def take(self) -> list[Any]:
        """Return what the drafts since the last call name by number: those of a block of resources."""
        ...

    def draft(self, type: str, indexed: Indexed, body: bytes, instant: str) -> tuple[Any, ...]:
        """Return a draft of a new resource.

        Args:
            type: Of the resource.
            indexed: Its values.
            body: As version 1.
            instant: The time that stands in the body for the one that is not known yet.
        """
        ...


class Found(NamedTuple):
    """One page of a search."""

    versions: list[Version]
    after: tuple[object, ...] | None  # cursor of the next page; None on the last one
    total: int | None  # None where it was not asked for
    estimated: bool = False  # whether `total` is a guess, as `_total=estimate` allows; a guess is shown as one


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which versions: of an instance, a type or the system; newest first."""

    type: str = ""
    id: str = ""
    since: int | None = None  # microseconds: versions at or after
    at: tuple[int, int] | None = None  # [lo, hi): versions that were current at some time in it
    before_seq: int | None = None  # cursor: only versions with a smaller seq
    count: int = 20
    total: bool = True  # whether the total is asked for; 0 is given where it is not


class AuditRow(NamedTuple):
    """One access, compact; projected to AuditEvent when it is read."""

    at: int  # microseconds since 1970
    subject: str  # who
    actor: str  # reference of the actor, or ""
    action: str  # C R U D E
    interaction: str  # read, search-type, transaction ...
    target: str  # Type, Type/id or ""
    patients: tuple[str, ...]
    outcome: int  # 0 success 4 minor 8 serious 12 major
    purpose: str
    request_id: str
    query: str = ""  # the raw query; may hold patient data: kept here, never logged


class View(Protocol):
    """One consistent state of one tenant."""

    tenant: str
    knows_words: bool  # whether full text is answered from an index, and so needs no bound on what it reads

    async def read(self, type: str, id: str) -> Version | None:
        """Return the newest version, a deletion included; None when the id was never used."""
        ...

    async def vread(self, type: str, id: str, version: int) -> Version | None:
        """Return that version, or None."""
        ...

    async def search(self, query: Query, *, see: Visibility = EVERYTHING) -> Found:
        """Return a page of what matches and may be seen, in the order asked for, each match once.

        The order is total: ties are broken by the resource. The default order is newest write first.
        Includes are not the store's work. `total` is computed over what may be seen, on `total="accurate"`.
        """
        ...

    async def count(self, types: tuple[str, ...], where: Sequence[Clause], *, see: Visibility = EVERYTHING) -> int:
        """Return how many resources match and may be seen."""
        ...

    async def explain(self, query: Query, *, see: Visibility = EVERYTHING) -> dict[str, object]:
        """Return how a search would be run, as JSON: steps, indexes, expected rows; never a resource's values."""
        ...

    async def log(self, *, after: int = 0, limit: int = 1000) -> list[Version]:
        """Return versions of all types with seq > after, oldest first, deletions among them: for copies and moves."""
        ...

    async def history(self, query: HistoryQuery, *, see: Visibility = EVERYTHING) -> tuple[list[Version], int]:
        """Return a page of versions, newest first, and the total number."""
        ...

    async def record(self, kind: str, key: str) -> Record | None:
        """Return a room's row, or None."""
        ...

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
        """Return rows of that kind with seq > after, oldest first; with `before` the newest below it first."""
        ...

    async def record_kinds(self) -> list[str]:
        """Return the kinds of rooms' rows that there are, sorted: for moves."""
        ...

    async def epoch(self) -> int:
        """Return the tenant's guard epoch: it grows with every write of a watched type."""
        ...

    async def audits(self, *, patient: str = "", after: int = 0, limit: int = 100) -> list[tuple[int, AuditRow]]:
        """Return (seq, row) with seq > after, oldest first; of one Patient where `patient` is given."""
        ...


Meanwhile: TypeAlias = Callable[[Callable[[], bool]], None]
"""Does something that asks nothing of the store, for as long as what it is given says that the disk is waited for."""


class Transaction(View, Protocol):
    """A view that also writes; all of it is committed, or nothing."""

    now: int  # microseconds since 1970; the same in the whole transaction, larger than in any before
    takes_patterns: bool  # whether what it is given to index may be `Indexed.filled`, without values

    async def look_up(self, keys: Sequence[tuple[str, str]]) -> None:
        """Take in that these (type, id) are read soon: many are found in one go faster than one by one."""
        ...

    async def records_of(self, kind: str, keys: Sequence[str]) -> dict[str, Record]:
        """Return a room's rows by key, those that there are: many are found in one go faster than one by one."""
        ...

    def meanwhile(self, run: Meanwhile) -> None:
        """Have something done while the disk is waited for; it may be done more than once, or not at all."""
        ...

    async def put(self, write: Write) -> Version:
        """Store a version and make it the current one; raise VersionConflict unless it follows the current."""
        ...

    async def reindex(self, type: str, id: str, indexed: Indexed) -> None:
        """Replace the index values of a current resource; its version and body stay as they are."""
        ...

    async def erase(self, type: str, id: str) -> int:
        """Remove every version of a resource, its index values too, as if it had never been; return how many.

        Afterwards the id is free: reading it finds nothing, and a new resource may take it at version 1.
        """
        ...

    async def forget(self, type: str, id: str) -> int:
        """Remove every version of a resource but its newest; return how many.

        The newest keeps its number; reading an earlier one finds nothing.
        """
        ...

    async def put_record(self, kind: str, key: str, state: str, body: bytes, *, lane: str = "") -> Record:
        """Insert or replace a room's row; a replaced row keeps its seq."""
        ...

    async def drop_record(self, kind: str, key: str) -> None:
        """Remove a room's row, if it is there."""
        ...

    async def audit(self, row: AuditRow) -> None:
        """Append to the audit chain."""
        ...

    async def bump_epoch(self) -> None:
        """Say that what actors may see may have changed."""
        ...


class Store(Protocol):
    """Where everything is kept. Every call names a tenant."""

    async def open(self) -> None:
        """Connect, migrate, check that the engine is safe; raise Unavailable with the reason otherwise."""
        ...

    async def close(self) -> None:
        """Finish what was accepted and let go; may be called twice."""
        ...

    @property
    def drafting(self) -> Drafting | None:
        """How other processes draft its writes; None where they cannot."""
        ...

    def view(self, tenant: str) -> AbstractAsyncContextManager[View]:
        """A consistent state, held until the context is left; never waits for a writer."""
        ...

    async def transact(self, tenant: str, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction and return its result once it is durable.

        What `work` raises undoes its writes and is raised here. `work` may be run more than once
        where the engine asks for it, so it changes nothing but by its transaction; it must await
        nothing but the transaction's own methods.
        """
        ...

    def audit_soon(self, tenant: str, row: AuditRow) -> None:
        """Append to the audit chain with the next commit, without waiting; raise Unavailable when it cannot."""
        ...

    async def tenants(self) -> list[str]:
        """Return the names of the tenants that something was written for."""
        ...

    async def verify_audit(self) -> int | None:
        """Return the seq of the first audit row whose hash does not hold; None when the chain is whole."""
        ...

    async def secret(self, name: str) -> bytes:
        """Return 32 random bytes kept under that name, made on first use (the token key, the cursor key)."""
        ...

    async def secrets(self) -> dict[str, bytes]:
        """Return what `secret` gave, by name, but for keys that are this place's own: for moves."""
        ...

    async def keep_secret(self, name: str, value: bytes) -> bytes:
        """Keep a secret of another place under a name, unless there is one; return the one that is kept."""
        ...

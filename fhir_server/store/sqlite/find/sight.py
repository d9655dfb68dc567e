"""What an actor may see, inside statements: the rule of `store.visibility`, at every level of a query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from fhir_server import gate
from fhir_server.model import Resource, Visibility
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.find.combined import check, tested
from fhir_server.store.sqlite.find.context import Arm, Context
from fhir_server.store.sqlite.find.fragments import Sql, listed, some, sql
from fhir_server.store.sqlite.find.nodes import Keys, Node
from fhir_server.store.sqlite.session import Session
from fhir_server.store.sqlite.terms import HashText, Terms
from fhir_server.store.visibility import OPEN, hidden

SEVERAL: Final = 1  # head.owner of a resource with several owners
NOBODY: Final = 0
_FEW_PATIENTS: Final = 100  # whose records may drive a search


class Typed(NamedTuple):
    """A resource type of a tenant."""

    name: str
    k: int


class Sight:
    """A Visibility, ready for statements of one tenant on one connection.

    Args:
        see: What may be seen.
        types: The types of the tenant, by number.
    """

    def __init__(
        self, see: Visibility, session: Session, terms: Terms, tenant: int, hash_text: HashText, types: dict[int, str]
    ) -> None:
        self._see, self._session, self._terms, self._tenant, self._hash = see, session, terms, tenant, hash_text
        self._types = types
        self._number = -1

    def of(self, types: Sequence[Typed]) -> list[Typed]:
        """Return those types of which something may be seen."""
        allowed = self._see.types
        return [t for t in types if allowed is None or t.name in allowed]

    def node(self, types: Sequence[Typed]) -> Visible | None:
        """Return what of these types may be seen; None where that is everything."""
        return None if self._see.patients is None else Visible(self, tuple(types))

    def test(self, seq: str, types: Sequence[Typed], context: Context) -> Sql:
        """Return the condition that a resource of these types may be seen."""
        see = self._see
        assert see.patients is not None
        h = context.names.new()
        ways = [sql(f"{h}.owner IN ?", Sql(*self._session.patients(see.patients)))]
        open_ks = [t.k for t in types if t.name in OPEN]
        if open_ks:
            ways.append(sql(f"({h}.owner = {NOBODY} AND {h}.k IN ?)", listed(open_ks)))
        judged = sql(f"{h}.owner = {SEVERAL}")
        if see.partial:
            partial = Sql(*self._session.patients(frozenset(see.partial)))
            judged = some((judged, sql(f"{h}.owner IN ?", partial)))
        ways.append(sql("(? AND ?)", judged, check(self._check(), f"{h}.seq", context)))
        return sql(f"EXISTS (SELECT 1 FROM head {h} WHERE {h}.seq = {seq} AND ?)", some(ways))  # noqa: S608

    def _check(self) -> int:
        if self._number < 0:
            self._number = len(self._session.checks)
            self._session.checks.append(self._is_visible)
        return self._number

    def _is_visible(self, k: int, id: str, at: int, owners: tuple[str, ...], body: bytes) -> bool:
        def load() -> Resource:
            return gate.load(body)

        return not hidden(self._types[k], owners, load, self._see)

    def records(self, types: Sequence[Typed]) -> Keys | None:
        """Return the records of the patients, where they are few and nothing else may be seen."""
        see = self._see
        assert see.patients is not None
        ids = see.patients | see.partial.keys()
        if len(ids) > _FEW_PATIENTS or any(t.name in OPEN for t in types):
            return None
        hashes = [self._hash(id) for id in ids]
        found = [
            term.id for t in types for term in self._terms.of_param(self._tenant, t.name, terms.OWNER, (terms.LOCAL,))
        ]
        return Keys(tuple((t, c) for t in found for c in hashes))


class Visible(Node):
    """Resources of some types that may be seen."""

    def __init__(self, sight: Sight, types: tuple[Typed, ...]) -> None:
        self._sight, self._types = sight, types

    @property
    def disjoint(self) -> bool:
        """Whether each resource is listed once."""
        return True

    def test(self, seq: str, context: Context) -> Sql:
        """Compare the resource's owner."""
        return self._sight.test(seq, self._types, context)

    def drive(self) -> Keys | None:
        """Return lists that hold all that may be seen, and perhaps more; None where there are none."""
        return self._sight.records(self._types)

    def arms(self, context: Context) -> list[Arm]:
        """List the types, and test."""
        every = Keys(tuple((t.k, 0) for t in self._types), single="type")
        return [tested(arm, [self.test(arm.seq, context)]) for arm in every.arms(context)]

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        return 1.5

    def size(self, session: Session) -> int:
        """Return that of the types."""
        return Keys(tuple((t.k, 0) for t in self._types), single="type").size(session)

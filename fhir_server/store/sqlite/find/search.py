"""A search: a page of what matches, in the order asked for, and the total."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from fhir_server.model import Resource, Version, Visibility
from fhir_server.search.query import Clause, Query
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import Found
from fhir_server.store.sqlite.body import COLUMNS, read_row
from fhir_server.store.sqlite.find import timeline
from fhir_server.store.sqlite.find.advice import advise
from fhir_server.store.sqlite.find.clauses import Compiler
from fhir_server.store.sqlite.find.context import Context
from fhir_server.store.sqlite.find.estimate import EXACT, estimate
from fhir_server.store.sqlite.find.explain import explain
from fhir_server.store.sqlite.find.fragments import join, sql
from fhir_server.store.sqlite.find.listing import Listing, run
from fhir_server.store.sqlite.find.nodes import NOTHING
from fhir_server.store.sqlite.find.order import (
    Cursor,
    Key,
    keys_of,
    read_cursor,
    write_cursor,
)
from fhir_server.store.sqlite.find.plan import Plan
from fhir_server.store.sqlite.find.sight import Sight
from fhir_server.store.sqlite.session import Session
from fhir_server.store.sqlite.terms import HashText, Terms

_MARGIN: Final = 2.0  # by which a search must be foreseen to go beyond its time to be refused before it is begun


@dataclass(frozen=True, slots=True)
class Tenant:
    """Where a search runs."""

    session: Session
    terms: Terms
    number: int
    hash: HashText
    index: Callable[[Resource], Indexed]
    seconds: float = 10.0  # what one search may take


class Search:
    """One question about current resources.

    Args:
        tenant: Where it runs.
        types: Names.
        where: Joined by AND.
        see: What may be seen.
    """

    def __init__(self, tenant: Tenant, types: Sequence[str], where: Sequence[Clause], see: Visibility) -> None:
        self._tenant, self._session = tenant, tenant.session
        self._session.checks.clear()
        self._where = where
        self._is_page = False
        tenant.terms.refresh(self._session.connection)
        known = tenant.terms.types(tenant.number)
        self._names = {k: name for name, k in known.items()}
        sight = Sight(see, self._session, tenant.terms, tenant.number, tenant.hash, self._names)
        self._compiler = Compiler(self._session, tenant.terms, tenant.number, tenant.hash, tenant.index, sight, known)
        self._types = self._compiler.types(types)
        self._nodes = nodes = [self._compiler.node(clause, self._types) for clause in where] if self._types else []
        self._is_empty = not self._types or NOTHING in nodes
        self._timeline = timeline.find(where, self._types, tenant.terms, tenant.number, tenant.hash)
        self._plan = plan = Plan(self._session, self._types, nodes, sight.node(self._types), self._timeline)
        self._listing = Listing(self._session, self._types, plan, self._compiler)

    # --- the page ------------------------------------------------------------------------------------------

    def page(self, query: Query) -> Found:
        """Return a page and, where it is asked for, the total."""
        cursor = read_cursor(query.sort, query.after)
        if self._is_empty:
            return Found([], None, None if query.total == "none" else 0)
        self._is_page, self._session.advise = True, partial(advise, query, self._types)
        rows = self._rows(query, query.count + 1, cursor)
        more = len(rows) > query.count > 0
        rows = rows[: query.count]
        total, is_guess = None, False
        if query.total != "none":
            if cursor is None and not more and query.count:
                total = len(rows)
            elif query.total == "estimate":
                total, is_guess = self._estimate(len(rows) + more)
            else:
                total = self.count()
        return Found(self._fetch(rows), write_cursor(rows[-1]) if more else None, total, is_guess)

    def _rows(self, query: Query, limit: int, cursor: Cursor | None) -> list[Cursor]:
        if limit <= 1:
            return []
        if not query.sort:
            self._afford(0, partial(self._plan.cost_of_page, limit))
            return self._listing.unsorted(limit, cursor)
        keys = keys_of(query.sort, self._types, self._compiler)
        found = self._timeline
        if found is not None and self._is_charted(keys):
            rows = self._listing.charted(found, keys[0], limit, cursor)
            if rows is not None:
                return rows
        if self._should_walk(keys, limit):
            self._afford(0, partial(self._plan.cost_of_walk, limit))
            return self._listing.walked(keys[0], limit, cursor)
        self._afford(len(keys), partial(self._plan.cost_of_all, len(keys)))
        return self._listing.gathered(keys, limit, cursor)

    def _should_walk(self, keys: Sequence[Key], limit: int) -> bool:
        return len(keys) == 1 and keys[0].is_walkable and self._plan.should_walk(limit)

    @property
    def _budget(self) -> float:
        """What a search may be foreseen to cost, in microseconds; its time is bounded besides."""
        return self._tenant.seconds * 1_000_000 * _MARGIN

    def _afford(self, keys: int, cost: Callable[[], float]) -> None:
        """Refuse what is sure to take too long before it is begun."""
        if self._plan.most(keys) > self._budget and cost() > self._budget:
            raise self._session.too_costly()

    def _fetch(self, rows: Sequence[Cursor]) -> list[Version]:
        seqs = "[" + ",".join(str(row.seq) for row in rows) + "]"
        found = {
            row[0]: read_row(self._names[row[-1]], row[:-1])
            for row in self._session.connection.execute(
                f"SELECT {COLUMNS}, v.k FROM version v WHERE v.seq IN (SELECT value FROM json_each(?))",  # noqa: S608
                (seqs,),
            )
        }
        return [found[row.seq] for row in rows]

    def explain(self, query: Query) -> dict[str, object]:
        """Return how the search would be run."""
        keys = keys_of(query.sort, self._types, self._compiler)
        order = self._order(keys, query.count + 1)
        return explain(
            self._session, query, self._where, self._nodes, self._types, self._plan, order, keys, self._budget
        )

    def _order(self, keys: Sequence[Key], limit: int) -> tuple[str, float]:
        """Return how a page is found, and about what that costs in microseconds."""
        plan = self._plan
        if self._is_empty:
            return "nothing matches", 0.0
        if not keys:
            return "the order of writes", plan.cost_of_page(limit)
        if self._is_charted(keys):
            return "the timeline of the patient", plan.cost_of_page(limit) / 10
        if self._should_walk(keys, limit):
            return "the index of the key", plan.cost_of_walk(limit)
        return "all that matches, gathered and sorted", plan.cost_of_all(len(keys))

    def _is_charted(self, keys: Sequence[Key]) -> bool:
        found = self._timeline
        return found is not None and len(keys) == 1 and not keys[0].hops and keys[0].sort.parameter.code == found.date

    # --- the total -----------------------------------------------------------------------------------------

    def count(self) -> int:
        """Return how many resources match and may be seen."""
        if self._is_empty:
            return 0
        if not self._is_page:
            query = Query(tuple(type.name for type in self._types), tuple(self._where))
            self._session.advise = partial(advise, query, self._types)
        if self._plan.is_plain:
            return self._plan.total()
        self._afford(0, partial(self._plan.cost_of_all, 0))
        driver = self._plan.for_all()
        context = Context(self._session, self._plan.rows_of_all(driver))
        arms = self._plan.arms(driver, context)
        if not arms:
            return 0
        if driver.lists.disjoint:
            counts = (sql("(SELECT count(*) FROM ? WHERE ?)", arm.source, arm.where) for arm in arms)
            return int(run(self._session, sql("SELECT ?", join(" + ", counts)))[0][0])
        distinct = "DISTINCT " if len(arms) == 1 else ""
        selects = (sql(f"SELECT {distinct}{arm.seq} AS seq FROM ? WHERE ?", arm.source, arm.where) for arm in arms)  # noqa: S608
        return int(run(self._session, sql("SELECT count(*) FROM (?)", join(" UNION ", selects)))[0][0])

    def _estimate(self, least: int) -> tuple[int, bool]:
        """Return how many match, and whether that is a guess: what is cheap to count is counted.

        For those from whom something is hidden all is counted: how long lists are, or that they are long enough to
        be guessed, would tell of what they may not see.
        """
        if not self._plan.sees_all or self._plan.is_plain or self._plan.cheapest() <= EXACT:
            return self.count(), False
        return estimate(self._session, self._plan, tuple(type.k for type in self._types), least), True

"""A search: what drives it is chosen, the rest is tested, the page is fetched, the total counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from fhir_server.errors import TooCostly
from fhir_server.model import Resource, Version, Visibility
from fhir_server.search.query import Clause, Query
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import Found
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.body import COLUMNS, read_row
from fhir_server.store.sqlite.find import timeline
from fhir_server.store.sqlite.find.clauses import Compiler
from fhir_server.store.sqlite.find.fragments import TRUE, Sql, every, join, sql
from fhir_server.store.sqlite.find.nodes import BOUND, NOTHING, Arm, Context, Keys, Node, tested
from fhir_server.store.sqlite.find.order import (
    Cursor,
    Key,
    beyond,
    keys_of,
    ordering,
    read_cursor,
    write_cursor,
)
from fhir_server.store.sqlite.find.sight import Sight
from fhir_server.store.sqlite.find.timeline import Timeline, arm_of
from fhir_server.store.sqlite.session import Session
from fhir_server.store.sqlite.terms import HashText, Terms

LARGE: Final = 20_000  # rows that may be gathered and sorted rather than walked in order
_MOST_ARMS: Final = 100  # of one statement
_MOST_VALUES: Final = 30_000  # SQLite takes 32,766: https://www.sqlite.org/limits.html#max_variable_number
_GATHER_COST: Final = 3  # of a row gathered, with its sort key, to one walked


class Lists(Protocol):
    """What can drive a search."""

    def arms(self, context: Context) -> list[Arm]:
        """Return lists whose union holds all answers."""
        ...

    def size(self, context: Context) -> int:
        """Return about how many they hold, BOUND for that many or more."""
        ...


class Driver(NamedTuple):
    """Lists that can drive, and the clauses that need no test then."""

    lists: Lists
    covers: frozenset[int]


@dataclass(frozen=True, slots=True)
class Tenant:
    """Where a search runs."""

    session: Session
    terms: Terms
    number: int
    hash: HashText
    index: Callable[[Resource], Indexed]


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
        tenant.terms.refresh(self._session.connection)
        known = tenant.terms.types(tenant.number)
        self._names = {k: name for name, k in known.items()}
        sight = Sight(see, self._session, tenant.terms, tenant.number, tenant.hash, self._names)
        self._compiler = Compiler(self._session, tenant.terms, tenant.number, tenant.hash, tenant.index, sight, known)
        self._types = self._compiler.types(types)
        self._where = where
        self._nodes = [self._compiler.node(clause, self._types) for clause in where] if self._types else []
        self._visible = sight.node(self._types)
        self._is_empty = not self._types or NOTHING in self._nodes
        self._timeline = timeline.find(where, self._types, tenant.terms, tenant.number, tenant.hash)
        self._all = Keys(tuple((type.k, 0) for type in self._types))

    # --- the page ------------------------------------------------------------------------------------------

    def page(self, query: Query) -> Found:
        """Return a page and, where it is asked for, the total."""
        cursor = read_cursor(query.sort, query.after)
        if self._is_empty:
            return Found([], None, None if query.total == "none" else 0)
        rows = self._rows(query, query.count + 1, cursor)
        more = len(rows) > query.count > 0
        rows = rows[: query.count]
        total = None
        if query.total != "none":
            total = len(rows) if cursor is None and not more and query.count else self.count()
        return Found(self._fetch(rows), write_cursor(rows[-1]) if more else None, total)

    def _rows(self, query: Query, limit: int, cursor: Cursor | None) -> list[Cursor]:
        if limit <= 1:
            return []
        if not query.sort:
            return self._unsorted(limit, cursor)
        keys = keys_of(
            query.sort, self._types, self._tenant.terms, self._tenant.number, self._session, self._tenant.index
        )
        found = self._timeline
        if len(keys) == 1 and found is not None and keys[0].sort.parameter.code == found.date:
            rows = self._charted(found, keys[0], limit, cursor)
            if rows is not None:
                return rows
        if len(keys) == 1 and keys[0].is_walkable and self._should_walk(limit):
            return self._walked(keys[0], limit, cursor)
        return self._gathered(keys, limit, cursor)

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

    def _run(self, statement: Sql) -> list[tuple[Any, ...]]:
        if len(statement.values) > _MOST_VALUES:
            raise TooCostly("The search has too many alternatives.")
        return self._session.connection.execute(statement.text, statement.values).fetchall()

    # --- what drives ---------------------------------------------------------------------------------------

    def _drivers(self) -> list[Driver]:
        made = [Driver(node, frozenset({number})) for number, node in enumerate(self._nodes)]
        if self._timeline is not None and self._timeline.has_codes:
            made.append(Driver(self._timeline, self._timeline.covers))
        records = self._visible.drive() if self._visible is not None else None
        if records is not None:
            made.append(Driver(records, frozenset()))
        return made

    def _smallest(self) -> tuple[Driver, int]:
        """Return what has the fewest rows, and how many, BOUND for that many or more."""
        context = Context(self._session)  # its own: aliases of the statement must not depend on what was counted
        drivers = self._drivers()
        if not drivers:
            return Driver(self._all, frozenset()), BOUND
        if len(drivers) == 1 and is_ordered(drivers[0].lists.arms(context)):
            return drivers[0], BOUND  # there is nothing to choose
        sizes = [driver.lists.size(context) for driver in drivers]
        least = min(sizes)
        # Of lists that are equally long the most telling comes last: the timeline, the records.
        chosen = max(n for n, size in enumerate(sizes) if size == least)
        return drivers[chosen], least

    def _driver(self) -> Driver:
        """Return what should drive where the order is that of seq."""
        context = Context(self._session)
        driver, size = self._smallest()
        if size < BOUND or is_ordered(driver.lists.arms(context)):
            return driver
        drivers = self._drivers()
        gathered = [d for d in drivers if self._rows_of(d.lists, context) < LARGE]
        if gathered:
            return min(gathered, key=lambda d: self._rows_of(d.lists, context))
        return next((d for d in drivers if is_ordered(d.lists.arms(context))), Driver(self._all, frozenset()))

    def _rows_of(self, lists: Lists, context: Context) -> int:
        """Return how many rows some lists have, LARGE for that many or more."""
        total = 0
        for arm in lists.arms(context):
            counted = sql(f"SELECT count(*) FROM (SELECT 1 FROM ? WHERE ? LIMIT {LARGE})", arm.source, arm.where)  # noqa: S608
            total += self._run(counted)[0][0]
            if total >= LARGE:
                return LARGE
        return total

    def _arms(self, driver: Driver, context: Context) -> list[Arm]:
        """Return the driver's lists, narrowed by all that it does not cover."""
        if len(driver.lists.arms(Context(self._session))) > _MOST_ARMS:
            driver = Driver(self._all, frozenset())
        return [tested(arm, self._tests(arm.seq, driver.covers, context)) for arm in driver.lists.arms(context)]

    def _tests(self, seq: str, covers: frozenset[int], context: Context) -> list[Sql]:
        made = [node.test(seq, context) for number, node in enumerate(self._nodes) if number not in covers]
        if self._visible is not None:
            made.append(self._visible.test(seq, context))
        return made

    # --- orders --------------------------------------------------------------------------------------------

    def _unsorted(self, limit: int, cursor: Cursor | None, extra: Node | None = None) -> list[Cursor]:
        """List the newest writes first."""
        driver, context = self._driver(), Context(self._session)
        arms = self._arms(driver, context)
        selects = []
        for arm in arms:
            tests = [arm.where]
            if cursor is not None:
                tests.append(sql(f"{arm.seq} < ?", cursor.seq))
            if extra is not None:
                tests.append(extra.test(arm.seq, context))
            distinct = "" if arm.ordered or len(arms) > 1 else "DISTINCT "
            selects.append(sql(f"SELECT {distinct}{arm.seq} AS seq FROM ? WHERE ?", arm.source, every(tests)))  # noqa: S608
        if not selects:
            return []
        rows = self._run(sql("? ORDER BY seq DESC LIMIT ?", join(" UNION ", selects), limit))
        return [Cursor((), row[0]) for row in rows]

    def _should_walk(self, limit: int) -> bool:
        """Whether walking the order of the index costs less than gathering and sorting what matches."""
        if not self._nodes and self._visible is None:
            return True
        context = Context(self._session)
        if self._smallest()[1] < BOUND:
            return False
        found = min((self._rows_of(d.lists, context) for d in self._drivers()), default=LARGE)
        return found >= LARGE or limit * self._tally() < _GATHER_COST * found * found

    def _tally(self) -> int:
        ks = "[" + ",".join(str(type.k) for type in self._types) + "]"
        rows = self._run(sql("SELECT total(current) FROM tally WHERE k IN (SELECT value FROM json_each(?))", ks))
        return int(rows[0][0])

    def _walked(self, key: Key, limit: int, cursor: Cursor | None) -> list[Cursor]:
        """Walk the index of the sort key, then what has no value for it."""
        rows: list[Cursor] = []
        if cursor is None or cursor.keys[0] is not None:
            rows = self._walk(key, limit, cursor)
            cursor = None
        if len(rows) < limit:
            missing = self._compiler.missing(key.sort.parameter.code, self._types)
            if missing is not NOTHING:
                tail = self._unsorted(limit - len(rows), cursor and Cursor((), cursor.seq), missing)
                rows += [Cursor((None,), row.seq) for row in tail]
        return rows

    def _walk(self, key: Key, limit: int, cursor: Cursor | None) -> list[Cursor]:
        context, descending = Context(self._session), key.sort.descending
        ts = [term.id for term in key.terms]
        selects = []
        for term in key.terms:
            x = context.names.new()
            tests = [sql(f"{x}.t = ?", term.id), _later(f"{x}.lo", f"{x}.seq", descending, cursor)]
            if terms.SEVERAL in term.params:
                tests.append(_is_first(x, ts, descending, context))
            tests += self._tests(f"{x}.seq", frozenset(), context)
            distinct = "DISTINCT " if terms.SEVERAL in term.params and len(ts) == 1 else ""
            selects.append(
                sql(f"SELECT {distinct}{x}.lo AS lo, {x}.seq AS seq FROM span {x} WHERE ?", every(tests))  # noqa: S608
            )
        if not selects:
            return []
        order = f"lo {'DESC' if descending else 'ASC'}, seq DESC"
        rows = self._run(sql(f"? ORDER BY {order} LIMIT ?", join(" UNION ", selects), limit))
        return [Cursor((lo,), seq) for lo, seq in rows]

    def _charted(self, found: Timeline, key: Key, limit: int, cursor: Cursor | None) -> list[Cursor] | None:
        """Walk the timeline; None where it cannot tell the order."""
        context = Context(self._session)
        if any(context.count(arm_of(place, context)[0]) for place in found.many):
            return None
        descending = key.sort.descending
        rows: list[Cursor] = []
        if cursor is None or cursor.keys[0] is not None:
            later = [(place, cursor) for place in found.dated]
            rows = self._chart(found, later, f"lo {'DESC' if descending else 'ASC'}, seq DESC", descending, limit)
            cursor = None
        if len(rows) < limit and found.undated:
            rest = self._chart(found, [(place, None) for place in found.undated], "seq DESC", None, -1)
            rest = [Cursor((None,), row.seq) for row in rest if cursor is None or row.seq < cursor.seq]
            rows += rest[: limit - len(rows)]
        return rows

    def _chart(
        self,
        found: Timeline,
        places: Sequence[tuple[tuple[int, int, int | None], Cursor | None]],
        order: str,
        descending: bool | None,
        limit: int,
    ) -> list[Cursor]:
        context = Context(self._session)
        selects = []
        for place, cursor in places:
            arm, lo = arm_of(place, context)
            tests = [arm.where, *self._tests(arm.seq, found.covers, context)]
            if cursor is not None and descending is not None:
                tests.append(_later(lo, arm.seq, descending, cursor))
            distinct = "DISTINCT " if len(places) == 1 and not found.has_codes else ""
            selects.append(
                sql(f"SELECT {distinct}{lo} AS lo, {arm.seq} AS seq FROM ? WHERE ?", arm.source, every(tests))  # noqa: S608
            )
        if not selects:
            return []
        rows = self._run(sql(f"? ORDER BY {order} LIMIT ?", join(" UNION ", selects), limit))
        return [Cursor((lo,), seq) for lo, seq in rows]

    def _gathered(self, keys: Sequence[Key], limit: int, cursor: Cursor | None) -> list[Cursor]:
        """Gather all that matches, with its keys, and sort."""
        context = Context(self._session)
        driver, _ = self._smallest()
        arms = self._arms(driver, context)
        if not arms:
            return []
        found = join(
            " UNION ",
            [sql(f"SELECT {arm.seq} AS seq FROM ? WHERE ?", arm.source, arm.where) for arm in arms],  # noqa: S608
        )
        columns = [sql(f"? AS k{number}", key.column("s.seq", context)) for number, key in enumerate(keys)]
        made = sql(
            "WITH s AS MATERIALIZED (?), m AS MATERIALIZED (SELECT DISTINCT s.seq AS seq, ? FROM s)"
            " SELECT * FROM m WHERE ? ORDER BY ? LIMIT ?",
            found,
            join(", ", columns),
            TRUE if cursor is None else beyond(keys, cursor),
            Sql(ordering(keys)),
            limit,
        )
        return [Cursor(tuple(row[1:]), row[0]) for row in self._run(made)]

    # --- the total -----------------------------------------------------------------------------------------

    def count(self) -> int:
        """Return how many resources match and may be seen."""
        if self._is_empty:
            return 0
        if not self._nodes and self._visible is None:
            return self._tally()
        context = Context(self._session)
        driver, _ = self._smallest()
        arms = self._arms(driver, context)
        if len(arms) == 1 and arms[0].ordered:
            return int(self._run(sql("SELECT count(*) FROM ? WHERE ?", arms[0].source, arms[0].where))[0][0])
        selects = [sql(f"SELECT {arm.seq} AS seq FROM ? WHERE ?", arm.source, arm.where) for arm in arms]  # noqa: S608
        if len(selects) == 1:
            selects = [Sql(selects[0].text.replace("SELECT ", "SELECT DISTINCT ", 1), selects[0].values)]
        if not selects:
            return 0
        return int(self._run(sql("SELECT count(*) FROM (?)", join(" UNION ", selects)))[0][0])


def is_ordered(arms: Sequence[Arm]) -> bool:
    """Whether lists come in the order of seq, so that a page of them needs no more than its own rows."""
    return all(arm.ordered for arm in arms)


def _later(lo: str, seq: str, descending: bool, cursor: Cursor | None) -> Sql:
    """Return the condition that a row of an ordered list comes after a cursor."""
    if cursor is None:
        return TRUE
    value, sign = cursor.keys[0], "<" if descending else ">"
    return sql(f"({lo} {sign}= ? AND ({lo} {sign} ? OR {seq} < ?))", value, value, cursor.seq)


def _is_first(x: str, ts: Sequence[int], descending: bool, context: Context) -> Sql:
    """Return the condition that no other value of the resource comes before this one."""
    f, sign = context.names.new(), ">" if descending else "<"
    among = ",".join(map(str, ts))
    return Sql(
        f"NOT EXISTS (SELECT 1 FROM fact {f} WHERE {f}.seq = {x}.seq"  # noqa: S608 - numbers of ours
        f" AND {f}.t IN ({among}) AND {f}.lo {sign} {x}.lo)"
    )

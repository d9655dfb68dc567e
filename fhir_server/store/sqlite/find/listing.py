"""The orders in which matches are listed: of writes, along an index or a chart, or gathered and sorted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fhir_server.errors import TooCostly
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.find.clauses import Compiler
from fhir_server.store.sqlite.find.context import Context
from fhir_server.store.sqlite.find.fragments import TRUE, Sql, every, join, sql
from fhir_server.store.sqlite.find.nodes import NOTHING, Node
from fhir_server.store.sqlite.find.order import Cursor, Key, beyond, ordering
from fhir_server.store.sqlite.find.plan import Plan
from fhir_server.store.sqlite.find.sight import Typed
from fhir_server.store.sqlite.find.timeline import Place, Timeline, arm_of
from fhir_server.store.sqlite.session import Session

_MOST_VALUES: Final = 30_000  # SQLite takes 32,766: https://www.sqlite.org/limits.html#max_variable_number


def run(session: Session, statement: Sql) -> list[tuple[Any, ...]]:
    """Run a statement; raise TooCostly where it takes more values than the engine does."""
    if len(statement.values) > _MOST_VALUES:
        raise TooCostly("The search has too many alternatives.")
    return session.connection.execute(statement.text, statement.values).fetchall()


class Listing:
    """Lists what matches one question.

    Args:
        session: The connection.
        types: Of the resources.
        plan: Chooses what drives.
        compiler: Made the question's nodes.
    """

    def __init__(self, session: Session, types: Sequence[Typed], plan: Plan, compiler: Compiler) -> None:
        self._session, self._types, self._plan, self._compiler = session, types, plan, compiler

    def _run(self, statement: Sql) -> list[tuple[Any, ...]]:
        return run(self._session, statement)

    def unsorted(self, limit: int, cursor: Cursor | None, extra: Node | None = None) -> list[Cursor]:
        """List the newest writes first."""
        driver = self._plan.for_page(limit)
        context = Context(self._session, self._plan.rows_of_page(driver, limit))
        arms = self._plan.arms(driver, context)
        selects = []
        for arm in arms:
            tests = [arm.where]
            if cursor is not None:
                tests.append(sql(f"{arm.seq} < ?", cursor.seq))
            if extra is not None:
                tests.append(extra.test(arm.seq, context))
            distinct = "" if driver.lists.disjoint or len(arms) > 1 else "DISTINCT "
            selects.append(sql(f"SELECT {distinct}{arm.seq} AS seq FROM ? WHERE ?", arm.source, every(tests)))  # noqa: S608
        if not selects:
            return []
        union = " UNION ALL " if driver.lists.disjoint else " UNION "
        rows = self._run(sql("? ORDER BY seq DESC LIMIT ?", join(union, selects), limit))
        return [Cursor((), row[0]) for row in rows]

    def walked(self, key: Key, limit: int, cursor: Cursor | None) -> list[Cursor]:
        """Walk the index of the sort key, then what has no value for it."""
        rows: list[Cursor] = []
        if cursor is None or cursor.keys[0] is not None:
            rows = self._walk(key, limit, cursor)
            cursor = None
        if len(rows) < limit:
            missing = self._compiler.missing(key.sort.parameter.code, self._types)
            if missing is not NOTHING:
                tail = self.unsorted(limit - len(rows), cursor and Cursor((), cursor.seq), missing)
                rows += [Cursor((None,), row.seq) for row in tail]
        return rows

    def _walk(self, key: Key, limit: int, cursor: Cursor | None) -> list[Cursor]:
        context, descending = Context(self._session, self._plan.rows_of_walk(limit)), key.sort.descending
        ts, mark = [term.id for term in key.terms], terms.SEVERAL + key.sort.parameter.code
        selects = []
        for term in key.terms:
            x = context.names.new()
            tests = [sql(f"{x}.t = ?", term.id), _later(f"{x}.lo", f"{x}.seq", descending, cursor)]
            if mark in term.params:
                tests.append(_is_first(x, ts, descending, context))
            tests += self._plan.tests(f"{x}.seq", frozenset(), context)
            selects.append(sql(f"SELECT {x}.lo AS lo, {x}.seq AS seq FROM span {x} WHERE ?", every(tests)))  # noqa: S608
        if key.is_id:
            selects = [self._walk_ids(type.k, descending, cursor, context) for type in self._types]
        if not selects:
            return []
        order = f"lo {'DESC' if descending else 'ASC'}, seq DESC"
        rows = self._run(sql(f"? ORDER BY {order} LIMIT ?", join(" UNION ALL ", selects), limit))
        return [Cursor((lo,), seq) for lo, seq in rows]

    def _walk_ids(self, k: int, descending: bool, cursor: Cursor | None, context: Context) -> Sql:
        r, h = context.names.new(), context.names.new()
        tests = [sql(f"{r}.k = ?", k), _later(f"{r}.id", f"{r}.seq", descending, cursor)]
        tests += self._plan.tests(f"{h}.seq", frozenset(), context)
        return sql(
            f"SELECT {r}.id AS lo, {r}.seq AS seq FROM resource {r} CROSS JOIN head {h} ON {h}.seq = {r}.seq WHERE ?",  # noqa: S608
            every(tests),
        )

    def charted(self, found: Timeline, key: Key, limit: int, cursor: Cursor | None) -> list[Cursor] | None:
        """Walk the timeline; None where it cannot tell the order."""
        if found.many and found.has_many(self._session):
            return None
        rows: list[Cursor] = []
        if cursor is None or cursor.keys[0] is not None:
            rows = self._chart(found, key.sort.descending, cursor, limit)
            cursor = None
        if len(rows) < limit and found.undated:
            order = "seq DESC"
            rest = self._listed(found, [(place, TRUE) for place in found.undated], order, -1)
            tail = [Cursor((None,), row.seq) for row in rest if cursor is None or row.seq < cursor.seq]
            rows += list(dict.fromkeys(tail))[: limit - len(rows)]
        return rows

    def _chart(self, found: Timeline, descending: bool, cursor: Cursor | None, limit: int) -> list[Cursor]:
        """Walk the lists of those that have a time, until there are enough."""
        places, order = found.by_code(self._session), f"lo {'DESC' if descending else 'ASC'}, seq DESC"
        rows: list[Cursor] = []
        while True:
            tests = [
                (place, every((found.window.condition("{lo}"), _later("{lo}", "{seq}", descending, cursor))))
                for place in places
            ]
            more = self._listed(found, tests, order, limit)
            rows = list(dict.fromkeys((*rows, *more)))  # one with several codes comes several times
            if len(more) < limit or len(rows) >= limit:
                return rows[:limit]
            cursor = more[-1]

    def _listed(self, found: Timeline, places: Sequence[tuple[Place, Sql]], order: str, limit: int) -> list[Cursor]:
        """Return rows of lists that pass all tests, one of a resource for each of its codes."""
        context = Context(self._session)
        selects = []
        for place, extra in places:
            arm, lo = arm_of(place, context)
            narrowed = Sql(extra.text.replace("{lo}", lo).replace("{seq}", arm.seq), extra.values)
            tests = [arm.where, narrowed, *self._plan.tests(arm.seq, found.covers, context)]
            selects.append(
                sql(f"SELECT {lo} AS lo, {arm.seq} AS seq FROM ? WHERE ?", arm.source, every(tests))  # noqa: S608
            )
        if not selects:
            return []
        rows = self._run(sql(f"? ORDER BY {order} LIMIT ?", join(" UNION ALL ", selects), limit))
        return [Cursor((lo,), seq) for lo, seq in rows]

    def gathered(self, keys: Sequence[Key], limit: int, cursor: Cursor | None) -> list[Cursor]:
        """Gather all that matches, with its keys, and sort."""
        driver = self._plan.for_all()
        context = Context(self._session, self._plan.rows_of_all(driver))
        arms = self._plan.arms(driver, context)
        if not arms:
            return []
        found = join(
            " UNION ALL " if driver.lists.disjoint else " UNION ",
            [sql(f"SELECT {arm.seq} AS seq FROM ? WHERE ?", arm.source, arm.where) for arm in arms],  # noqa: S608
        )
        columns = [sql(f"? AS k{number}", key.column("s.seq", context)) for number, key in enumerate(keys)]
        made = sql(
            "WITH s AS MATERIALIZED (?), m AS MATERIALIZED (SELECT ?s.seq AS seq, ? FROM s)"
            " SELECT * FROM m WHERE ? ORDER BY ? LIMIT ?",
            found,
            Sql("" if driver.lists.disjoint or len(arms) > 1 else "DISTINCT "),
            join(", ", columns),
            TRUE if cursor is None else beyond(keys, cursor),
            Sql(ordering(keys)),
            limit,
        )
        return [Cursor(tuple(row[1:]), row[0]) for row in self._run(made)]


def _later(lo: str, seq: str, descending: bool, cursor: Cursor | None) -> Sql:
    """Return the condition that a row of an ordered list comes after a cursor."""
    if cursor is None:
        return TRUE
    value, sign = cursor.keys[0], "<" if descending else ">"
    return sql(f"({lo} {sign}= ? AND ({lo} {sign} ? OR {seq} < ?))", value, value, cursor.seq)


def _is_first(x: str, ts: Sequence[int], descending: bool, context: Context) -> Sql:
    """Return the condition that no other value of the resource comes before this one, or is as good."""
    f, sign = context.names.new(), ">" if descending else "<"
    among = ",".join(map(str, ts))
    return Sql(
        f"NOT EXISTS (SELECT 1 FROM fact {f} WHERE {f}.seq = {x}.seq AND {f}.t IN ({among})"  # noqa: S608 - ours
        f" AND {f}.lo {sign}= {x}.lo AND ({f}.lo {sign} {x}.lo OR ({f}.t, {f}.w) < ({x}.t, {x}.w)))"
    )

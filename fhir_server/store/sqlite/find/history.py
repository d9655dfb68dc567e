"""History of an instance, a type and the system: https://hl7.org/fhir/R4/http.html#history."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fhir_server import gate
from fhir_server.model import Resource, Version, Visibility
from fhir_server.store.protocol import HistoryQuery
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.body import COLUMNS, DELETE, read_row
from fhir_server.store.sqlite.find.fragments import TRUE, Sql, every, listed, some, sql
from fhir_server.store.sqlite.find.search import Tenant
from fhir_server.store.sqlite.session import CHECK
from fhir_server.store.visibility import OPEN, hidden

_SHARE: Final = 10  # a tenant with less than a tenth of all versions is not found by walking through all

_BEFORE: Final = (
    "(SELECT w.{column} FROM superseded n JOIN version w ON w.seq = n.seq"
    " WHERE n.k = v.k AND n.id = v.id AND n.version = v.version - 1)"
)
_UNTIL: Final = (
    "coalesce((SELECT w.at FROM superseded n JOIN version w ON w.seq = n.seq"
    " WHERE n.k = v.k AND n.id = v.id AND n.version = v.version + 1),"
    " (SELECT w.at FROM resource r JOIN version w ON w.seq = r.seq"
    " WHERE r.k = v.k AND r.id = v.id AND r.version = v.version + 1))"
)


class History:
    """One history query.

    Args:
        tenant: Where it runs.
        query: Which versions.
        see: What may be seen.
    """

    def __init__(self, tenant: Tenant, query: HistoryQuery, see: Visibility) -> None:
        self._session, self._query, self._see = tenant.session, query, see
        self._session.checks.clear()
        tenant.terms.refresh(self._session.connection)
        known = tenant.terms.types(tenant.number)
        self._names = {k: name for name, k in known.items()}
        self._ks = [
            k for name, k in known.items() if query.type in ("", name) and (see.types is None or name in see.types)
        ]
        self._pasts = [tenant.terms.id(tenant.number, self._names[k], terms.HISTORY) for k in self._ks]

    def page(self) -> tuple[list[Version], int]:
        """Return a page of versions, newest first, and the total number."""
        query = self._query
        if not self._ks:
            return [], 0
        tests = self._tests()
        total = 0 if not query.total else self._tally() if tests is TRUE and not query.id else self._count(tests)
        if not query.count:
            return [], total
        source = self._source(query.before_seq, query.count if tests is TRUE else -1)
        # The source is in order, so that the walk ends with the page.
        rows = self._run(
            sql(f"SELECT {COLUMNS}, v.k FROM ? WHERE ? LIMIT ?", source, tests, query.count)  # noqa: S608
        )
        return [read_row(self._names[row[-1]], row[:-1]) for row in sorted(rows, reverse=True)], total

    def _count(self, tests: Sql) -> int:
        source = self._source(None, -1)
        return int(self._run(sql("SELECT count(*) FROM ? WHERE ?", source, tests))[0][0])

    def _run(self, statement: Sql) -> list[tuple[Any, ...]]:
        return self._session.connection.execute(statement.text, statement.values).fetchall()

    def _tally(self) -> int:
        return int(self._run(sql("SELECT total(versions) FROM tally WHERE k IN ?", listed(self._ks)))[0][0])

    def _source(self, before: int | None, limit: int) -> Sql:
        """Return what follows FROM, newest first, with version as `v`."""
        earlier = "" if before is None else f" AND seq < {before}"
        order = f" ORDER BY seq DESC LIMIT {limit})"  # even -1 keeps SQLite from dropping the order
        ks = listed(self._ks)
        if self._query.id:
            past = sql(f"SELECT seq FROM superseded WHERE k IN ? AND id = ?{earlier}", ks, self._query.id)  # noqa: S608
            now = sql(f"SELECT seq FROM resource WHERE k IN ? AND id = ?{earlier}", ks, self._query.id)  # noqa: S608
            made = sql(f"(? UNION ALL ?{order}", past, now)
        elif self._query.type or self._tally() * _SHARE < (self._run(Sql("SELECT max(seq) FROM version"))[0][0] or 0):
            lists = (t for t in (*self._ks, *self._pasts) if t)
            arms = [f"SELECT seq FROM token WHERE t = {t} AND c = 0{earlier}" for t in lists]  # noqa: S608
            made = Sql(f"({' UNION ALL '.join(arms)}{order}")
        else:
            made = sql(f"(SELECT seq FROM version WHERE k IN ?{earlier}{order}", ks)  # noqa: S608
        return sql("? s CROSS JOIN version v ON v.seq = s.seq", made)

    # --- which ---------------------------------------------------------------------------------------------

    def _tests(self) -> Sql:
        query = self._query
        made = []
        if query.since is not None:
            made.append(self._since(query.since))
        if query.at is not None:
            lo, hi = query.at
            made.append(sql("v.at < ? AND coalesce(? > ?, 1)", hi, Sql(_UNTIL), lo))
        if self._see.patients is not None:
            made.append(self._visible())
        return every(made)

    def _since(self, since: int) -> Sql:
        """Return the condition on time; where all times are in order, as one on seq that needs no row."""
        if self._run(Sql("SELECT n FROM counter WHERE tenant = 0 AND name = 'disorder'")):
            return sql("v.at >= ?", since)
        low, high = 1, (self._run(Sql("SELECT max(seq) FROM version"))[0][0] or 0) + 1
        while low < high:
            middle = (low + high) // 2
            found = self._run(sql("SELECT seq, at FROM version WHERE seq >= ? ORDER BY seq LIMIT 1", middle))
            if found and found[0][1] < since:
                low = found[0][0] + 1
            else:
                high = middle
        return sql("v.seq >= ?", low)

    def _visible(self) -> Sql:
        see = self._see
        assert see.patients is not None
        open_ks = [k for k in self._ks if self._names[k] in OPEN]
        ways = [sql("v.owners IN (SELECT value FROM json_each(?))", _ids(see.patients))]
        if open_ks:
            ways.append(sql("(v.owners = '' AND v.k IN ?)", listed(open_ks)))
        judged = [Sql("instr(v.owners, ' ') > 0")]
        if see.partial:
            judged.append(sql("v.owners IN (SELECT value FROM json_each(?))", _ids(see.partial)))
        format, body = _BEFORE.format(column="format"), _BEFORE.format(column="body")
        number = len(self._session.checks)
        self._session.checks.append(self._is_visible)
        call = (
            f"{CHECK}(?, v.k, v.id, v.at, v.owners,"
            f" CASE v.method WHEN {DELETE} THEN coalesce({format}, 0) ELSE v.format END,"
            f" CASE v.method WHEN {DELETE} THEN coalesce({body}, x'') ELSE v.body END)"
        )
        ways.append(sql("(? AND ?)", some(judged), sql(call, number)))
        return some(ways)

    def _is_visible(self, k: int, id: str, at: int, owners: tuple[str, ...], body: bytes) -> bool:
        def load() -> Resource | None:
            return gate.load(body) if body else None

        return not hidden(self._names[k], owners, load, self._see)


def _ids(ids: Any) -> str:
    return msgspec.json.encode(sorted(ids)).decode()

"""How many resources match, about: by looking at some, spread over all that there are."""

from __future__ import annotations

from typing import Any, Final

from fhir_server.store.sqlite.find.context import Context
from fhir_server.store.sqlite.find.fragments import every, join, sql
from fhir_server.store.sqlite.find.plan import Plan
from fhir_server.store.sqlite.session import Session

EXACT: Final = 2_000  # rows that are counted rather than guessed
_PLACES: Final = 25  # where the sample is taken
_EACH: Final = 40  # resources at each


def estimate(session: Session, plan: Plan, ks: tuple[int, ...], least: int) -> int:
    """Return about how many resources of some types match and may be seen.

    Args:
        session: The connection.
        plan: Of the question; its tests hold on what is looked at.
        ks: The types.
        least: How many are known to match.
    """
    context = Context(session)
    first, last = _ends(session, ks)
    picks = []
    for place in range(_PLACES):
        x = context.names.new()
        start = first + (last - first) * place // _PLACES
        for k in ks:
            some = f"SELECT {x}.seq AS seq FROM token {x} WHERE {x}.t = ? AND {x}.c = 0 AND {x}.seq >= ?"  # noqa: S608
            each = max(1, _EACH // len(ks))
            picks.append(sql(f"SELECT * FROM ({some} ORDER BY {x}.seq LIMIT {each})", k, start))  # noqa: S608
    tests = every(plan.tests("s.seq", frozenset(), context))
    statement = sql("SELECT count(*), total(?) FROM (?) s", tests, join(" UNION ", picks))
    row: Any = session.connection.execute(statement.text, statement.values).fetchone()
    looked, hits = (int(row[0]), int(row[1])) if row else (0, 0)
    if not looked:
        return least
    guess = plan.total() * hits / looked if hits else min(plan.expected(), plan.total() / looked)
    return max(least, round(guess))


def _ends(session: Session, ks: tuple[int, ...]) -> tuple[int, int]:
    """Return the first and last number of the types' resources."""
    found: list[Any] = [
        session.connection.execute("SELECT min(seq), max(seq) FROM token WHERE t = ? AND c = 0", (k,)).fetchone()
        for k in ks
    ]
    kept = [(row[0], row[1]) for row in found if row is not None and row[0] is not None]
    return (min(low for low, _ in kept), max(high for _, high in kept)) if kept else (0, 0)

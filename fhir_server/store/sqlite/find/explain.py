"""How a search would be run, as JSON for people: lists, orders, tests, cost. It shows no value of any resource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fhir_server.search.query import Clause, Query
from fhir_server.store.sqlite.find.advice import advise, name_of
from fhir_server.store.sqlite.find.combined import Both, Checked, Either, Except
from fhir_server.store.sqlite.find.links import Linked, Referred
from fhir_server.store.sqlite.find.nodes import Keys, Listed, Node, Nothing, Shapes, Spans
from fhir_server.store.sqlite.find.order import Key
from fhir_server.store.sqlite.find.plan import Plan
from fhir_server.store.sqlite.find.sight import Typed
from fhir_server.store.sqlite.session import Session

_INDEXES: Final[dict[type, str]] = {
    Nothing: "none: no resource has such a value",
    Keys: "equality (token)",
    Listed: "a set from the dictionary of texts or ids",
    Shapes: "sets of parameters (head)",
    Spans: "order (span)",
    Either: "several, joined",
    Both: "several, intersected",
    Except: "all but those of another",
    Checked: "an index, then each body",
    Linked: "references forward",
    Referred: "references backward",
}


def explain(
    session: Session,
    query: Query,
    where: Sequence[Clause],
    nodes: Sequence[Node],
    types: Sequence[Typed],
    plan: Plan,
    order: tuple[str, float],
    keys: Sequence[Key],
    budget: float,
) -> dict[str, object]:
    """Return the plan of a search.

    Args:
        session: The connection.
        query: What is asked.
        where: Its clauses.
        nodes: What answers each.
        types: Those of the query that were ever written and may be seen.
        plan: Chooses.
        order: How the page would be found, and what that costs in microseconds.
        keys: Of the sort.
        budget: What a search may cost, in microseconds.
    """
    lists = plan.lengths() if nodes else []
    rows: dict[int, tuple[int, bool]] = {}
    for covers, size, is_counted in lists:
        if len(covers) == 1:
            rows[next(iter(covers))] = (size, is_counted)
    way, cost = order
    total = 0.0 if query.total != "accurate" else plan.cost_of_all(0)
    advice = advise(query, types)
    made: dict[str, object] = {
        "engine": "sqlite",
        "types": [type.name for type in types],
        "resources": plan.total() if types else 0,
        "clauses": [_clause(session, *pair, rows.get(n)) for n, pair in enumerate(zip(where, nodes, strict=False))],
        "expected": round(plan.expected()) if types else 0,
        "visibility": "everything may be seen" if plan.sees_all else "the owner of each match is tested (head)",
        "order": {"by": way, "keys": [_key(key) for key in keys]},
        "cost": {
            "pageMilliseconds": round(cost / 1_000, 3),
            "totalMilliseconds": round(total / 1_000, 3),
            "budgetMilliseconds": round(budget / 1_000),
            "refused": max(cost, total) > budget,
        },
    }
    if advice:
        made["advice"] = advice
    return made


def _clause(session: Session, clause: Clause, node: Node, rows: tuple[int, bool] | None) -> dict[str, Any]:
    made: dict[str, Any] = {"clause": name_of(clause), "index": _INDEXES.get(type(node), "an index")}
    size, is_counted = rows or (node.size(session), True)
    made["rows" if is_counted else "rowsAtLeast"] = size
    made["testLookups"] = round(node.effort(session), 1)
    return made


def _key(key: Key) -> str:
    chain = "".join(f"{parameter.code}:{target}." for parameter, target in key.sort.path)
    return f"{'-' if key.sort.descending else ''}{chain}{key.sort.parameter.code}"

"""The search interaction: matches, includes, totals, pages, plans.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fhir_server.definitions import resource_types
from fhir_server.errors import Forbidden
from fhir_server.interactions import contained
from fhir_server.interactions.includes import Including, Index
from fhir_server.interactions.resolve import SettledView
from fhir_server.model import Version, Visibility
from fhir_server.search.clauses import Registry
from fhir_server.search.query import Query
from fhir_server.store.protocol import View


@dataclass(frozen=True, slots=True)
class Results:
    """One page of a search."""

    query: Query
    matches: list[Version]
    included: list[Version]
    total: int | None
    after: tuple[object, ...] | None
    cut: bool  # whether includes were cut at their bound
    estimated: bool = False  # whether `total` is a guess
    plan: dict[str, object] | None = None  # how it was run, where `_explain` asks for it


async def search(view: View, query: Query, see: Visibility, index: Index, registry: Registry) -> Results:
    """Run a search in the state of a view, over what may be seen.

    Raises:
        Forbidden: A plan is asked for by a caller from whom something is hidden: its estimates count that too.
    """
    if query.explain and not see.is_total:
        raise Forbidden(
            "The plan of a search is for callers who may see everything: it counts what others may not see."
        )
    plan = await view.explain(query, see=see) if query.explain else None
    if query.contained != "false":
        page = await _contained(view, query, see, index, plan)
        if not query.includes:
            return page
        beside = Including(view, see, index, [contained.as_source(one) for one in page.matches], registry)
        await beside.run(query.includes)
        return replace(page, included=beside.made, cut=beside.is_cut)
    if query.summary == "count" or query.count == 0:
        total = await view.count(query.types, query.where, see=see)
        return Results(query, [], [], total, None, False, plan=plan)
    found = await view.search(query, see=see)
    if not query.includes:
        return Results(query, found.versions, [], found.total, found.after, False, found.estimated, plan)
    beside = Including(view, see, index, found.versions, registry)
    await beside.run(query.includes)
    return Results(query, found.versions, beside.made, found.total, found.after, beside.is_cut, found.estimated, plan)


async def _contained(
    view: View, query: Query, see: Visibility, index: Index, plan: dict[str, object] | None
) -> Results:
    """Return a page of contained resources; with `both` after those that stand for themselves."""
    contained.check(query)
    settled = await view.settled(query, see) if isinstance(view, SettledView) else query
    counts = query.summary == "count" or query.count == 0
    mine: list[Version] = []
    total: int | None = 0
    if query.contained == "both":
        if counts or contained.is_phase(query.after):
            total = await view.count(query.types, query.where, see=see)
        else:
            found = await view.search(query, see=see)
            mine, total = found.versions, found.total
            if found.after is not None:
                within = await contained.search(
                    view, replace(settled, count=0, after=None), see, index, resource_types()
                )
                return Results(query, mine, [], _sum(total, within.total), found.after, False, plan=plan)
    start = query.after if contained.is_phase(query.after) else None
    left = 0 if counts else query.count - len(mine)
    page = await contained.search(view, replace(settled, count=left, after=start), see, index, resource_types())
    after = page.after
    if mine and not left and page.total:
        after = contained.START
    shown = [] if counts else [*mine, *page.versions]
    return Results(query, shown, [], _sum(total, page.total), None if counts else after, False, plan=plan)


def _sum(one: int | None, other: int) -> int | None:
    return None if one is None else one + other

"""Nodes made of terms: lists of one value, ranges, unions; NOTHING where there is no term."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.find.combined import Either
from fhir_server.store.sqlite.find.context import Arm, Context
from fhir_server.store.sqlite.find.fragments import Sql, listed, sql
from fhir_server.store.sqlite.find.nodes import NOTHING, Keys, Listed, Node, Spans
from fhir_server.store.sqlite.find.ranges import Range
from fhir_server.store.sqlite.find.sight import Typed
from fhir_server.store.sqlite.terms import Term


def everything(types: Sequence[Typed]) -> Keys:
    """Return all resources of some types."""
    return Keys(tuple((type.k, 0) for type in types), single=terms.TYPE)


def keys(code: str, found: Sequence[Term], c: int) -> Node:
    """Return the lists of one value under some terms."""
    if not found:
        return NOTHING
    kinds = {term.kind for term in found}
    single = kinds.pop() if len(kinds) == 1 and _is_single(code, found) else ""
    return Keys(tuple((term.id, c) for term in found), single)


def _is_single(code: str, found: Sequence[Term]) -> bool:
    """Whether each resource has one value for the parameter, under one of the terms."""
    return all(terms.SEVERAL + code not in term.params for term in found)


def spans(code: str, found: Sequence[Term], ranges: Callable[[Sequence[Term]], list[Range]]) -> Node:
    """Return the resources with a value in the ranges that some terms have for a question."""
    made = ranges(found) if found else []
    return Spans(tuple(made), _is_single(code, found)) if made else NOTHING


def either(nodes: Sequence[Node]) -> Node:
    """Return the union, lists of equal values made one."""
    kept = [node for node in nodes if node is not NOTHING]
    if len(kept) <= 1:
        return kept[0] if kept else NOTHING
    equal = [node for node in kept if isinstance(node, Keys)]
    ordered = [node for node in kept if isinstance(node, Spans)]
    merged: list[Node] = [node for node in kept if not isinstance(node, (Keys, Spans))]
    if equal:
        singles = {node.single for node in equal}
        pairs = tuple(dict.fromkeys(pair for node in equal for pair in node.pairs))
        merged.append(Keys(pairs, singles.pop() if len(singles) == 1 else ""))
    if ordered:
        merged.append(
            Spans(tuple(each for node in ordered for each in node.ranges)) if len(ordered) > 1 else ordered[0]
        )
    return merged[0] if len(merged) == 1 else Either(tuple(merged))


def any_value(ts: Sequence[int]) -> Node:
    """Return all resources under some terms, whatever their value."""
    if not ts:
        return NOTHING

    def make(context: Context) -> Arm:
        x = context.names.new()
        return Arm(Sql(f"token {x}"), f"{x}.seq", sql(f"{x}.t IN ?", listed(ts)))

    return Listed(make)

"""What would make a search cheaper, in words; parameters are named, values never."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from fhir_server.search.query import AllOf, AnyOf, Chain, Clause, Has, Match, Not, Query
from fhir_server.store.sqlite.find.order import ORDERED
from fhir_server.store.sqlite.find.sight import Typed
from fhir_server.store.sqlite.rows import TIMELINES

_WIDE: Final = frozenset({"contains", "not", "missing", "words", "ends", "text"})
"""Modifiers that an index narrows little, or not at all."""


def advise(query: Query, types: Sequence[Typed]) -> str:
    """Return what to add to a query, or to leave out of it, so that it costs less."""
    found = list(_flat(query.where))
    asked = {clause.parameter.code for clause in found if isinstance(clause, (Match, Chain))}
    made: list[str] = []
    if len(types) == 1 and types[0].name in TIMELINES:
        code, date = TIMELINES[types[0].name]
        wanted = [
            name
            for name in ("patient", code, date)
            if name not in asked and not (name == "patient" and "subject" in asked)
        ]
        if wanted:
            made.append(f"add {_joined(wanted)}")
    elif not any(isinstance(clause, Match) and clause.modifier not in _WIDE for clause in found):
        made.append("add a parameter that few resources match, such as identifier, patient or _lastUpdated")
    if any(isinstance(clause, Match) and clause.modifier in _WIDE for clause in found):
        made.append("beside a modifier such as :contains, :not or :missing, add a parameter that is asked for as it is")
    if any(isinstance(clause, Chain) for clause in found):
        made.append("in place of a chain, ask for the ids that it leads to")
    if any(isinstance(clause, Has) for clause in found):
        made.append("in place of _has, search the type that refers, with _include")
    if query.sort and (len(query.sort) > 1 or query.sort[0].path or query.sort[0].parameter.type not in ORDERED):
        made.append("sort by one date, number or string of the resource itself, or not at all")
    if query.total == "accurate":
        made.append("leave out the total (_total=none), or ask for an estimate (_total=estimate)")
    return f"To make it cheaper: {'; '.join(made)}." if made else ""


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _flat(clauses: Sequence[Clause]) -> Iterator[Match | Chain | Has]:
    for clause in clauses:
        if isinstance(clause, (AllOf, AnyOf)):
            yield from _flat(clause.clauses)
        elif isinstance(clause, Not):
            yield from _flat((clause.clause,))
        else:
            yield clause


def name_of(clause: Clause) -> str:
    """Return how a clause reads, without its values."""
    match clause:
        case Match(parameter=parameter, modifier=modifier):
            prefixes = sorted({ask.prefix for ask in clause.asks} - {"eq"})
            word = f"{parameter.code}:{modifier}" if modifier else parameter.code
            many = f" ({len(clause.asks)} alternatives)" if len(clause.asks) > 1 else ""
            return f"{word}{' ' + ','.join(prefixes) if prefixes else ''}{many}"
        case Chain(parameter=parameter):
            return f"{parameter.code}.({'; '.join(map(name_of, clause.then))})"
        case Has(source=source, parameter=parameter):
            return f"_has:{source}:{parameter.code}:({name_of(clause.then)})"
        case AllOf(clauses=clauses):
            return f"({' and '.join(map(name_of, clauses))})"
        case AnyOf(clauses=clauses):
            return f"({' or '.join(map(name_of, clauses))})"
        case Not():
            return f"not ({name_of(clause.clause)})"

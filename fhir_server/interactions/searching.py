"""The search interaction: matches, includes, totals, pages.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fhir_server import gate
from fhir_server.model import Resource, Version, Visibility
from fhir_server.search.parameters import parameters_of
from fhir_server.search.query import Ask, Include, Match, Parameter, Query
from fhir_server.search.values import Indexed, Reference
from fhir_server.store.protocol import View
from fhir_server.store.visibility import is_visible

MOST_INCLUDED = 1_000  # resources that includes may add to one page
_STEP = 100  # references asked for at once by _revinclude


@dataclass(frozen=True, slots=True)
class Results:
    """One page of a search."""

    query: Query
    matches: list[Version]
    included: list[Version]
    total: int | None
    after: tuple[object, ...] | None
    cut: bool  # whether includes were cut at their bound


async def search(view: View, query: Query, see: Visibility, index: Callable[[Resource], Indexed]) -> Results:
    """Run a search in the state of a view, over what may be seen."""
    if query.summary == "count" or query.count == 0:
        total = await view.count(query.types, query.where, see=see)
        return Results(query, [], [], total, None, False)
    found = await view.search(query, see=see)
    included, cut = await _includes(view, query, found.versions, see, index) if query.includes else ([], False)
    return Results(query, found.versions, included, found.total, found.after, cut)


async def _includes(
    view: View, query: Query, matches: Sequence[Version], see: Visibility, index: Callable[[Resource], Indexed]
) -> tuple[list[Version], bool]:
    """Follow includes from the matches, and with :iterate from what they add, each resource once."""
    known = {version.reference for version in matches}
    made: list[Version] = []
    fresh: list[Version] = list(matches)
    rules = query.includes
    while fresh and rules:
        added: list[Version] = []
        for rule in rules:
            found = await (_reverse if rule.reverse else _forward)(view, rule, fresh, see, index)
            for version in found:
                if version.reference not in known:
                    if len(made) + len(added) >= MOST_INCLUDED:
                        return made + added, True
                    known.add(version.reference)
                    added.append(version)
        made += added
        fresh, rules = added, tuple(rule for rule in query.includes if rule.iterate)
    return made, False


async def _forward(
    view: View, rule: Include, sources: Sequence[Version], see: Visibility, index: Callable[[Resource], Indexed]
) -> list[Version]:
    made = []
    for source in sources:
        if rule.source not in ("*", source.type):
            continue
        for reference in _references(rule.parameter, index(gate.load(source.body)), source.type):
            if not reference.id or (rule.target and reference.type != rule.target):
                continue
            version = await view.read(reference.type, reference.id)
            if version is not None and not version.is_deleted and is_visible(version, see):
                made.append(version)
    return made


def _references(parameter: Parameter | None, indexed: Indexed, type: str) -> Iterable[Reference]:
    if parameter is not None:
        codes: Iterable[str] = (parameter.code,)
    else:
        codes = (code for code, known in parameters_of(type).items() if known.type == "reference")
    return (v for code in codes for v in indexed.values.get(code, ()) if isinstance(v, Reference))


async def _reverse(
    view: View, rule: Include, targets: Sequence[Version], see: Visibility, index: Callable[[Resource], Indexed]
) -> list[Version]:
    made: list[Version] = []
    wanted = [t for t in targets if not rule.target or t.type == rule.target]
    for parameter in _reverse_parameters(rule):
        fitting = [t for t in wanted if not parameter.targets or t.type in parameter.targets]
        for start in range(0, len(fitting), _STEP):
            asks = tuple(Ask(Reference(t.type, t.id)) for t in fitting[start : start + _STEP])
            asked = Query((rule.source,), (Match(parameter, asks),), count=MOST_INCLUDED + 1, total="none")
            made += (await view.search(asked, see=see)).versions
    return made


def _reverse_parameters(rule: Include) -> list[Parameter]:
    if rule.parameter is not None:
        return [rule.parameter]
    return [p for p in parameters_of(rule.source).values() if p.type == "reference"]

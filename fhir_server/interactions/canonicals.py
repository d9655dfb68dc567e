"""Chains and `_has` along canonical urls: `QuestionnaireResponse?questionnaire.title=x`.

A canonical names a resource by its url, and by its version where it says one: what says none leads to every version
that is here. What matches at one end is looked up, and the ids at the other end stand beside the clause, which a store
follows by type and id alone. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/references.html#canonical
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import lru_cache
from typing import Final

from fhir_server import gate
from fhir_server.errors import TooCostly
from fhir_server.interactions.includes import Index
from fhir_server.model import Resource, Version, Visibility
from fhir_server.search.parameters import parameter
from fhir_server.search.paths import paths
from fhir_server.search.query import AllOf, AnyOf, Ask, Chain, Clause, Has, Match, Parameter, Query
from fhir_server.search.values import Reference, Token, Uri
from fhir_server.store.protocol import View

MOST_NAMED: Final = 1_000  # urls that one step of a chain leads over
MOST_READ: Final = 5_000  # resources that one step reads
_PAGE: Final = 200


@lru_cache(maxsize=4096)
def is_canonical(reference: Parameter) -> bool:
    """Whether some element that the parameter finds is a canonical url."""
    found = paths(reference.expression, reference.base)
    return found is not None and any(way.type in ("canonical", "uri") for way in found)


class Canonicals:
    """Follows canonical urls for one search.

    Args:
        view: The state.
        see: What may be seen.
        index: Gives the values of a resource.
    """

    def __init__(self, view: View, see: Visibility, index: Index) -> None:
        self._view, self._see, self._index = view, see, index

    async def beside_chain(self, types: Sequence[str], chain: Chain, narrowing: Iterable[Clause]) -> list[Clause]:
        """Return what finds the resources whose canonicals lead to what a chain asks for.

        Args:
            types: Of the resources that the chain begins at.
            chain: As a store can answer it.
            narrowing: What else must hold for them.

        Raises:
            TooCostly: The chain leads over too many urls or resources.
        """
        named: dict[str, set[str]] = {}
        for type, then in zip(chain.targets, chain.then, strict=True):
            if parameter(type, "url") is not None:
                async for version in walk(self._view, self._see, (type,), (then,)):
                    resource = gate.load(version.body)
                    named.setdefault(str(resource.get("url", "")), set()).add(str(resource.get("version", "")))
        named.pop("", None)
        if not named:
            return []
        asks = tuple(Ask(Reference("", "", url)) for url in _bounded(named))
        ids: dict[str, list[str]] = {}
        async for version in walk(self._view, self._see, types, (Match(chain.parameter, asks), *narrowing)):
            said = self._canonicals(gate.load(version.body), chain.parameter)
            if any(one.version in ("", *named.get(one.url, ())) for one in said if one.url in named):
                ids.setdefault(version.type, []).append(version.id)
        return with_ids(types, ids)

    async def beside_has(self, types: Sequence[str], has: Has, narrowing: Iterable[Clause]) -> list[Clause]:
        """Return what finds the resources that canonicals of what `_has` asks for lead to; as `beside_chain`."""
        named: dict[str, set[str]] = {}
        async for version in walk(self._view, self._see, (has.source,), (has.then,)):
            for one in self._canonicals(gate.load(version.body), has.parameter):
                named.setdefault(one.url, set()).add(one.version)
        named.pop("", None)
        ids: dict[str, list[str]] = {}
        for type in types if named else ():
            if (url := parameter(type, "url")) is not None:
                asked = Match(url, tuple(Ask(Uri(one)) for one in _bounded(named)))
                async for version in walk(self._view, self._see, (type,), (asked, *narrowing)):
                    resource = gate.load(version.body)
                    if named[resource["url"]] & {"", resource.get("version", "")}:
                        ids.setdefault(type, []).append(version.id)
        return with_ids(types, ids)

    def _canonicals(self, resource: Resource, reference: Parameter) -> list[Reference]:
        values = self._index(resource).values.get(reference.code, ())
        return [one for one in values if isinstance(one, Reference) and one.url]


async def walk(view: View, see: Visibility, types: Sequence[str], where: tuple[Clause, ...]) -> AsyncIterator[Version]:
    """Yield what matches and may be seen; raise TooCostly beyond 5,000 resources."""
    after: tuple[object, ...] | None = None
    read = 0
    while True:
        page = await view.search(Query(tuple(types), where, count=_PAGE, total="none", after=after), see=see)
        read += len(page.versions)
        if read > MOST_READ:
            raise TooCostly(
                f"A search along canonical urls or media types reads at most {MOST_READ:,} resources; narrow it down."
            )
        for version in page.versions:
            yield version
        if (after := page.after) is None:
            return


def _bounded(named: dict[str, set[str]]) -> Iterable[str]:
    if len(named) > MOST_NAMED:
        raise TooCostly(
            f"A step along canonical urls leads over more than {MOST_NAMED:,} of them; narrow it by other parameters."
        )
    return named


def with_ids(types: Sequence[str], ids: dict[str, list[str]]) -> list[Clause]:
    """Return clauses for which the resources with these ids, by type, hold and no other."""
    made: list[Clause] = []
    for type, some in ids.items():
        itself = Match(Parameter("_id", "token", type, "id"), tuple(Ask(Token(None, id)) for id in some))
        kind = Match(Parameter("_type", "token", type, "type"), (Ask(Token(None, type)),))
        made.append(itself if len(types) == 1 else AllOf((kind, itself)))
    return made


def joined(clause: Clause, beside: Sequence[Clause]) -> Clause:
    """Return a clause that holds where the first does or one of those beside it."""
    return AnyOf((clause, *beside)) if beside else clause

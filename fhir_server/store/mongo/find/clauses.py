"""Clauses as pairs of filters, and as tests of one resource."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from fhir_server.search import match
from fhir_server.search.query import AllOf, AnyOf, Ask, Chain, Clause, Has, Match, Not
from fhir_server.search.values import Reference, Text, Token
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.documents import Document
from fhir_server.store.mongo.find.asks import asked, given, many_tokens
from fhir_server.store.mongo.find.filters import (
    EVERY,
    NONE,
    Filter,
    Pair,
    at_most,
    both,
    either,
    exactly,
    neither,
    none_of,
)

Test: TypeAlias = Callable[[match.Node], bool]
Look: TypeAlias = Callable[[str, Clause, Filter, tuple[str, ...]], Awaitable[list[Document]]]
"""(type, clause, more, fields) -> the documents of that type that answer and may be seen."""

_MANY: Final = 20  # alternatives that are looked up as one list


class Compiled(NamedTuple):
    """A clause: which documents, and whether one resource."""

    pair: Pair
    test: Test


class Compiler:
    """Turns the clauses of one query into filters.

    Args:
        tenant: Name.
        types: That are searched and may be seen.
        look: Searches another type, for chains and `_has`: their steps are sets of ids.
    """

    def __init__(self, tenant: str, types: Sequence[str], look: Look) -> None:
        self._tenant, self._types, self._look = tenant, types, look

    async def clause(self, clause: Clause) -> Compiled:
        """Return a clause as filters and test."""
        if isinstance(clause, Match):
            return Compiled(self._match(clause), lambda node: match.matches(clause, node, match.Alone()))
        if isinstance(clause, Chain):
            return await self._chain(clause)
        if isinstance(clause, Has):
            return await self._has(clause)
        if isinstance(clause, Not):
            inner = await self.clause(clause.clause)
            return Compiled(neither(inner.pair), lambda node: not inner.test(node))
        return await self._joined(clause)

    async def _joined(self, clause: AllOf | AnyOf) -> Compiled:
        found = [await self.clause(one) for one in clause.clauses]
        joined, some = (both, all) if isinstance(clause, AllOf) else (either, any)
        pair = joined(one.pair for one in found)
        return Compiled(pair, lambda node: some(one.test(node) for one in found))

    # --- on a resource -------------------------------------------------------------------------------------

    def _match(self, clause: Match) -> Pair:
        code = clause.parameter.code
        if clause.is_open:
            raise ValueError("a terminology must resolve the clause first")
        if clause.is_full_text:
            return at_most({})
        if clause.modifier == "missing":
            found = self._given(code)
            return exactly(none_of(found) if clause.missing else found)
        pair = self._asks(clause.asks, clause.modifier, code)
        return neither(pair) if clause.modifier == "not" else pair

    def _given(self, code: str) -> Filter:
        return {} if code == "_type" else given(code)

    def _asks(self, asks: tuple[Ask, ...], modifier: str, code: str) -> Pair:
        if code == "_type":
            return exactly(self._typed(asks))
        if len(asks) > _MANY and modifier != "of-type" and all(_is_code(ask) for ask in asks):
            return exactly(many_tokens(asks, code))
        return either(asked(ask, modifier, code) for ask in asks) if asks else NONE

    def _typed(self, asks: tuple[Ask, ...]) -> Filter:
        wanted = [ask for ask in asks if not (isinstance(ask.value, Token) and ask.value.system)]
        if any(isinstance(ask.value, Token) and ask.value.code is None for ask in wanted):
            return {}
        names = [ask.value.code for ask in wanted if isinstance(ask.value, Token)]
        starts = [ask.value.value for ask in wanted if isinstance(ask.value, Text)]
        assert not starts, "a type is asked for by its code"
        return {"k": {"$in": sorted(name for name in names if name)}} if names else None

    # --- around a resource ---------------------------------------------------------------------------------

    async def _chain(self, clause: Chain) -> Compiled:
        found: set[tuple[str, str]] = set()
        for target, then in zip(clause.targets, clause.then, strict=True):
            found |= {(target, document["id"]) for document in await self._look(target, then, {}, ("id",))}
        code = clause.parameter.code

        def leads(node: match.Node) -> bool:
            values = node.values.get(code, ())
            return any(isinstance(value, Reference) and (value.type, value.id) in found for value in values)

        if not found:
            return Compiled(NONE, leads)
        return Compiled(exactly({"ref": {"$in": [keys.reference(code, *one) for one in sorted(found)]}}), leads)

    async def _has(self, clause: Has) -> Compiled:
        code = clause.parameter.code
        start = code + keys.PART
        sources = await self._look(clause.source, clause.then, given(code), ("ref",))
        wanted = frozenset(self._types)
        found = {
            one.removeprefix(start)
            for source in sources
            for one in source.get("ref", ())
            if one.startswith(start) and one.removeprefix(start).partition("/")[0] in wanted
        }

        def is_referred_to(node: match.Node) -> bool:
            return f"{node.type}/{node.id}" in found

        if not found:
            return Compiled(NONE, is_referred_to)
        names = [f"{self._tenant}/{one}" for one in sorted(found)]
        return Compiled(exactly({"r": {"$in": names}}), is_referred_to)


def _is_code(ask: Ask) -> bool:
    return isinstance(ask.value, Token) and (ask.value.system is not None or ask.value.code is not None)


def conjunction(compiled: Sequence[Compiled]) -> Compiled:
    """Return all of several clauses as one."""
    tests: list[Test] = [one.test for one in compiled]
    pair = both(one.pair for one in compiled) if compiled else EVERY
    return Compiled(pair, partial(_all, tests))


def _all(tests: list[Test], node: match.Node) -> bool:
    return all(test(node) for test in tests)

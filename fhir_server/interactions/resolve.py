"""What a store cannot answer by itself, settled before it is asked: value sets, hierarchies, the cost of full text.

Chains into contained resources are settled here too (`holders`). The hub's store is wrapped, so that every search of
every caller passes here, those inside transactions too.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#token (:in, :not-in, :above, :below)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from itertools import chain
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from fhir_server import gate
from fhir_server.errors import BadParameter, TooCostly
from fhir_server.interactions.canonicals import Canonicals, is_canonical, joined
from fhir_server.interactions.hierarchy import related
from fhir_server.interactions.holders import Holders
from fhir_server.interactions.includes import Index
from fhir_server.interactions.subsumption import Subsumption
from fhir_server.model import EVERYTHING, Visibility
from fhir_server.search.paths import paths
from fhir_server.search.query import AllOf, AnyOf, Ask, Chain, Clause, Has, Match, Not, Parameter, Query
from fhir_server.search.values import Reference, Token, Uri
from fhir_server.store.protocol import Found, Store, Transaction, View
from fhir_server.store.visibility import is_visible
from fhir_server.terminology import Terminology
from fhir_server.terminology.membership import NotLoaded

T = TypeVar("T")

MOST_CODES: Final = 5_000  # that one :in, :not-in, :above or :below may stand for
MOST_READ: Final = 20_000  # resources whose text one search reads


class SettledStore:
    """A `store.protocol.Store` whose searches are settled first; all else is the store's own.

    Args:
        store: The one that answers.
        terminology: Knows value sets and hierarchies.
        index: Gives the values of a resource, also of a contained one.
    """

    def __init__(self, store: Store, terminology: Terminology, index: Index) -> None:
        self._store, self._terminology, self._index = store, terminology, index
        self.audit_soon = store.audit_soon  # asked for by every read

    def __getattr__(self, name: str) -> Any:
        """Return what the store itself has."""
        return getattr(self._store, name)

    def view(self, tenant: str) -> AbstractAsyncContextManager[View]:
        """A consistent state, held until the context is left."""
        return _Held(self._store.view(tenant), self._terminology, self._index)

    async def transact(self, tenant: str, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction and return its result once it is durable."""

        def settled(tx: Transaction) -> Awaitable[T]:
            return work(cast(Transaction, _SettledTransaction(tx, self._terminology, self._index)))

        return await self._store.transact(tenant, settled)


class _Held:
    """The context of a view."""

    __slots__ = ("_context", "_index", "_terminology")

    def __init__(self, context: AbstractAsyncContextManager[View], terminology: Terminology, index: Index) -> None:
        self._context, self._terminology, self._index = context, terminology, index

    async def __aenter__(self) -> View:
        return cast(View, SettledView(await self._context.__aenter__(), self._terminology, self._index))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._context.__aexit__(kind, error, trace)


class SettledView:
    """A `store.protocol.View` whose searches are settled first."""

    def __init__(self, view: View, terminology: Terminology, index: Index) -> None:
        self._view, self._terminology, self._index = view, terminology, index
        self.tenant, self.read, self.epoch = view.tenant, view.read, view.epoch

    def __getattr__(self, name: str) -> Any:
        """Return what the view itself has."""
        return getattr(self._view, name)

    async def search(self, query: Query, *, see: Visibility = EVERYTHING) -> Found:
        """Return a page of what matches and may be seen."""
        return await self._view.search(await self.settled(query, see), see=see)

    async def explain(self, query: Query, *, see: Visibility = EVERYTHING) -> dict[str, object]:
        """Return how a search would be run."""
        return await self._view.explain(await self.settled(query, see), see=see)

    async def count(self, types: tuple[str, ...], where: Sequence[Clause], *, see: Visibility = EVERYTHING) -> int:
        """Return how many resources match and may be seen."""
        return await self._view.count(types, await self._where(types, where, see), see=see)

    async def settled(self, query: Query, see: Visibility) -> Query:
        """Return a search as it can be answered from values alone."""
        where = await self._where(query.types, query.where, see)
        return query if where is query.where else replace(query, where=where)

    async def _where(self, types: tuple[str, ...], where: Sequence[Clause], see: Visibility) -> tuple[Clause, ...]:
        if not any(map(_needs_more, where)):
            return where if isinstance(where, tuple) else tuple(where)
        holders = Holders(self._view, see, self._index)
        canonicals = Canonicals(self._view, see, self._index)
        subsumption = Subsumption(self._view, see, self._index)
        settling = _Settling(self._view, self._terminology, see, holders, canonicals, subsumption)
        plain = tuple(clause for clause in where if not _needs_more(clause))
        made = tuple([await settling.clause(clause, types, plain) for clause in where])
        for narrowed, others in () if self._view.knows_words else _read_whole(types, made):
            if await self._view.count(narrowed, others, see=see) > MOST_READ:
                raise TooCostly(
                    f"A search by _text or _content reads at most {MOST_READ:,} resources. Narrow it by other "
                    "parameters, such as patient, code or date."
                )
        return made


class _SettledTransaction(SettledView):
    """A transaction whose searches are settled first; what every write asks for is looked up once."""

    def __init__(self, tx: Transaction, terminology: Terminology, index: Index) -> None:
        super().__init__(tx, terminology, index)
        self.now, self.put, self.audit = tx.now, tx.put, tx.audit


class _Settling:
    """Replaces the clauses of one search that a terminology must answer first."""

    def __init__(
        self,
        view: View,
        terminology: Terminology,
        see: Visibility,
        holders: Holders,
        canonicals: Canonicals,
        subsumption: Subsumption,
    ) -> None:
        self._view, self._terminology, self._see = view, terminology, see
        self._holders, self._canonicals, self._subsumption = holders, canonicals, subsumption

    async def clause(self, clause: Clause, types: tuple[str, ...], narrowing: tuple[Clause, ...] = ()) -> Clause:
        """Return the clause as a store can answer it.

        Args:
            clause: Any.
            types: Of the resources that it is about.
            narrowing: What else holds for all that is found.
        """
        match clause:
            case Match():
                return await self._match(clause, types, narrowing) if clause.is_open else clause
            case Chain():
                pairs = zip(clause.targets, clause.then, strict=True)
                then = tuple([await self.clause(one, (target,)) for target, one in pairs])
                settled = replace(clause, then=then)
                made = await self._holders.beside(types, settled, narrowing)
                if not is_canonical(clause.parameter):
                    return made
                return joined(made, await self._canonicals.beside_chain(types, settled, narrowing))
            case Has():
                has = replace(clause, then=await self.clause(clause.then, (clause.source,)))
                if not is_canonical(clause.parameter):
                    return has
                return joined(has, await self._canonicals.beside_has(types, has, narrowing))
            case Not():
                return Not(await self.clause(clause.clause, types, narrowing))
            case AllOf() | AnyOf():
                each = [await self.clause(one, types, narrowing) for one in clause.clauses]
                return replace(clause, clauses=tuple(each))

    async def _match(self, clause: Match, types: tuple[str, ...], narrowing: tuple[Clause, ...]) -> Clause:
        below, asked = clause.modifier == "below", [ask.value for ask in clause.asks]
        if clause.parameter.type == "reference":
            references = [one for one in asked if isinstance(one, Reference)]
            canonicals = [one for one in references if one.url and is_canonical(clause.parameter)]
            found = [
                await related(self._view, one, below=below, see=self._see)
                for one in references
                if one not in canonicals
            ]
            local = Match(clause.parameter, tuple(Ask(one) for one in dict.fromkeys(chain.from_iterable(found))))
            if not canonicals:
                return local
            made = await self._subsumption.versions(
                types, clause.parameter, canonicals, below=below, narrowing=narrowing
            )
            return AnyOf((local, *made) if found else tuple(made))
        media = [one for one in asked if isinstance(one, Token) and one.system is None]
        if not media:
            return await self._coded(clause)
        made = await self._subsumption.media_types(types, clause.parameter, media, below=below, narrowing=narrowing)
        rest = tuple(ask for ask in clause.asks if ask.value not in media)
        return AnyOf((*made, await self._coded(replace(clause, asks=rest))) if rest else tuple(made))

    async def _coded(self, clause: Match) -> Clause:
        found = [await self._codes(clause, ask) for ask in clause.asks]
        codes = frozenset().union(*found)
        if len(codes) > MOST_CODES:
            raise TooCostly(
                f"The parameter '{clause.parameter.code}' stands for more than {MOST_CODES:,} codes. "
                "Use a smaller value set, or a code further down."
            )
        if clause.modifier in ("in", "not-in") and implies_system(clause.parameter):
            codes |= {("", code) for _, code in codes if code}
        asks = tuple(Ask(Token(system, code or None)) for system, code in sorted(codes))
        if not asks:
            return AllOf(()) if clause.modifier == "not-in" else AnyOf(())
        return Match(clause.parameter, asks, "not" if clause.modifier == "not-in" else "")

    async def _codes(self, clause: Match, ask: Ask) -> frozenset[tuple[str, str]]:
        """Return (system, code) of all that is asked for; "" for every code of a system."""
        if isinstance(ask.value, Uri):
            try:
                return await self._members(await self._url(ask.value.value))
            except NotLoaded as error:
                raise BadParameter(error.text) from None
        assert isinstance(ask.value, Token) and ask.value.system and ask.value.code, "read as system|code"
        system, code = ask.value.system, ask.value.code
        known = await self._terminology.over(self._view).code_system(system)
        if known is None or known.is_listed:  # of which R4's value sets name codes, without their hierarchy
            raise BadParameter(
                "A search names a code system that is not loaded here, so that its hierarchy is not known."
            )
        related = self._terminology.below if clause.modifier == "below" else self._terminology.above
        return frozenset((system, one) for one in await related(self._view, system, code))

    async def _members(self, url: str) -> frozenset[tuple[str, str]]:
        """Return what a value set has; "" for every code of a system where they are too many, or not all loaded."""
        failed: NotLoaded | TooCostly | None = None
        members: frozenset[tuple[str, str]] = frozenset()
        try:
            members = await self._terminology.members(self._view, url)
        except (NotLoaded, TooCostly) as error:
            failed = error
        if failed is None and len(members) <= MOST_CODES:
            return members
        found = await self._terminology.whole_systems(self._view, url)
        if found is not None:
            whole, beside = found
            return beside | {(system, "") for system in whole}
        if failed is not None:
            raise failed
        return members

    async def _url(self, name: str) -> str:
        """Return the canonical url of a value set that is named so, or by its id here."""
        if not name.startswith("ValueSet/"):
            return name
        version = await self._view.read("ValueSet", name.removeprefix("ValueSet/"))
        if version is None or version.is_deleted or not is_visible(version, self._see):
            raise BadParameter("A search names a value set that is not known here.")
        resource = gate.load(version.body)
        if not resource.get("url"):
            raise BadParameter("A search names a value set that has no url of its own.")
        return f"{resource['url']}|{resource['version']}" if resource.get("version") else str(resource["url"])


def implies_system(parameter: Parameter) -> bool:
    """Whether some element that the parameter finds is a `code`, which has no system beside it."""
    found = paths(parameter.expression, parameter.base)
    return found is not None and any(way.type == "code" for way in found)


def _needs_more(clause: Clause) -> bool:
    """Whether a clause, or one inside it, is open, is a chain or reads whole resources."""
    match clause:
        case Match():
            return clause.modifier != "" and (clause.is_open or clause.is_full_text)
        case Chain():
            return True  # it may go into contained resources
        case Has():
            return is_canonical(clause.parameter) or _needs_more(clause.then)
        case Not():
            return _needs_more(clause.clause)
        case AllOf() | AnyOf():
            return any(map(_needs_more, clause.clauses))


def _read_whole(
    types: tuple[str, ...], where: Sequence[Clause]
) -> Iterator[tuple[tuple[str, ...], tuple[Clause, ...]]]:
    """Yield, for each place where whole resources are read, their types and the clauses that narrow them."""
    every = [one for clause in where for one in (clause.clauses if isinstance(clause, AllOf) else (clause,))]
    if any(map(_reads_here, every)):
        yield types, tuple(one for one in every if not _reads_here(one) and not _needs_more(one))
    for clause in every:
        for inner, then in _further(clause):
            yield from _read_whole((inner,), (then,))


def _reads_here(clause: Clause) -> bool:
    match clause:
        case Match():
            return clause.is_full_text
        case Not():
            return _reads_here(clause.clause)
        case AllOf() | AnyOf():
            return any(map(_reads_here, clause.clauses))
        case _:
            return False


def _further(clause: Clause) -> Iterator[tuple[str, Clause]]:
    """Yield (type, clause) of what references lead to."""
    match clause:
        case Chain():
            yield from zip(clause.targets, clause.then, strict=True)
        case Has():
            yield clause.source, clause.then
        case Not():
            yield from _further(clause.clause)
        case AllOf() | AnyOf():
            for one in clause.clauses:
                yield from _further(one)
        case _:
            return

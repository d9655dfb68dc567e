"""A search over the documents of one state: filters that use the indexes, the rest finished by `search.match`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from fhir_server.errors import TooCostly
from fhir_server.model import Version, Visibility
from fhir_server.search.cursor import Place as Stand
from fhir_server.search.cursor import ordered
from fhir_server.search.query import AllOf, AnyOf, Chain, Clause, Has, Match, Not, Query, Sort
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.documents import Document
from fhir_server.store.mongo.find.clauses import Compiled, Compiler, conjunction
from fhir_server.store.mongo.find.filters import Filter, Pair, all_of, both, none_of
from fhir_server.store.mongo.find.order import NEWEST, phases, read_after, stand, write_after
from fhir_server.store.mongo.find.paths import path_keys
from fhir_server.store.mongo.find.place import PLAIN, Place
from fhir_server.store.mongo.find.sight import is_seen, sight, typed
from fhir_server.store.protocol import Found

MOST_LINKED: Final = 20_000  # ids that one step of a chain or _has carries on
MOST_LOOKED_AT: Final = 50_000  # documents that are read to be looked at by `search.match`
MOST_GATHERED: Final = 50_000  # documents that are sorted here, by several keys or over a chain
_FEW: Final = 100  # documents that are looked at, at once

_BODY: Final = ("k", "id", "v", "at", "m", "seq", "own", "body", "parts")

TOO_MANY: Final = "The search touches too many resources: narrow it, or leave out the total."


class Search:
    """One search.

    Args:
        place: Where.
        types: Of what is searched.
        where: Clauses that all hold.
        see: What may be seen; it holds for all that a chain goes through.
    """

    def __init__(self, place: Place, types: Sequence[str], where: Sequence[Clause], see: Visibility) -> None:
        self._place, self._where, self._see = place, where, see
        self._types = typed(types, see)
        self._sight = sight(see)
        self._made: tuple[Compiled, Pair] | None = None

    async def _compiled(self) -> tuple[Compiled, Pair]:
        """Return the clauses, and them with what may be seen."""
        if self._made is None:
            compiler = Compiler(self._place.window.tenant, self._types, self._look)
            found = conjunction([await compiler.clause(clause) for clause in self._where])
            self._made = found, both((found.pair, self._sight))
        return self._made

    def _among(self, *filters: Filter) -> Filter:
        """Return the filter of current resources of the types that pass all of these."""
        window = self._place.window
        if not self._types:
            return None
        types: Any = self._types[0] if len(self._types) == 1 else {"$in": self._types}
        return all_of(({"t": window.tenant, "k": types, "live": True}, window.current(), *filters))

    async def _look(self, type: str, clause: Clause, more: Filter, fields: tuple[str, ...]) -> list[Document]:
        """Return the documents of another type that answer a clause and may be seen, for a step of a chain."""
        other = Search(self._place, (type,), (clause,), self._see)
        found = []
        async for document in other.walk(more, fields):
            found.append(document)
            if len(found) > MOST_LINKED:
                raise TooCostly(f"A chain or _has goes through more than {MOST_LINKED} resources: narrow it.")
        return found

    async def _targets(self, type: str, ids: list[str], fields: tuple[str, ...]) -> list[Document]:
        """Return the documents of these ids that may be seen."""
        tenant = self._place.window.tenant
        other = Search(self._place, (type,), (), self._see)
        return [d async for d in other.walk({"r": {"$in": [f"{tenant}/{type}/{id}" for id in ids]}}, fields)]

    # --- all that answer -----------------------------------------------------------------------------------

    async def walk(self, more: Filter, fields: tuple[str, ...], *, sure: bool | None = None) -> AsyncIterator[Document]:
        """Yield documents that answer and may be seen, in no order.

        Args:
            more: Filter on top.
            fields: That they are to have.
            sure: False leaves out those that a filter alone is sure of.
        """
        _, pair = await self._compiled()
        left = pair.may if sure is None else all_of((pair.may, none_of(pair.sure)))
        if (where := self._among(left, more)) is None:
            return
        wanted = dict.fromkeys((*fields, *(() if pair.is_exact else _BODY)), 1)
        cursor = self._place.versions.find(where, wanted, max_time_ms=self._place.milliseconds)
        looked = 0
        async for document in cursor:
            if not pair.is_exact:
                looked += 1
                if looked > MOST_LOOKED_AT:
                    raise TooCostly(TOO_MANY)
                if not await self._holds(document):
                    continue
            yield document

    async def _holds(self, document: Document) -> bool:
        """Look at a document that a filter was not sure of."""
        compiled, _ = await self._compiled()
        node = None if compiled.pair.is_exact else await self._place.node(document)
        if node is not None and not compiled.test(node):
            return False
        if self._sight.is_exact:
            return True
        return is_seen(document, await self._place.body(document) if node is None else node.body, self._see)

    async def count(self) -> int:
        """Return how many answer and may be seen."""
        _, pair = await self._compiled()
        surely = self._among(pair.sure)
        total = 0
        if surely is not None:
            total = await self._place.versions.count_documents(surely, maxTimeMS=self._place.milliseconds)
        if not pair.is_exact:
            async for _ in self.walk({}, ("_id",), sure=False):
                total += 1
        return total

    # --- a page --------------------------------------------------------------------------------------------

    async def page(self, query: Query) -> Found:
        """Return a page in the order asked for."""
        after = read_after(query)
        gathers = len(query.sort) > 1 or any(sort.path for sort in query.sort)
        found = await (self._gathered if gathers else self._streamed)(query, after)
        page, more = found[: query.count], len(found) > query.count > 0
        cursor = write_after(page[-1][0]) if more else None
        total = None
        if query.total != "none":
            is_whole = after is None and not more and query.count > 0
            total = len(page) if is_whole else await self.count()
        return Found(await self._versions([document for _, document in page]), cursor, total)

    async def _versions(self, documents: list[Document]) -> list[Version]:
        return await self._place.read_all(documents)

    async def _streamed(self, query: Query, after: Stand | None) -> list[tuple[Stand, Document]]:
        """Return one document more than the page has, sorted by the server."""
        _, pair = await self._compiled()
        found: list[tuple[Stand, Document]] = []
        looked = 0
        for phase in phases(query.sort, after):
            while len(found) <= query.count:
                need = query.count + 1 - len(found)
                limit = need if pair.is_exact else max(need, _FEW)
                where = self._among(pair.may, phase.where())
                if where is None:
                    return []
                documents = await self._place.find(where, sort=phase.order, limit=limit)
                for document in documents:
                    phase.after = stand(query.sort, document)
                    if len(found) <= query.count and (pair.is_exact or await self._holds(document)):
                        found.append((phase.after, document))
                looked += len(documents)
                if looked > MOST_LOOKED_AT + query.count:
                    raise TooCostly(TOO_MANY)
                if len(documents) < limit:
                    break
        return found

    async def _gathered(self, query: Query, after: Stand | None) -> list[tuple[Stand, Document]]:
        """Return one document more than the page has, sorted here: several keys, of which each may be missing."""
        fields = ["seq", "k", "id"]
        for sort in query.sort:
            fields.append("ref" if sort.path else f"s.{keys.field(sort.parameter.code)}")
        documents = []
        async for document in self.walk({}, tuple(dict.fromkeys(fields))):
            documents.append(document)
            if len(documents) > MOST_GATHERED:
                raise TooCostly("The search sorts too many resources: narrow it, or sort by one parameter.")
        stands = await self._stands(query.sort, documents)
        by_place = ordered(query.sort)
        found = sorted(zip(stands, documents, strict=True), key=lambda one: by_place(one[0]))
        if after is not None:
            start = by_place(after)
            found = [one for one in found if by_place(one[0]) > start]
        found = found[: query.count + 1]
        whole = await self._place.find({"_id": {"$in": [one["_id"] for _, one in found]}}, fields=PLAIN)
        by_id = {one["_id"]: one for one in whole}
        return [(where, by_id[one["_id"]]) for where, one in found if one["_id"] in by_id]  # but for what was erased

    async def _stands(self, sorts: tuple[Sort, ...], documents: list[Document]) -> list[Stand]:
        columns = []
        for sort in sorts:
            if sort.path:
                columns.append(await path_keys(sort, documents, self._targets))
            else:
                columns.append([stand((sort,), document).keys[0] for document in documents])
        return [Stand(tuple(column[n] for column in columns), int(d["seq"])) for n, d in enumerate(documents)]

    # --- telling how ---------------------------------------------------------------------------------------

    async def explain(self, query: Query) -> dict[str, object]:
        """Return the steps of a search, without any value of a resource or of the question."""
        _, pair = await self._compiled()
        gathers = len(query.sort) > 1 or any(sort.path for sort in query.sort)
        where = self._among(pair.may)
        rows = (
            0
            if where is None
            else await self._place.versions.count_documents(where, maxTimeMS=self._place.milliseconds)
        )
        steps = [step for clause in self._where for step in _told(clause)]
        return {
            "engine": "mongodb",
            "types": list(query.types),
            "steps": [*steps, {"step": "search", "collection": "version", "rows": rows, "checked": not pair.is_exact}],
            "sort": [
                {"parameter": sort.parameter.code, "by": "values gathered" if gathers else f"s.{sort.parameter.code}"}
                for sort in query.sort
            ]
            or [{"by": NEWEST[0][0]}],
        }


_FIELDS: Final = {
    "number": "num", "date": "dt", "string": "str", "uri": "tok", "token": "tok", "reference": "ref", "quantity": "num",
    "composite": "tok, num, dt",
}  # fmt: skip


def _told(clause: Clause) -> list[dict[str, object]]:
    """Return what is told of a clause: kind, parameter, the index that serves it."""
    if isinstance(clause, Match):
        field = "tok" if clause.modifier in ("missing", "exact") else _FIELDS.get(clause.parameter.type, "body")
        return [{"step": "filter", "parameter": clause.parameter.code, "index": field, "values": len(clause.asks)}]
    if isinstance(clause, Chain):
        inner = [step for then in clause.then for step in _told(then)]
        return [*inner, {"step": "ids", "parameter": clause.parameter.code, "index": "ref"}]
    if isinstance(clause, Has):
        return [*_told(clause.then), {"step": "ids", "source": clause.source, "index": "r"}]
    if isinstance(clause, Not):
        return [*_told(clause.clause), {"step": "not"}]
    kind = "all of" if isinstance(clause, AllOf) else "any of"
    assert isinstance(clause, AllOf | AnyOf)
    return [*(step for one in clause.clauses for step in _told(one)), {"step": kind}]

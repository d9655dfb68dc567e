"""Versions of an instance, a type or the system, newest first.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

from typing import Final

from fhir_server.errors import TooCostly
from fhir_server.model import Version, Visibility
from fhir_server.store.mongo.documents import Document
from fhir_server.store.mongo.find.filters import Filter, all_of
from fhir_server.store.mongo.find.order import NEWEST
from fhir_server.store.mongo.find.place import Place
from fhir_server.store.mongo.find.sight import is_seen, sight
from fhir_server.store.protocol import HistoryQuery

MOST_LOOKED_AT: Final = 50_000  # versions of records that are partly visible


async def page(place: Place, query: HistoryQuery, see: Visibility) -> tuple[list[Version], int]:
    """Return a page of versions that may be seen, and how many there are."""
    pair = sight(see)
    asked = all_of((_asked(place, query), {} if see.types is None else {"k": {"$in": sorted(see.types)}}))
    if not pair.is_exact:
        return await _looked_at(place, query, all_of((asked, pair.may)), see)
    if (every := all_of((asked, pair.may))) is None:
        return [], 0
    total = 0
    if query.total:
        total = await place.versions.count_documents(every, maxTimeMS=place.milliseconds)
    if not query.count:
        return [], total
    before: Filter = {} if query.before_seq is None else {"seq": {"$lt": query.before_seq}}
    where = all_of((every, before))
    assert where is not None
    return await place.read_all(await place.find(where, sort=NEWEST, limit=query.count)), total


def _asked(place: Place, query: HistoryQuery) -> Filter:
    window = place.window
    named: Document = {"t": window.tenant}
    if query.type:
        named["k"] = query.type
    if query.id:
        named["id"] = query.id
    if query.type and query.id:
        named["r"] = f"{window.tenant}/{query.type}/{query.id}"
    since: Filter = {} if query.since is None else {"at": {"$gte": query.since}}
    return all_of((named, window.kept(), since, window.at(*query.at) if query.at else {}))


async def _looked_at(place: Place, query: HistoryQuery, where: Filter, see: Visibility) -> tuple[list[Version], int]:
    """Return a page where each version must be looked at."""
    if where is None:
        return [], 0
    found: list[Version] = []
    total = 0
    documents = await place.find(where, sort=NEWEST, limit=MOST_LOOKED_AT + 1)
    if len(documents) > MOST_LOOKED_AT:
        raise TooCostly("The history is too long to be looked through: narrow it.")
    for document in documents:
        if not is_seen(document, await _said(place, document), see):
            continue
        total += 1
        if len(found) < query.count and (query.before_seq is None or document["seq"] < query.before_seq):
            found.append(await place.read(document))
    return found, total


async def _said(place: Place, document: Document) -> bytes:
    """Return what a version said; of a deletion: the version before."""
    if document["m"] != "DELETE":
        return await place.body(document)
    where = all_of(({"r": document["r"], "v": document["v"] - 1}, place.window.kept()))
    assert where is not None
    found = await place.find(where, limit=1)
    return await place.body(found[0]) if found else b""

"""The order of results and where a page ended, in the terms of the documents.

A cursor is (key of each sort ..., seq): numbers as the text that sorts as they do (`documents.number`).
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#sort
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from fhir_server.errors import BadParameter
from fhir_server.search.cursor import Place as Stand
from fhir_server.search.query import Query, Sort
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.documents import Document
from fhir_server.store.mongo.find.filters import Filter, all_of

Order: TypeAlias = "list[tuple[str, int]]"

NEWEST: Order = [("seq", -1)]


def name(sort: Sort) -> str:
    """Return the field that has the key of a sort."""
    return f"s.{keys.field(sort.parameter.code)}.{'z' if sort.descending else 'a'}"


def key(sort: Sort, document: Document) -> Any:
    """Return the key of a document; None where it has none."""
    found = document.get("s", {}).get(keys.field(sort.parameter.code))
    if found is None:
        return None
    value = found["z" if sort.descending else "a"]
    return int(value) if isinstance(value, int) else value  # not the driver's own type, which no JSON takes


def stand(sorts: Sequence[Sort], document: Document) -> Stand:
    """Return where a document stands."""
    return Stand(tuple(key(sort, document) for sort in sorts), int(document["seq"]))


def read_after(query: Query) -> Stand | None:
    """Return where the page before ended; raise BadParameter where that is of another order."""
    if query.after is None:
        return None
    *found, seq = query.after or (None,)
    fits = len(found) == len(query.sort) and isinstance(seq, int) and not isinstance(seq, bool)
    for sort, one in zip(query.sort, found, strict=False):
        fits = fits and (one is None or isinstance(one, int if sort.parameter.type == "date" else str))
    if not fits:
        raise BadParameter("The page link belongs to another search.")
    return Stand(tuple(found), seq)


def write_after(stand: Stand) -> tuple[object, ...]:
    """Return a place as JSON values."""
    return (*stand.keys, stand.seq)


class Phase:
    """A part of an order by one key at most: those that have the key, then the rest.

    Args:
        sort: The key; None for the rest, newest first.
        among: Which documents it is about.
        after: Where in it to begin; None: at its begin.
    """

    def __init__(self, sort: Sort | None, among: Filter, after: Stand | None) -> None:
        self._sort, self._among, self.after = sort, among, after

    @property
    def order(self) -> Order:
        """What to sort by."""
        return NEWEST if self._sort is None else [(name(self._sort), -1 if self._sort.descending else 1), *NEWEST]

    def where(self) -> Filter:
        """Return the filter of what is left of it."""
        if self.after is None:
            return self._among
        newer = {"seq": {"$lt": self.after.seq}}
        if self._sort is None:
            return all_of((self._among, newer))
        field, value = name(self._sort), self.after.keys[0]
        past = {field: {"$lt" if self._sort.descending else "$gt": value}}
        return all_of((self._among, {"$or": [past, {field: value, **newer}]}))


def phases(sorts: Sequence[Sort], after: Stand | None) -> list[Phase]:
    """Return the parts of an order by one key at most that are still to come."""
    if not sorts:
        return [Phase(None, {}, after)]
    (sort,) = sorts
    field = f"s.{keys.field(sort.parameter.code)}"
    rest = {field: {"$exists": False}}
    if after is not None and after.keys[0] is None:
        return [Phase(None, rest, after)]
    return [Phase(sort, {field: {"$exists": True}}, after), Phase(None, rest, None)]

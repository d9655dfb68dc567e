"""Keys of sorts over chains: `_sort=subject:Patient.family`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from fhir_server.search.query import Sort
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.documents import Document
from fhir_server.store.mongo.find.order import key

Targets: TypeAlias = Callable[[str, list[str], tuple[str, ...]], Awaitable[list[Document]]]
"""(type, ids, fields) -> the documents of those that may be seen."""

_STEP: Final = 1_000  # ids asked for at once


async def path_keys(sort: Sort, documents: Sequence[Document], targets: Targets) -> list[Any]:
    """Return the key of each document: of all values that the chain leads to, the one that comes first."""
    steps = [{one["_id"]: _ids(sort, 0, one) for one in documents}]
    ends: dict[str, Any] = {}
    for at, (_, type) in enumerate(sort.path):
        is_last = at + 1 == len(sort.path)
        wanted = sorted({id for ids in steps[-1].values() for id in ids})
        found: dict[Any, list[str]] = {}
        for start in range(0, len(wanted), _STEP):
            fields = ("id", f"s.{keys.field(sort.parameter.code)}") if is_last else ("id", "ref")
            for document in await targets(type, wanted[start : start + _STEP], fields):
                if is_last:
                    ends[document["id"]] = key(sort, document)
                else:
                    found[document["id"]] = _ids(sort, at + 1, document)
        if not is_last:
            steps.append(found)
    for step in reversed(steps[1:]):
        ends = {id: _first(sort, [ends.get(next) for next in ids]) for id, ids in step.items()}
    return [_first(sort, [ends.get(id) for id in steps[0][one["_id"]]]) for one in documents]


def _ids(sort: Sort, at: int, document: Document) -> list[str]:
    parameter, type = sort.path[at]
    start = keys.reference(parameter.code, type, "")
    return [one.removeprefix(start) for one in document.get("ref", ()) if one.startswith(start)]


def _first(sort: Sort, found: list[Any]) -> Any:
    known = [one for one in found if one is not None]
    return (max(known) if sort.descending else min(known)) if known else None

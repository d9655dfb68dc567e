"""History of what a List refers to: `_list` of the history interaction.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#history ("Only include resource versions that are referenced
in the specified list"). An entry that refers to a version stands for that version, another for all of its resource.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from fhir_server import gate
from fhir_server.errors import TooCostly
from fhir_server.interactions.includes import Index
from fhir_server.model import Version, Visibility
from fhir_server.search.values import Reference
from fhir_server.store.protocol import HistoryQuery, View
from fhir_server.store.visibility import is_visible

MOST_RESOURCES: Final = 1_000  # of a List whose history is asked for
MOST_VERSIONS: Final = 10_000
_PAGE: Final = 500


async def history(
    view: View, query: HistoryQuery, see: Visibility, list_id: str, index: Index
) -> tuple[list[Version], int]:
    """Return a page of the versions that a List refers to, newest first, and how many there are.

    A List that is not there, or not for the caller, refers to nothing.

    Args:
        view: The state.
        query: Which of them.
        see: What may be seen.
        list_id: Of the List.
        index: Gives what it refers to.

    Raises:
        TooCostly: The List refers to too much.
    """
    version = await view.read("List", list_id)
    if version is None or version.is_deleted or not is_visible(version, see):
        return [], 0
    items = index(gate.load(version.body)).values.get("item", ())
    asked = _by_resource(one for one in items if isinstance(one, Reference))
    if len(asked) > MOST_RESOURCES:
        raise TooCostly(f"The history of a List takes at most {MOST_RESOURCES:,} resources.")
    found: list[Version] = []
    for (type, id), numbers in asked.items():
        if query.type in ("", type) and query.id in ("", id):
            found += await _versions(view, replace(query, type=type, id=id), see, numbers)
        if len(found) > MOST_VERSIONS:
            raise TooCostly(f"The history of a List takes at most {MOST_VERSIONS:,} versions; ask with _since.")
    found.sort(key=lambda version: -version.seq)
    before = query.before_seq
    rest = [version for version in found if before is None or version.seq < before]
    return rest[: query.count], len(found)


def _by_resource(references: Iterable[Reference]) -> dict[tuple[str, str], set[str] | None]:
    """Return the versions asked for by (type, id); None: all."""
    made: dict[tuple[str, str], set[str] | None] = {}
    for one in references:
        if one.type and one.id and not one.url:
            key = (one.type, one.id)
            numbers = made.setdefault(key, set())
            if not one.version:
                made[key] = None
            elif numbers is not None:
                numbers.add(one.version)
    return made


async def _versions(view: View, query: HistoryQuery, see: Visibility, numbers: set[str] | None) -> list[Version]:
    asked = replace(query, before_seq=None, count=_PAGE, total=False)
    found: list[Version] = []
    while True:
        page, _ = await view.history(asked, see=see)
        found += [version for version in page if numbers is None or str(version.version) in numbers]
        if len(page) < _PAGE:
            return found
        asked = replace(asked, before_seq=page[-1].seq)

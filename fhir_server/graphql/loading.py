"""Resources for a query: read and searched as the caller, within budgets, each access audited.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/graphql.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from fhir_server import gate
from fhir_server.errors import FhirError
from fhir_server.graphql.failures import QueryError, TooMuch, shown
from fhir_server.interactions.core import Hub
from fhir_server.model import Actor, Resource, Version, Visibility
from fhir_server.search.parameters import parameter
from fhir_server.search.readers import reference_parser
from fhir_server.store.protocol import View
from fhir_server.store.visibility import is_visible

MOST_LOADED: Final = 2_000  # resources that one request reads
MOST_SEARCHES: Final = 250
_PAGE_SIZES: Final = ("_count", "pagesize", "pageSize", "first")
_CURSORS: Final = ("cursor", "_cursor")  # R4's page has both names
_NOT_TAKEN: Final = frozenset(
    {"_include", "_revinclude", "_summary", "_elements", "_contained", "_total", "_totalMethod", "_offset"}
)


class Loaded(NamedTuple):
    """A page of a search."""

    resources: list[Resource]
    total: int | None
    size: int
    next: str | None  # cursor of the next page


class Loader:
    """Reads for one request, over one state.

    Args:
        hub: The core.
        view: The state.
        see: What the caller may see.
        actor: The caller.
        request_id: For the audit.
    """

    def __init__(self, hub: Hub, view: View, see: Visibility, actor: Actor, request_id: str) -> None:
        self._hub, self._view, self._see, self._actor, self._request_id = hub, view, see, actor, request_id
        self._parse = reference_parser(hub.base_url)
        self._kept: dict[tuple[str, str], Resource | None] = {}
        self._loaded = self._searches = 0

    async def read(self, type: str, id: str) -> Resource | None:
        """Return a resource; None where the caller may know of none. Each is read and audited once."""
        key = (type, id)
        if key not in self._kept:
            if not self._actor.may("r", type):
                raise QueryError(f"The token's scopes do not allow to read {type}.")
            self._spend(1)
            version = await self._view.read(type, id)
            is_there = version is not None and not version.is_deleted and is_visible(version, self._see)
            owners = version.owners if version is not None and is_there else ()
            self._hub.audit(self._actor, "R", "read", f"{type}/{id}", owners, 0 if is_there else 4, self._request_id)
            self._kept[key] = gate.load(version.body) if version is not None and is_there else None
        return self._kept[key]

    async def follow(self, reference: Mapping[str, Any], within: Resource | None) -> Resource | None:
        """Return what a Reference of a resource leads to; None where that is nothing the caller may know of."""
        text = reference.get("reference")
        if not isinstance(text, str):
            return None
        if text.startswith("#"):
            contained = (within or {}).get("contained", ())
            return next((one for one in contained if one.get("id") == text[1:]), None)
        found = self._parse(text)
        if found is None or found.url or not found.id:
            return None
        return await self.read(found.type, found.id)

    async def search(
        self, type: str, arguments: Mapping[str, Any], *, about: str = "", counted: bool = False, whole: bool = False
    ) -> Loaded:
        """Search as over HTTP.

        Args:
            type: The resource type.
            arguments: Search parameters, with _ for - in their names; a list of values is joined by OR.
            about: `Type/id` that `_reference` says how to refer to.
            counted: Whether the total is wanted.
            whole: Whether all matches are wanted, where no page size is given; too many are an error.
        """
        self._searches += 1
        if self._searches > MOST_SEARCHES:
            raise TooMuch(f"The query makes more than {MOST_SEARCHES} searches.")
        if not self._actor.may("s", type):
            raise QueryError(f"The token's scopes do not allow to search {type}.")
        pairs, cursor, has_size = _pairs(type, arguments, about)
        room = MOST_LOADED - self._loaded
        after = None
        try:
            if cursor is not None:
                pairs, after = self._continued(type, pairs, cursor)
            query = self._hub.query(type, pairs)
            asked = replace(query, total="accurate" if counted else "none", includes=())
            if whole and not has_size:
                asked = replace(asked, count=min(room + 1, 1_000))
            if after is not None:
                asked = replace(asked, after=after)
            found = await self._view.search(asked, see=self._see)
        except FhirError as error:
            raise QueryError(error.text) from None
        if whole and not has_size and found.after is not None:
            raise TooMuch(f"{type}List matches too many: give _count, or page with {type}Connection.")
        self._spend(len(found.versions))
        self._audit(type, pairs, found.versions)
        next = None
        if found.after is not None:
            next = self._hub.cursors.write((pairs, found.after), self._actor, _bound(type))
        return Loaded([self._keep(version) for version in found.versions], found.total, asked.count, next)

    def _continued(
        self, type: str, pairs: list[tuple[str, str]], cursor: str
    ) -> tuple[list[tuple[str, str]], tuple[Any, ...]]:
        """Return the search that a cursor goes on with, and where: whoever sends one need not repeat the search.

        Source: https://hl7.org/fhir/R4/graphql.html#searching ("should not specify them when providing a cursor")
        """
        kept, after = self._hub.cursors.read(cursor, self._actor, _bound(type))
        own = [(name, value) for name, value in kept]
        if not {pair for pair in pairs if pair[0] != "_count"} <= set(own):
            raise QueryError("A cursor goes on with its own search: leave its parameters out, or as they were.")
        if sizes := [pair for pair in pairs if pair[0] == "_count"]:
            own = [pair for pair in own if pair[0] != "_count"] + sizes
        return own, tuple(after)

    def _keep(self, version: Version) -> Resource:
        resource = gate.load(version.body)
        self._kept[version.type, version.id] = resource
        return resource

    def _spend(self, resources: int) -> None:
        self._loaded += resources
        if self._loaded > MOST_LOADED:
            raise TooMuch(f"The query reads more than {MOST_LOADED} resources.")

    def _audit(self, type: str, pairs: Sequence[tuple[str, str]], versions: Sequence[Version]) -> None:
        owners = {owner for version in versions for owner in version.owners}
        text = "&".join(f"{name}={value}" for name, value in pairs)
        self._hub.audit(self._actor, "E", "search", type, tuple(sorted(owners)), 0, self._request_id, text)


def _pairs(type: str, arguments: Mapping[str, Any], about: str) -> tuple[list[tuple[str, str]], str | None, bool]:
    """Return search parameters, the cursor, and whether a page size is given."""
    pairs: list[tuple[str, str]] = []
    cursor = None
    for name, value in arguments.items():
        if name in _NOT_TAKEN:
            raise QueryError(f"A search in GraphQL takes no '{shown(name)}'.")
        if name == "fhirpath" or value is None:
            continue
        if name in _CURSORS:
            cursor = _text(value)
        elif name == "_reference":
            if not about:
                raise QueryError("_reference is for searches inside of a resource.")
            pairs.append((_code(type, _text(value)), about))
        elif name in _PAGE_SIZES and parameter(type, name) is None:
            pairs.append(("_count", _text(value)))
        else:
            values = value if isinstance(value, list) else [value]
            pairs.append((_code(type, name), ",".join(_text(item) for item in values)))
    if about and not any(name == "_reference" for name in arguments):
        raise QueryError("A search inside of a resource says by _reference how its matches refer to it.")
    return pairs, cursor, any(name == "_count" for name, _ in pairs)


def _bound(type: str) -> str:
    return f"$graphql {type}"


def _code(type: str, name: str) -> str:
    """Return the search parameter that a name stands for: GraphQL's names have _ where FHIR's have -."""
    if parameter(type, name) is not None or name.startswith("_"):
        return name
    return name.replace("_", "-")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

"""A query run over resources.

Source: https://spec.graphql.org/October2021/#sec-Execution, and FHIR R4 4.0.1, https://hl7.org/fhir/R4/graphql.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from fhir_server.definitions import resource_types
from fhir_server.graphql.checking import named_types
from fhir_server.graphql.collating import Collated, Slot
from fhir_server.graphql.failures import QueryError, TooMuch
from fhir_server.graphql.fields import ANY, SYSTEM, Shape, shape_of
from fhir_server.graphql.filters import Paths, chosen
from fhir_server.graphql.loading import Loader
from fhir_server.graphql.syntax import Document, Field, Inline, Query, Selection
from fhir_server.graphql.variables import resolved
from fhir_server.model import Resource

MOST_VALUES: Final = 200_000  # fields that an answer fills
_PAUSE: Final = 2_000  # fields after which others are served

_ABSTRACT: Final = frozenset({"Resource", "DomainResource"})


class Item(NamedTuple):
    """Something that fields are selected on."""

    value: Any  # FHIR JSON of an object
    type: str  # as `fields` writes it
    resource: Resource | None  # that it stands in


@dataclass(frozen=True, slots=True)
class _Place:
    """Where values go."""

    target: Collated
    is_list: bool = False  # whether an element around was a list that is flattened
    is_flat: bool = False  # whether some element around is flattened
    suffix: str = ""  # of names, by @slice
    path: tuple[str, ...] = ()


async def execute(
    document: Document, query: Query, variables: Mapping[str, Any], root: Item, loader: Loader
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Run a checked query.

    Returns:
        The data, and errors of fields that could not be filled; those are null.

    Raises:
        TooMuch: The query costs more than its bounds.
    """
    running = _Running(document, variables, loader)
    target = Collated()
    await running.fill(root, query.selection, _Place(target))
    try:
        return target.written(), running.errors
    except QueryError as error:
        return None, [*running.errors, error.written()]


class _Running:
    def __init__(self, document: Document, variables: Mapping[str, Any], loader: Loader) -> None:
        self._document, self._variables, self._loader = document, variables, loader
        self._paths = Paths()
        self._filled = 0
        self.errors: list[dict[str, Any]] = []

    # --- selections ---------------------------------------------------------------------------------------

    async def fill(self, item: Item, selection: tuple[Selection, ...], place: _Place) -> None:
        """Fill what is selected on an item."""
        for field in self._collected(item, selection):
            self._filled += 1
            if self._filled > MOST_VALUES:
                raise TooMuch(f"The answer has more than {MOST_VALUES} fields.")
            if self._filled % _PAUSE == 0:
                await asyncio.sleep(0)
            shape = shape_of(item.type, field.name)
            here = replace(place, path=(*place.path, field.alias))
            if shape is None:  # another of the types that may stand here has it
                self._slot(field, here, is_list=False)
                continue
            try:
                await self._field(item, field, shape, here)
            except TooMuch:
                raise
            except QueryError as error:
                self._slot(field, here, is_list=False)
                self.errors.append(QueryError(error.text, error.at or field.at).written() | {"path": list(here.path)})

    def _collected(self, item: Item, selection: tuple[Selection, ...]) -> list[Field]:
        """Return the fields of a selection that apply, each name once, with all that is selected of it.

        `resource(type: …)` of several types stands under one name: the reference leads to one of them.
        """
        found: dict[tuple[str, frozenset[str]], Field] = {}
        for field in self._applying(item, selection):
            key = (field.alias, named_types(field) if field.name == "resource" else frozenset())
            known = found.get(key)
            if known is None:
                found[key] = field
            elif field.selection:
                found[key] = replace(known, selection=known.selection + field.selection)
        return list(found.values())

    def _applying(self, item: Item, selection: tuple[Selection, ...]) -> Iterator[Field]:
        for each in selection:
            if not self._is_included(each):
                continue
            if isinstance(each, Field):
                yield each
                continue
            fragment = each if isinstance(each, Inline) else self._document.fragments[each.name]
            if not fragment.type or _is_a(item.type, fragment.type):
                yield from self._applying(item, fragment.selection)

    def _is_included(self, each: Selection) -> bool:
        for directive in each.directives:
            if directive.name in ("include", "skip"):
                condition = resolved(directive.arguments["if"], self._variables)
                if not isinstance(condition, bool):
                    raise QueryError(f"@{directive.name} takes true or false.", directive.at)
                if condition != (directive.name == "include"):
                    return False
        return True

    # --- fields -------------------------------------------------------------------------------------------

    async def _field(self, item: Item, field: Field, shape: Shape, place: _Place) -> None:
        arguments = {name: resolved(value, self._variables) for name, value in field.arguments.items()}
        match shape.role:
            case "value":
                self._put(field, _plain(item, field.name), place)
            case "single":
                await self._single(field, arguments, place)
            case "resource":
                await self._reference(item, field, arguments, place)
            case "list":
                await self._list(item, field, shape, arguments, place)
            case "connection":
                await self._connection(item, field, shape, arguments, place)
            case "edges":
                (type,) = shape.types
                await self._objects(
                    field, [Item(edge, type, None) for edge in item.value["edges"]], place, is_search=True
                )
            case "extra":
                await self._extras(item, field, shape, arguments, place)
            case _:
                await self._elements(item, field, shape, arguments, place)

    def _put(self, field: Field, value: Any, place: _Place, *, is_list: bool = False) -> None:
        slot = self._slot(field, place, is_list=is_list)
        values = value if isinstance(value, list) else [value]
        kept = [one for one in values if one is not None]
        slot.values += kept[:1] if field.directive("first") else kept

    def _slot(self, field: Field, place: _Place, *, is_list: bool) -> Slot:
        return place.target.slot(
            field.alias + place.suffix,
            is_list=(is_list and not field.directive("first")) or place.is_list,
            is_single=field.directive("singleton") is not None,
            is_null=not place.is_flat and field.directive("flatten") is None,
        )

    async def _elements(
        self, item: Item, field: Field, shape: Shape, arguments: Mapping[str, Any], place: _Place
    ) -> None:
        found = item.value.get(field.name)
        values = found if isinstance(found, list) else [] if found is None else [found]
        if shape.is_scalar:
            self._put(field, chosen(values, arguments, "", item.resource, self._paths), place, is_list=shape.is_list)
            return
        (type,) = shape.types
        kept = chosen(values, arguments, type, item.resource, self._paths)
        items = [Item(value, _own_type(value, type), _within(value, item.resource)) for value in kept]
        await self._objects(field, items, place, is_list=shape.is_list)

    async def _extras(
        self, item: Item, field: Field, shape: Shape, arguments: Mapping[str, Any], place: _Place
    ) -> None:
        found = item.value.get(field.name)
        values = found if isinstance(found, list) else [found]
        kept = chosen(
            [value for value in values if value is not None], arguments, "Element", item.resource, self._paths
        )
        await self._objects(
            field, [Item(value, "Element", item.resource) for value in kept], place, is_list=shape.is_list
        )

    async def _objects(
        self, field: Field, items: list[Item], place: _Place, *, is_list: bool = True, is_search: bool = False
    ) -> None:
        """Fill a field that has fields, once for each of its elements."""
        kept = items[:1] if field.directive("first") else items
        slicing, is_flat = field.directive("slice"), field.directive("flatten") is not None
        if not is_flat and slicing is None:
            self._slot(field, place, is_list=is_list).is_found = is_search
        for index, item in enumerate(kept):
            suffix = place.suffix
            if slicing is not None:
                (expression,) = slicing.arguments.values()
                suffix += f".{self._slice(str(resolved(expression, self._variables)), item, index)}"
            if is_flat:
                many = place.is_list or (is_list and field.directive("first") is None)
                inside = replace(place, is_list=many and field.directive("singleton") is None, is_flat=True)
                await self.fill(item, field.selection, replace(inside, suffix=suffix))
                continue
            made = Collated()
            self._slot(field, replace(place, suffix=suffix), is_list=is_list and slicing is None).values.append(made)
            await self.fill(item, field.selection, _Place(made, path=place.path))

    def _slice(self, expression: str, item: Item, index: int) -> str:
        if expression == "$index":
            return str(index)
        return self._paths.text(expression, item.value, item.type, item.resource)

    # --- resources ----------------------------------------------------------------------------------------

    async def _single(self, field: Field, arguments: Mapping[str, Any], place: _Place) -> None:
        (id,) = arguments.values()
        if not isinstance(id, (str, int)) or isinstance(id, bool) or (found := await self._read(field, id)) is None:
            raise QueryError(f"There is no such {field.name}.", field.at)
        await self._objects(field, [Item(found, field.name, found)], place, is_list=False)

    async def _read(self, field: Field, id: str | int) -> Resource | None:
        return await self._loader.read(field.name, str(id))

    async def _reference(self, item: Item, field: Field, arguments: Mapping[str, Any], place: _Place) -> None:
        found = await self._loader.follow(item.value, item.resource)
        if found is None and arguments.get("optional") is not True:
            raise QueryError("The reference leads to no resource here: say optional: true where that may be.", field.at)
        wanted = arguments.get("type")
        types = wanted if isinstance(wanted, list) else [wanted]
        if found is not None and wanted is not None and found["resourceType"] not in types:
            found = None
        contained = item.resource if found is not None and "id" in found and _is_contained(item) else found
        items = [Item(found, found["resourceType"], contained)] if found is not None else []
        await self._objects(field, items, place, is_list=False)

    async def _list(self, item: Item, field: Field, shape: Shape, arguments: Mapping[str, Any], place: _Place) -> None:
        loaded = await self._loader.search(shape.base, arguments, about=_about(item), whole=True)
        kept = loaded.resources
        if isinstance(expression := arguments.get("fhirpath"), str):
            kept = [one for one in kept if self._paths.holds(expression, one, shape.base, one)]
        await self._objects(field, [Item(one, shape.base, one) for one in kept], place, is_search=True)

    async def _connection(
        self, item: Item, field: Field, shape: Shape, arguments: Mapping[str, Any], place: _Place
    ) -> None:
        (type,) = shape.types
        counted = any(each.name == "count" for each in self._applying(item._replace(type=type), field.selection))
        loaded = await self._loader.search(shape.base, arguments, about=_about(item), counted=counted)
        page = {
            "count": loaded.total,
            "pagesize": loaded.size,
            "next": loaded.next,
            "edges": [{"mode": "match", "resource": resource} for resource in loaded.resources],
        }
        await self._objects(field, [Item(page, type, None)], place, is_list=False)


def _plain(item: Item, name: str) -> Any:
    """Return a value that is no element of R4: of a page, or the name of a type."""
    if name == "__typename":
        return "Query" if item.type == SYSTEM else item.type.partition(":")[0].replace("#", "").replace(".", "_")
    return item.value.get(name)


def _about(item: Item) -> str:
    """Return `Type/id` of the resource that a search is inside of; "" at the root of the system."""
    return f"{item.type}/{item.value['id']}" if item.type in resource_types() and "id" in item.value else ""


def _is_a(type: str, condition: str) -> bool:
    bare = type.partition(":")[0]
    return bare == condition or (condition in _ABSTRACT and bare in resource_types())


def _own_type(value: Any, type: str) -> str:
    return str(value.get("resourceType", type)) if type == ANY and isinstance(value, dict) else type


def _within(value: Any, resource: Resource | None) -> Resource | None:
    """Return the resource that an element stands in: a contained one refers to its siblings."""
    return value if isinstance(value, dict) and "resourceType" in value and resource is None else resource


def _is_contained(item: Item) -> bool:
    text = item.value.get("reference")
    return isinstance(text, str) and text.startswith("#")

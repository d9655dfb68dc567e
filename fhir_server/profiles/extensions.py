"""The extensions of a resource beside the definitions of them that are known here.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/defining-extensions.html#context
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from fhir_server import fhirpath
from fhir_server.definitions import is_structure, resource_types, structure
from fhir_server.fhirpath.nodes import Environment, Node
from fhir_server.fhirpath.types import ancestors
from fhir_server.profiles.check import MOST_FHIRPATH, check
from fhir_server.profiles.findings import Item, Run, below, text_of
from fhir_server.profiles.part import Profile, bare

MOST_URLS: Final = 200  # different extensions that are looked up of one resource
_NAMES: Final = ("extension", "modifierExtension")


class Used(NamedTuple):
    """An extension where it is used."""

    item: Item
    is_modifier: bool  # whether it stands in modifierExtension
    places: frozenset[str]  # what contexts may call the element that it stands at
    within: str  # url of the extension that it stands in; "" outside of one
    holder: Node  # the element that it stands at


def check_extensions(run: Run, resource: Item) -> None:
    """Check every extension whose definition is known: its value, its parts, where it stands."""
    if not _has_extension(resource.node.value):
        return
    urls: set[str] = set()
    for used in find(run, resource, frozenset(), ""):
        url = text_of(used.item.node.value.get("url")) if used.item.node.value.__class__ is dict else ""
        if ":" not in url or (url not in urls and len(urls) >= MOST_URLS):
            continue
        urls.add(url)
        profile = run.profile(url)
        if profile is None:
            if used.is_modifier and url not in run.missing_profiles:
                run.report("extension", "This modifier extension is not known here.", used.item.where, "warning")
            continue
        if profile.type != "Extension":
            run.report("extension", "The url names no extension.", used.item.where)
            continue
        check(run, profile, used.item)
        _check_place(run, profile, used)


def _check_place(run: Run, profile: Profile, used: Used) -> None:
    if used.is_modifier is not profile.is_modifier and not used.within:
        kind = "a modifierExtension" if profile.is_modifier else "an extension"
        run.report("extension", f"{profile.url} is {kind}.", used.item.where)
    if profile.contexts and not any(_allows(run, kind, text, used) for kind, text in profile.contexts):
        run.report("extension", f"{profile.url} is not for use on this element.", used.item.where)


def _allows(run: Run, kind: str, expression: str, used: Used) -> bool:
    """Whether a context lets an extension stand here; one that cannot be judged lets it."""
    if kind == "extension":  # a part of an extension has a name alone, by which nothing is told apart
        return bare(expression) == used.within or (":" not in used.within and bool(used.within))
    if kind == "fhirpath":
        return _is_among(run, expression, used.holder)
    path = expression.replace("[x]", "")
    if kind != "element" or path == "Element" or not is_structure(path.partition(".")[0]):
        return True
    return path in used.places


def _is_among(run: Run, expression: str, holder: Node) -> bool:
    """Whether an element is one that a path from the resource leads to."""
    run.spend()
    environment = Environment(resolver=run.entries.get, most_steps=MOST_FHIRPATH)
    try:
        found = fhirpath.compile(expression).items(run.resource, root=run.root, environment=environment)
    except (fhirpath.EvaluationError, fhirpath.InvalidExpression):
        return True
    nodes = [item for item in found if isinstance(item, Node)]
    if holder.value.__class__ is dict:
        return any(item.value is holder.value for item in nodes)
    return any(item.extra is holder.extra for item in nodes)


def find(run: Run, item: Item, places: frozenset[str], within: str) -> Iterator[Used]:
    """Yield every extension at and below an element; contained resources and entries' are other resources."""
    run.spend()
    node = item.node
    own = places | {name.replace("[x]", "") for name in ancestors(node.type)}
    for name in _NAMES:
        for found in below(item, name):
            yield Used(found, name == "modifierExtension", own, within, node)
            url = text_of(found.node.value.get("url")) if found.node.value.__class__ is dict else ""
            yield from find(run, found, frozenset(), url)
    if node.value.__class__ is not dict or not is_structure(node.type):
        return
    for name in structure(node.type).elements:
        if name in _NAMES:
            continue
        for found in below(item, name):
            if not _has_extension(found.node.value) and not found.node.extra:
                continue
            if found.node.type in resource_types() or (found.node.value.__class__ is not dict and not found.node.extra):
                continue
            yield from find(run, found, frozenset(f"{place}.{name}" for place in own), within)


def _has_extension(value: Any) -> bool:
    """Whether an extension stands anywhere in it: most resources and elements have none, and are not walked."""
    if value.__class__ is dict:
        return "extension" in value or "modifierExtension" in value or any(map(_has_extension, value.values()))
    return value.__class__ is list and any(map(_has_extension, value))


def root_of(resource: dict[str, object]) -> Item:
    """Return a resource as an item."""
    type = text_of(resource.get("resourceType"))
    return Item(Node(resource, type), type)

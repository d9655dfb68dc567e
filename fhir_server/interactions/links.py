"""References inside a transaction: urn:uuid links and conditional references become `Type/id`.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fhir_server.model import Resource


class Links(dict[str, str]):
    """fullUrl or conditional reference -> `Type/id`."""

    def add(self, name: str, target: str) -> None:
        """Take in a link."""
        self[name] = target


def conditional_references(resource: Resource) -> set[str]:
    """Return the `Type?query` references anywhere in a resource; a url may stand in the query, never before it."""
    found: set[str] = set()
    _replaced(resource, {}, found)
    return found


def relinked(resource: Resource, links: Mapping[str, str]) -> Resource:
    """Return the resource with every text that is a key of `links` replaced; shared parts are not changed.

    A conditional reference is one in `Reference.reference` only. In a narrative the quoted urn:uuid links are
    replaced too.
    """
    made: Resource = _replaced(resource, links, set())
    return made


def linked(resource: Resource, links: Mapping[str, str]) -> tuple[Resource, set[str]]:
    """Return the resource as `relinked` does, and the conditional references that `links` does not know."""
    unknown: set[str] = set()
    made: Resource = _replaced(resource, links, unknown)
    return made, unknown


def _replaced(value: Any, links: Mapping[str, str], unknown: set[str]) -> Any:
    """Return a value with its links replaced, itself where there are none; conditions without one go to `unknown`.

    Only what changes is copied. Each of some hundred values is looked at, so the common ones are told apart first.
    """
    made: Any = None
    target: Any  # a text or what is inside: compiled, a name has the type of what it is given first
    for name, item in value.items() if value.__class__ is dict else enumerate(value):
        kind = item.__class__
        if kind is str:
            target = links.get(item)
            if target is None:
                if name == "reference":
                    if "?" in item and _is_condition(item):
                        unknown.add(item)
                    continue
                if item[:4] != "<div" or "urn:uuid:" not in item:
                    continue
                target = _replaced_in_narrative(item, links)
            elif name != "reference" and _is_condition(item):
                continue
        elif kind is dict or kind is list:
            target = _replaced(item, links, unknown)
            if target is item:
                continue
        else:
            continue
        if made is None:
            made = value.copy()
        made[name] = target
    return value if made is None else made


def _is_condition(name: str) -> bool:
    return name.partition("?")[0].isalpha() and "?" in name


def _replaced_in_narrative(text: str, links: Mapping[str, str]) -> str:
    for name, reference in links.items():
        text = text.replace(f'"{name}"', f'"{reference}"')
    return text


async def resolve(resource: Resource, links: Links, find: Callable[[str], Awaitable[str]]) -> Resource:
    """Return the resource with its links replaced; what conditional references mean is added to `links` first.

    Args:
        resource: Not changed.
        links: What is known.
        find: Conditional reference -> `Type/id`.
    """
    made, unknown = linked(resource, links)
    if not unknown:
        return made
    for reference in unknown:
        links.add(reference, await find(reference))
    return relinked(resource, links)

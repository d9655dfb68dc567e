"""References inside a transaction: urn:uuid links and conditional references become `Type/id`.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fhir_server.model import Resource


def conditional_references(value: Any) -> set[str]:
    """Return the `Type?query` references anywhere below a value."""
    found: set[str] = set()
    _collect(value, found)
    return found


def _collect(value: Any, found: set[str]) -> None:
    if isinstance(value, dict):
        reference = value.get("reference")
        if isinstance(reference, str) and _is_conditional(reference):
            found.add(reference)
        for item in value.values():
            if isinstance(item, (dict, list)):
                _collect(item, found)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, (dict, list)):
                _collect(item, found)


def _is_conditional(reference: str) -> bool:
    """Whether a reference is `Type?query`; a url may stand in the query, as in `Patient?identifier=http://x|1`."""
    type, mark, _ = reference.partition("?")
    return bool(mark) and type.isalpha()


def relinked(resource: Resource, links: Mapping[str, str]) -> Resource:
    """Return the resource with every text that is a key of `links` replaced; shared parts are not changed."""
    made: Resource = _replace(resource, links)
    return made


def _replace(value: Any, links: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _replace(item, links) for name, item in value.items()}
    if isinstance(value, list):
        return [_replace(item, links) for item in value]
    if isinstance(value, str):
        if value in links:
            return links[value]
        if "urn:uuid:" in value and value.startswith("<div"):
            return _replace_in_narrative(value, links)
    return value


def _replace_in_narrative(text: str, links: Mapping[str, str]) -> str:
    for name, reference in links.items():
        text = text.replace(f'"{name}"', f'"{reference}"')
    return text


async def resolve(resource: Resource, links: dict[str, str], find: Callable[[str], Awaitable[str]]) -> None:
    """Add to `links` the target of each conditional reference that is not there yet."""
    for reference in conditional_references(resource):
        if reference not in links:
            links[reference] = await find(reference)

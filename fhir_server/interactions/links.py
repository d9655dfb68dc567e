"""References inside a transaction: urn:uuid links and conditional references become `Type/id`.

A resource is searched and rewritten as JSON text: a pattern finds the few strings that may be links, where a walk
would look at each of a hundred values. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fhir_server import gate
from fhir_server.model import Resource

_CONDITION: Final = re.compile(rb'"reference":("[^"\\?]*\?(?:[^"\\]|\\.)*")')
_LINK: Final = re.compile(rb'"((?:[a-z][a-z0-9+.\-]*:|[A-Z][A-Za-z]*\?)[^"\\]*)"')
"""A string that may be a link: it begins as an absolute url, a urn or `Type?`, and has nothing escaped."""
_URN: Final = re.compile(rb'"(urn:uuid:[^"\\]*)"')
_REFERENCE: Final = re.compile(rb'"reference":"([A-Z][A-Za-z]*\?[^"\\]*)"')
"""The usual links, found fast since the patterns begin with plain text."""
_PLAIN: Final = re.compile(r'(?:[a-z][a-z0-9+.\-]*:|[A-Z][A-Za-z]*\?)[^"\\\x00-\x1f]*')
"""A link that `_LINK` finds."""


class Links(dict[str, str]):
    """fullUrl or conditional reference -> `Type/id`; add to it by `add` only."""

    is_plain = True  # whether `_LINK` finds all of them
    is_usual = True  # whether they are urn:uuid links and conditions of references

    def add(self, name: str, target: str) -> None:
        """Take in a link."""
        self.is_plain = self.is_plain and _PLAIN.fullmatch(name) is not None
        self.is_usual = self.is_usual and (name.startswith("urn:uuid:") or "?" in name.partition(":")[0])
        self[name] = target


def conditional_references(resource: Resource) -> set[str]:
    """Return the `Type?query` references anywhere in a resource; a url may stand in the query, never before it."""
    return _conditions(gate.write(resource))


def _conditions(body: bytes) -> set[str]:
    if b"?" not in body:
        return set()
    found = {str(gate.load(text)) for text in _CONDITION.findall(body)}
    return {text for text in found if text.partition("?")[0].isalpha()}


def relinked(resource: Resource, links: Links) -> Resource:
    """Return the resource with every text that is a key of `links` replaced; shared parts are not changed.

    In a narrative the quoted urn:uuid links are replaced too.
    """
    return _relinked(resource, gate.write(resource), links)


def _relinked(resource: Resource, text: bytes, links: Links) -> Resource:
    if links.is_usual and b"urn:uuid:" not in text and b"?" not in text:
        return resource
    if not links.is_plain or b'\\"urn:uuid:' in text:
        made: Resource = _replace(resource, links)
        return made
    changed = False

    def replace(found: re.Match[bytes]) -> bytes:
        nonlocal changed
        target = links.get(found[1].decode())
        if target is None:
            return found[0]
        changed = True
        return found[0][: found.start(1) - found.start() - 1] + gate.write(target)

    text = _REFERENCE.sub(replace, _URN.sub(replace, text)) if links.is_usual else _LINK.sub(replace, text)
    return gate.load(text) if changed else resource


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


async def resolve(resource: Resource, links: Links, find: Callable[[str], Awaitable[str]]) -> Resource:
    """Return the resource with its links replaced; what conditional references mean is added to `links` first.

    Args:
        resource: Not changed.
        links: What is known.
        find: Conditional reference -> `Type/id`.
    """
    body = gate.write(resource)
    for reference in _conditions(body):
        if reference not in links:
            links.add(reference, await find(reference))
    return _relinked(resource, body, links) if links else resource

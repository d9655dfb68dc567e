"""References inside a transaction: urn:uuid links and conditional references become `Type/id`.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from fhir_server.model import Resource

_URIS: Final = """
    address authority authorizationUrl contentReference defaultValueOid defaultValueUri defaultValueUrl defaultValueUuid
    definition definitionUri derivedFromUri detail endpoint eventUri fixedOid fixedUri fixedUrl fixedUuid instantiates
    instantiatesUri issuer link location moduleUri nameUrl onlineInformation patternOid patternUri patternUrl
    patternUuid policy protocol reference relativePath rendering source sourceUri target targetUri uri url valueOid
    valueUri valueUrl valueUuid
"""
LINKING: Final = frozenset(_URIS.split())
"""Elements of R4 that may be a uri, url, oid or uuid: there a link is replaced, in texts and canonicals it is not."""

NAMING: Final = frozenset(
    ("code", "fullUrl", "identifier", "implicitRules", "jurisdiction", "property", "system", "type")
)
"""Those of them that say what something is in place of where something is: left as they are."""

_RESTFUL: Final = re.compile(r"(https?://.+/)([A-Za-z]+/[A-Za-z0-9\-.]{1,64})\Z")
_QUOTED: Final = re.compile(r'"([^"<>]+)"')


class Links(dict[str, str]):
    """fullUrl or conditional reference -> `Type/id`.

    Args:
        known: Links that are known already.
    """

    def __init__(self, known: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(known)
        self._relative: dict[str, dict[str, str]] = {}  # base -> `Type/id` below it -> `Type/id`
        self._below: dict[str, Links] = {}

    def add(self, name: str, target: str) -> None:
        """Take in a link."""
        self[name] = target
        if name[:4] == "http" and (found := _RESTFUL.match(name)) is not None and found[2] != target:
            self._relative.setdefault(found[1], {})[found[2]] = target

    def of(self, full_url: str) -> Links:
        """Return the links as the resource under a fullUrl writes them: a relative reference is to its own base.

        Source: https://hl7.org/fhir/R4/bundle.html#references
        """
        if not self._relative or (found := _RESTFUL.match(full_url)) is None or found[1] not in self._relative:
            return self
        base = found[1]
        if base not in self._below:
            self._below[base] = Links({**self, **self._relative[base]})
        return self._below[base]


def conditional_references(resource: Resource) -> set[str]:
    """Return the `Type?query` references anywhere in a resource; a url may stand in the query, never before it."""
    found: set[str] = set()
    _replaced(resource, {}, found)
    return found


def relinked(resource: Resource, links: Mapping[str, str]) -> Resource:
    """Return the resource with every link that is a key of `links` replaced; shared parts are not changed.

    A conditional reference is one in `Reference.reference` only. In a narrative the quoted links are replaced too.
    """
    return linked(resource, links)[0]


def linked(resource: Resource, links: Mapping[str, str]) -> tuple[Resource, set[str]]:
    """Return the resource as `relinked` does, and the conditional references that `links` does not know."""
    unknown: set[str] = set()
    made: Resource = _replaced(resource, links, unknown)
    if made is not resource and "url" in resource and made["url"] != resource["url"]:
        made["url"] = resource["url"]  # a canonical url names its resource: many a fullUrl is the same
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
                if item[:4] != "<div" or ('href="' not in item and 'src="' not in item):
                    continue
                target = _QUOTED.sub(lambda found: f'"{links.get(found[1], found[1])}"', item)
            elif name != "reference" and not _is_link(name, item, value):
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


def _is_link(name: str | int, text: str, holder: Any) -> bool:
    """Whether a text that reads like a link is one where it stands, in an element or in a list."""
    if not isinstance(name, str):
        return text[:4] == "urn:"  # the other lists of texts are canonicals and words
    if name == "url" and "contentType" not in holder:  # an extension's url says what it is, an attachment's leads there
        return not any(key == "extension" or key.startswith(("value", "_value")) for key in holder)
    return name in LINKING and not _is_condition(text)


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

"""What resources refer to: the practitioners, organisations, medications that a record needs to be read.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/references.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from fhir_server import gate
from fhir_server.model import Resource, Version, Visibility
from fhir_server.search.readers import reference_parser
from fhir_server.store.protocol import View
from fhir_server.store.visibility import is_visible

_READS: Final = 5  # for each resource that may be returned


class Followed(NamedTuple):
    """What was reached from some resources."""

    versions: list[Version]  # each once, in the order in which they were reached; the starts not among them
    cut: bool  # whether there would be more than the bound


class References:
    """Reads and follows references to resources of this server.

    Args:
        base_url: Of this server's FHIR root; absolute references below it are local ones.
    """

    def __init__(self, base_url: str) -> None:
        self._parse = reference_parser(base_url)

    def of(self, resource: Resource) -> Iterator[tuple[str, str]]:
        """Yield (type, id) of each resource of this server that is referred to, attachments in Binaries too."""
        for text in _texts(resource):
            found = self._parse(text)
            if found is not None and found.id and not found.url:
                yield found.type, found.id

    async def follow(
        self,
        view: View,
        see: Visibility,
        starts: Sequence[Version],
        *,
        takes: Callable[[Version], bool],
        most: int,
        hops: int = 8,
    ) -> Followed:
        """Return what `starts` refer to, and what that refers to in turn.

        Args:
            view: The state.
            see: What the caller may see; nothing else is read on.
            starts: Where to begin.
            takes: Whether a resource that may be seen is wanted; what is not is not followed.
            most: Bound of the resources returned; five times as many are read.
            hops: Bound of references in a row.
        """
        known = {(version.type, version.id) for version in starts}
        made: list[Version] = []
        fresh: Sequence[Version] = starts
        reads = _READS * most
        while fresh and hops > 0:
            hops -= 1
            added: list[Version] = []
            for key in self._fresh(fresh, known):
                if (reads := reads - 1) < 0:
                    return Followed(made + added, cut=True)
                version = await view.read(*key)
                if version is None or version.is_deleted or not is_visible(version, see) or not takes(version):
                    continue
                if len(made) + len(added) >= most:
                    return Followed(made + added, cut=True)
                added.append(version)
            made += added
            fresh = added
        return Followed(made, cut=False)

    def _fresh(self, versions: Iterable[Version], known: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        for version in versions:
            for key in self.of(gate.load(version.body)):
                if key not in known:
                    known.add(key)
                    yield key


def _texts(value: Any) -> Iterator[str]:
    """Yield the text of each Reference below a value, and the url of each Attachment that is a Binary here."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str):
                if key == "reference" or (key == "url" and "Binary/" in item):
                    yield item
            elif isinstance(item, (dict, list)):
                yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, (dict, list)):
                yield from _texts(item)

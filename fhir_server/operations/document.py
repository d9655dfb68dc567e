"""`Composition/$document`: a Composition with all that it refers to, as a document Bundle.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/composition-operation-document.html and
https://hl7.org/fhir/R4/documents.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final
from uuid import UUID

from fhir_server import gate
from fhir_server.errors import BadRequest, Issue, TooCostly, Unprocessable
from fhir_server.interactions.core import Hub
from fhir_server.interactions.ids import new_id
from fhir_server.interactions.instant import write_instant
from fhir_server.interface import Answer, Operation, OperationCall
from fhir_server.model import Entry, Resource, Version
from fhir_server.operations.inputs import flag, read_inputs, text
from fhir_server.operations.references import References
from fhir_server.search.readers import reference_parser
from fhir_server.settings import Settings

MOST_RESOURCES: Final = 2_000  # of a document
# "The following resources SHALL be included": what these elements refer to. The others may be reached from there.
_MUST: Final = frozenset({"subject", "encounter", "author", "party", "custodian", "detail", "focus", "entry"})


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$document` of a Composition, by its id in the path or as a parameter."""
    documents = Documents(hub)
    return tuple(
        Operation(
            name="document",
            type="Composition",
            instance=instance,
            methods=("GET", "POST"),
            needs="r",
            run=documents.run,
            documentation="The Composition and all that it refers to as a document Bundle; persist=true stores it.",
            definition="http://hl7.org/fhir/OperationDefinition/Composition-document",
        )
        for instance in (True, False)
    )


class Documents:
    """Answers `$document`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._references = References(hub.base_url)
        self._parse = reference_parser(hub.base_url)

    async def run(self, call: OperationCall) -> Answer:
        """Return the document.

        Raises:
            NotFound, Gone: There is no such Composition for the caller.
            Unprocessable: It refers to what is not here, or what the caller may not see.
            TooCostly: The document would have more than 2,000 resources.
        """
        inputs = read_inputs(call, ("persist",) if call.id else ("id", "persist"))
        id = call.id or text(inputs, "id").removeprefix(f"{self._hub.base_url}/").removeprefix("Composition/")
        if not id:
            raise BadRequest("$document needs the id of a Composition.")
        root = await self._hub.read_one("Composition", id, actor=call.actor, request_id=call.request_id)
        found = await self._gather(call, root)
        owners = tuple(sorted({owner for version in (root, *found) for owner in version.owners}))
        self._hub.audit(call.actor, "R", "$document", root.reference, owners, 0, call.request_id)
        entries = [(f"{self._hub.base_url}/{version.reference}", gate.load(version.body)) for version in (root, *found)]
        bundle = document(entries, self._hub.now())
        if not flag(inputs, "persist"):
            return Answer(200, bundle)
        (made,) = await self._hub.write(
            [Entry("POST", "Bundle", bundle)], actor=call.actor, interaction="$document", request_id=call.request_id
        )
        assert made.version is not None
        location = f"{self._hub.base_url}/{made.version.reference}"
        return Answer(200, body=made.version.body, headers={"Location": location, "ETag": made.version.etag})

    async def _gather(self, call: OperationCall, root: Version) -> list[Version]:
        """Return all that the Composition refers to, directly or not, each once."""
        composition = gate.load(root.body)
        needed = {key: path for path, key in self._needed(composition)}
        owners = frozenset(root.owners)

        def takes(version: Version) -> bool:
            return (version.type, version.id) in needed or owners.issuperset(version.owners)

        async with self._hub.store.view(call.actor.tenant) as view:
            see = await self._hub.see(view, call.actor)
            followed = await self._references.follow(view, see, [root], takes=takes, most=MOST_RESOURCES)
        if followed.cut:
            raise TooCostly(f"The document would have more than {MOST_RESOURCES} resources.")
        found = {(version.type, version.id) for version in followed.versions}
        if missing := [path for key, path in needed.items() if key not in found and key != (root.type, root.id)]:
            text = "The reference leads to nothing that is here for the caller."
            raise Unprocessable(
                "The Composition refers to what cannot be put into a document.",
                issues=[Issue("not-found", text, path) for path in missing],
            )
        return followed.versions

    def _needed(self, composition: Resource) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield the path and the (type, id) of each reference whose target a document must have."""
        for path, reference in _references(composition, "Composition"):
            found = self._parse(reference) if not reference.startswith("#") else None
            if found is not None:
                yield path, (found.type, found.id) if found.id and not found.url else ("", found.url)


def _references(value: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and text of each reference of the elements that a document must have."""
    for name, item in value.items():
        if name == "contained":
            continue
        items = item if isinstance(item, list) else [item]
        for number, one in enumerate(items):
            if not isinstance(one, dict):
                continue
            here = f"{path}.{name}[{number}]" if isinstance(item, list) else f"{path}.{name}"
            if isinstance(one.get("reference"), str):
                if name in _MUST:
                    yield here, one["reference"]
            else:
                yield from _references(one, here)


def document(entries: Iterable[tuple[str, Resource]], now: int) -> Resource:
    """Return a document Bundle.

    Args:
        entries: fullUrl and resource; the Composition first.
        now: Microseconds since 1970.
    """
    return {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{UUID(hex=new_id())}"},
        "type": "document",
        "timestamp": write_instant(now),
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in entries],
    }

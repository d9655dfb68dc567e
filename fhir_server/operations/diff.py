"""`$diff`: what changed between two versions, or differs between two resources, as a FHIRPath Patch.

R4 has no such operation; the parameters are those of the servers that have it. Source of the form: FHIR R4 4.0.1,
https://hl7.org/fhir/R4/fhirpatch.html
"""

from __future__ import annotations

import re
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import BadParameter, BadRequest, NotFound, TooCostly
from fhir_server.interactions.core import Hub
from fhir_server.interface import Answer, Operation, OperationCall, OperationParameter
from fhir_server.model import Resource
from fhir_server.operations.differences import difference
from fhir_server.operations.inputs import Inputs, flag, names, read_inputs, refuse_empty, text
from fhir_server.settings import Settings

MOST_BYTES: Final = 524_288  # of a resource that is compared
_REFERENCE: Final = re.compile(r"([A-Za-z]+)/([A-Za-z0-9.\-]{1,64})(?:/_history/([1-9][0-9]{0,8}))?")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")
_ALIASES: Final = {"fromVersion": "from", "toVersion": "to"}

_OTHERS: Final = (
    OperationParameter("includeMeta", "boolean", "false leaves out what differs in meta."),
    OperationParameter("return", "Parameters", "A FHIRPath Patch; without operations where nothing differs.", "out", 1),
)
_VERSIONS: Final = (
    OperationParameter("from", "Any", "The number of a version, the one before `to`; of the system: see `to`."),
    OperationParameter(
        "to",
        "Any",
        "The number of a version, the current one; of the system Type/id, Type/id/_history/n, or a resource. "
        "There from and to are needed.",
    ),
    *_OTHERS,
)


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$diff` on instances and on the system."""
    diff = Diff(hub)
    return (
        Operation(
            name="diff",
            type="*",
            instance=True,
            methods=("GET", "POST"),
            needs="r",
            run=diff.versions,
            documentation="A FHIRPath Patch from version `from` (the one before) to version `to` (the current one).",
            parameters=_VERSIONS,
        ),
        Operation(
            name="diff",
            type="",
            instance=False,
            methods=("GET", "POST"),
            needs="",  # each resource that is read asks for its own
            run=diff.resources,
            documentation="A FHIRPath Patch between two resources: references, or resources in Parameters.",
            parameters=_VERSIONS,
        ),
    )


class Diff:
    """Answers `$diff`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def versions(self, call: OperationCall) -> Answer:
        """Compare two versions of a resource; the first one with nothing before it is compared with itself.

        Raises:
            BadParameter: A version is no number.
            NotFound, Gone: A version is not there for the caller.
        """
        inputs = read_inputs(call, names(_VERSIONS) | set(_ALIASES))
        refuse_empty(inputs)
        first, last = (_version(inputs, name) for name in ("from", "to"))
        after = await self._read(call, call.type, call.id, last)
        if first is None:
            first = max(int(after["meta"]["versionId"]) - 1, 1)
        return _answer(inputs, await self._read(call, call.type, call.id, first), after)

    async def resources(self, call: OperationCall) -> Answer:
        """Compare two resources: stored ones (`Type/id`, `Type/id/_history/n`) or ones that are sent."""
        inputs = read_inputs(call, names(_VERSIONS))
        return _answer(inputs, await self._side(call, inputs, "from"), await self._side(call, inputs, "to"))

    async def _side(self, call: OperationCall, inputs: Inputs, name: str) -> Resource:
        given: Any = next(iter(inputs.get(name, [])), None)
        if isinstance(given, dict) and isinstance(given.get("resourceType"), str):
            _check_size(len(call.body))
            if given["resourceType"] not in self._hub.types or self._errors(given):
                raise BadParameter(f"The resource of '{name}' is not valid.")
            return given
        reference = given.get("reference") if isinstance(given, dict) else given
        if reference is None:
            raise BadRequest("$diff needs from and to.")
        found = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
        if found is None or found[1] not in self._hub.types:
            raise BadParameter(f"The parameter '{name}' is a resource, Type/id, or Type/id/_history/version.")
        return await self._read(call, found[1], found[2], int(found[3]) if found[3] else None)

    def _errors(self, resource: Resource) -> bool:
        return any(issue.severity in ("error", "fatal") for issue in self._hub.validate(resource))

    async def _read(self, call: OperationCall, type: str, id: str, version: int | None) -> Resource:
        found = await self._hub.read_one(type, id, actor=call.actor, version=version, request_id=call.request_id)
        if not found.body:
            raise NotFound("There is no such resource.")
        _check_size(len(found.body))
        return gate.load(found.body)


def _answer(inputs: Inputs, before: Resource, after: Resource) -> Answer:
    """Return the patch; without changes of labels where `includeMeta` is false."""
    if inputs.get("includeMeta") and not flag(inputs, "includeMeta"):
        after = {name: value for name, value in after.items() if name != "meta"}
        after |= {"meta": before["meta"]} if "meta" in before else {}
    return Answer(200, difference(before, after))


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise TooCostly(f"$diff compares resources of at most {MOST_BYTES} bytes.")


def _version(inputs: Inputs, name: str) -> int | None:
    where = next((each for each, of in ((name, name), *_ALIASES.items()) if of == name and each in inputs), name)
    values = inputs.get(where, [])
    is_number = len(values) == 1 and isinstance(values[0], int) and not isinstance(values[0], bool)
    given = str(values[0]) if is_number else text(inputs, where)
    if given and not _VERSION.fullmatch(given):
        raise BadParameter(f"The parameter '{name}' is the number of a version.")
    return int(given) if given else None

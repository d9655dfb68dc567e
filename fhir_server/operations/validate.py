"""`$validate`: whether a resource would be accepted, without storing it.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/resource-operation-validate.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fhir_server import gate
from fhir_server.errors import BadParameter, BadRequest, FhirError, Issue
from fhir_server.interactions.core import Hub
from fhir_server.interactions.subset import is_part
from fhir_server.interface import Answer, Operation, OperationCall
from fhir_server.model import Resource
from fhir_server.operations.inputs import read_inputs, text, texts
from fhir_server.operations.planned import refusals
from fhir_server.outcome import outcome
from fhir_server.profiles import Task
from fhir_server.settings import Settings
from fhir_server.validation import advice

LARGE: Final = 65_536  # bytes from which a resource is looked at in a thread, so that others are served meanwhile
SEVERITIES: Final = ("fatal", "error", "warning", "information")
_INPUTS: Final = ("resource", "mode", "profile")
MODES: Final = ("create", "update", "delete", "profile")
NEEDS: Final = {"create": "c", "update": "u", "delete": "d"}
DEFINITION: Final = "http://hl7.org/fhir/OperationDefinition/Resource-validate"
DOCUMENTATION: Final = (
    "Says what R4, the profiles of meta.profile and the profile named find in a resource, as an OperationOutcome "
    "with status 200; nothing is stored."
)
ALL_OK: Final = Issue("informational", "All OK: nothing was found.", severity="information")


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$validate` on the system, on each type and on each instance."""
    validating = Validating(hub)
    return tuple(
        Operation(
            name="validate",
            type=type,
            instance=instance,
            methods=("GET", "POST") if instance else ("POST",),
            needs="r",
            run=validating.run,
            documentation=DOCUMENTATION,
            definition=DEFINITION,
            reads_body=True,
        )
        for type, instance in (("", False), ("*", False), ("*", True))
    )


class Validating:
    """Answers `$validate`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def run(self, call: OperationCall) -> Answer:
        """Validate the body, or the stored resource where there is none.

        Raises:
            BadParameter: There is no such mode.
            BadRequest: There is nothing to validate, or no instance that could be deleted.
            NotFound: The instance is not there for the caller.
        """
        try:
            resource, mode, profiles = read_call(call)
        except MalformedBody as error:
            return Answer(200, outcome(error.issues))
        if mode == "delete":
            resource = None  # R4: the content is ignored
        issues = self._mode_issues(call, resource, mode)
        if resource is None:
            resource = await self._stored(call, mode)
        if mode != "delete":
            issues += await self._found(call, resource, profiles, mode)
        if not any(issue.severity in ("error", "fatal") for issue in issues):
            issues += await refusals(self._hub, call, resource, mode)
        issues.sort(key=lambda issue: SEVERITIES.index(issue.severity))  # what is worst first: an outcome has its bound
        return Answer(200, outcome(list(dict.fromkeys(issues)) or [ALL_OK]))  # R4 and a profile may say the same

    async def _stored(self, call: OperationCall, mode: str) -> Resource:
        if not call.id and mode == "delete":
            raise BadRequest("The mode delete is for one that is stored: name it by its id in the url.")
        if not call.id:
            raise BadRequest("Send the resource, or Parameters with one; or name a stored one by its id.")
        version = await self._hub.read_one(call.type, call.id, actor=call.actor, request_id=call.request_id)
        return gate.load(version.body)

    async def _found(self, call: OperationCall, resource: Resource, profiles: Sequence[str], mode: str) -> list[Issue]:
        """Return what R4 and the profiles find; a large resource is looked at in a thread."""
        apart = len(call.body) > LARGE
        if apart:
            issues = await asyncio.to_thread(self._of_r4, resource)
        else:
            issues = self._of_r4(resource)
        judge = self._hub.profiles
        alone = Task(resource, tuple(profiles), advises=True)
        task = alone if mode == "profile" else judge.planned(resource, profiles)
        async with self._hub.store.view(call.actor.tenant) as view:
            return issues + await judge.issues(view, task, apart=apart)

    def _of_r4(self, resource: Resource) -> list[Issue]:
        return [*self._hub.validate(resource), *advice(resource)]

    def _mode_issues(self, call: OperationCall, resource: Resource | None, mode: str) -> list[Issue]:
        """Return what is wrong with the call itself: its type, its id, the caller's scopes for what is planned."""
        issues = []
        type = resource.get("resourceType") if resource is not None else call.type
        if call.type and type != call.type:
            issues.append(Issue("invalid", "The resource is of another type than its url says.", call.type))
        if resource is not None and mode == "update":
            if not call.id and "id" not in resource:
                issues.append(Issue("required", "An update needs the resource's id.", f"{call.type}.id"))
            if call.id and resource.get("id") != call.id:
                issues.append(Issue("value", "The resource's id is not the one of the url.", f"{call.type}.id"))
            if is_part(resource):
                issues.append(Issue("invalid", "The resource is a part of one (SUBSETTED).", f"{type}.meta.tag"))
        if mode in NEEDS and type.__class__ is str and not call.actor.may(NEEDS[mode], str(type)):
            issues.append(Issue("forbidden", f"The token's scopes do not allow a {mode} of this type."))
        return issues


class MalformedBody(FhirError):
    """The body is no FHIR JSON: for `$validate` a finding, not a failure."""

    status, code = 200, "structure"


def read_call(call: OperationCall) -> tuple[Resource | None, str, list[str]]:
    """Return the resource (None without a body), the mode ("" without one) and the profiles asked for.

    Raises:
        MalformedBody: The body is no JSON object that says its resourceType.
        BadParameter: The mode is none of R4's, or a parameter has no single value.
        UnknownParameter: The operation has no such parameter.
    """
    resource = _resource(call.body)
    envelope = resource if resource is not None and _is_envelope(call.type, resource) else None
    inputs = read_inputs(replace(call, resource=envelope), _INPUTS)
    if envelope is not None:
        held = inputs.get("resource", [])
        if len(held) > 1 or not all(isinstance(one, dict) for one in held):
            raise BadParameter("The parameter 'resource' is one resource.")
        resource = held[0] if held else None
    mode = text(inputs, "mode")
    if mode not in ("", *MODES):
        raise BadParameter(f"The mode is one of {', '.join(MODES)}.")
    return resource, mode, list(dict.fromkeys(texts(inputs, "profile")))


def _resource(body: bytes) -> Resource | None:
    if not body:
        return None
    try:
        return gate.parse_resource(body)
    except FhirError as error:
        raise MalformedBody(error.text, issues=error.issues) from None


def _is_envelope(type: str, resource: Resource) -> bool:
    """Whether a body is the Parameters of the call, rather than Parameters that are to be validated themselves."""
    if resource.get("resourceType") != "Parameters" or type == "Parameters":
        return False
    items = resource.get("parameter")
    held = [item for item in items if item.__class__ is dict] if items.__class__ is list else []
    if type or any(item.get("name") == "resource" and "resource" in item for item in held):
        return True
    return bool(held) and all(item.get("name") in _INPUTS for item in held)

"""`$convert`: a resource in another format.

Bodies and answers are converted where they come in and go out; the operation hands the resource through.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/resource-operation-convert.html
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from fhir_server.errors import BadRequest, Unprocessable
from fhir_server.interactions.core import Hub
from fhir_server.interface import Answer, Operation, OperationCall
from fhir_server.operations.inputs import read_inputs
from fhir_server.settings import Settings


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$convert`."""
    return (
        Operation(
            name="convert",
            type="",
            instance=False,
            methods=("POST",),
            needs="",  # nothing of the store is read
            run=partial(run, hub),
            documentation="Returns the resource sent in the format asked for by Accept or _format: JSON or XML.",
            definition="http://hl7.org/fhir/OperationDefinition/Resource-convert",
        ),
    )


async def run(hub: Hub, call: OperationCall) -> Answer:
    """Return the resource of the body, or that of the parameter `input`.

    Raises:
        BadRequest: There is none.
        UnknownParameter: The query has a parameter beside `_format` and `_pretty`.
        Unprocessable: It has a form that R4 does not have, so that no other format could carry it.
    """
    read_inputs(replace(call, resource=None), ())
    resource = call.resource
    if resource is None:
        raise BadRequest("Send the resource that is to be converted.")
    items = resource.get("parameter")
    if resource["resourceType"] == "Parameters" and isinstance(items, list) and len(items) == 1:
        (item,) = items
        if isinstance(item, dict) and item.get("name") == "input" and isinstance(item.get("resource"), dict):
            resource = item["resource"]
    if resource.get("resourceType") not in hub.types:
        raise Unprocessable("R4 has no such resource type.", expression="resourceType")
    if wrong := [i for i in hub.validate(resource) if i.severity in ("error", "fatal") and i.code == "structure"]:
        raise Unprocessable("The resource is not of R4.", issues=wrong)
    return Answer(200, resource)

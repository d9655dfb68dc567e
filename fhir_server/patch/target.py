"""The resource a patch works on: copied before, checked after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import BadRequest, TooCostly, Unprocessable
from fhir_server.model import Resource

MOST_OPERATIONS: Final = 1_000


def copied(value: Any) -> Any:
    """Return a copy whose objects and lists are all new; numbers keep their text."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


def worked(resource: Resource, work: Callable[[Any], Any]) -> Resource:
    """Apply `work` to a copy of a resource and return the result, as if it had just come in by the gate.

    Raises:
        Unprocessable: The result is no resource, or has another type, id, version or time than before.
        Malformed: The result is nested deeper than the gate allows.
        TooCostly: It is nested so deeply that it cannot even be written.
    """
    try:
        made = gate.parse(gate.write(work(copied(resource))))
    except RecursionError:
        raise TooCostly("The patched resource is nested too deeply.") from None
    if not isinstance(made, dict):
        raise Unprocessable("The patch leaves no resource.")
    if made.get("resourceType") != resource.get("resourceType") or made.get("id") != resource.get("id"):
        raise Unprocessable("A patch changes neither the type nor the id of a resource.")
    if _stamp(made) != _stamp(resource):
        raise Unprocessable("A patch changes neither meta.versionId nor meta.lastUpdated; the server gives them.")
    return made


def _stamp(resource: Resource) -> tuple[Any, Any]:
    meta = resource.get("meta")
    return (meta.get("versionId"), meta.get("lastUpdated")) if isinstance(meta, dict) else (None, None)


def check_number(operations: int) -> None:
    """Raise TooCostly where a patch has more operations than its bound."""
    if operations > MOST_OPERATIONS:
        raise TooCostly("A patch has at most 1,000 operations.")


def malformed(number: int, text: str) -> BadRequest:
    """Return the refusal of a document; `number` counts its operations from 0."""
    return BadRequest(f"Operation {number} of the patch: {text}")


def unfit(number: int, text: str) -> Unprocessable:
    """Return the refusal of an operation that the resource does not allow."""
    return Unprocessable(f"Operation {number} of the patch: {text}")

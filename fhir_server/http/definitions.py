"""The definitions of the hub's own operations and profiles: what its CapabilityStatement names can be read.

Those of R4 are HL7's, at hl7.org. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/operationdefinition.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fhir_server.interface import Operation, OperationParameter
from fhir_server.model import Resource
from fhir_server.profiles.builtin import definition

TYPE: Final = "OperationDefinition"
_PROFILES: Final = "urn:predmp:StructureDefinition:"


def definition_url(base_url: str, operation: Operation) -> str:
    """Return the canonical url of an operation: HL7's, or one of the hub's own that can be read."""
    return operation.definition or f"{base_url}/{TYPE}/{operation.name}"


def own_definition(base_url: str, operations: Sequence[Operation], type: str, id: str) -> Mapping[str, Any] | None:
    """Return the definition of an operation or a profile of the hub's own; None where it has none of that id."""
    if type == TYPE:
        return _of_operation(base_url, operations, id)
    return definition(_PROFILES + id) if type == "StructureDefinition" else None


def _of_operation(base_url: str, operations: Sequence[Operation], name: str) -> Resource | None:
    own = [operation for operation in operations if operation.name == name and not operation.definition]
    if not own:
        return None
    types = {operation.type for operation in own if operation.type}
    parameters = {(each.use, each.name): each for operation in own for each in operation.parameters}
    return {
        "resourceType": TYPE,
        "id": name,
        "url": definition_url(base_url, own[0]),
        "name": "".join(part.capitalize() for part in name.split("-")),
        "title": f"${name}",
        "status": "active",
        "kind": "operation",
        "description": own[0].documentation,
        "affectsState": all("GET" not in operation.methods for operation in own),
        "code": name,
        **({"resource": ["Resource"] if "*" in types else sorted(types)} if types else {}),
        "system": any(not operation.type and not operation.instance for operation in own),
        "type": any(bool(operation.type) and not operation.instance for operation in own),
        "instance": any(operation.instance for operation in own),
        **({"parameter": [_of_parameter(each) for each in parameters.values()]} if parameters else {}),
    }


def _of_parameter(parameter: OperationParameter) -> Resource:
    return {
        "name": parameter.name,
        "use": parameter.use,
        "min": parameter.least,
        "max": parameter.most,
        "documentation": parameter.documentation,
        **({"type": parameter.type} if parameter.type else {}),
        **({"part": [_of_parameter(part) for part in parameter.parts]} if parameter.parts else {}),
    }

"""The CapabilityStatement, made from the tables that serve requests, so that it cannot claim more.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from fhir_server import profiles
from fhir_server.definitions import FHIR_VERSION, resource_types
from fhir_server.http.definitions import definition_url
from fhir_server.http.message import XML
from fhir_server.http.routes import ROUTES
from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import write_instant
from fhir_server.interface import Operation
from fhir_server.model import Resource
from fhir_server.patch import MEDIA_TYPES
from fhir_server.search.clauses import OF_EVERY_TYPE
from fhir_server.search.query import Parameter
from fhir_server.settings import Settings

_SYSTEM: Final = ("transaction", "batch", "search-system", "history-system")
_COMPARTMENTS: Final = ("patient", "encounter", "relatedPerson", "practitioner", "device")
_FORMATS: Final = ("application/fhir+json", "application/fhir+xml", "json", "xml")


def capability_statement(hub: Hub, settings: Settings) -> Resource:
    """Return what this server can do, as R4 says it; it is built anew, so keep it."""
    known = {route.interaction for route in ROUTES if route.interaction}
    rest: dict[str, Any] = {
        "mode": "server",
        "security": {
            "cors": False,
            "description": "Bearer tokens; patients' consent decides what a caller sees.",
        },
        "resource": [_resource(hub, settings, type, known) for type in sorted(hub.types)],
        "interaction": [{"code": code} for code in _SYSTEM if code in known or code == "batch"],
        "searchParam": [_parameter(hub, code, one) for code, one in {**_shared(hub), **_special("Basic")}.items()],
        "operation": _operations(hub, ""),
        "compartment": [f"http://hl7.org/fhir/CompartmentDefinition/{name}" for name in _COMPARTMENTS],
    }
    return {
        "resourceType": "CapabilityStatement",
        "url": f"{hub.base_url}/metadata",
        "version": version("predmp"),
        "name": "PreDmpHub",
        "title": "Pre-DMP hub",
        "status": "active",
        "experimental": False,
        "date": write_instant(hub.now()),
        "kind": "instance",
        "software": {"name": "predmp", "version": version("predmp")},
        "implementation": {"description": "Pre-DMP hub", "url": hub.base_url},
        "fhirVersion": FHIR_VERSION,
        "format": list(_FORMATS),
        "patchFormat": [*MEDIA_TYPES, XML],
        "rest": [{name: value for name, value in rest.items() if value != []}],
    }


def _resource(hub: Hub, settings: Settings, type: str, known: set[str]) -> dict[str, Any]:
    parameters = hub.registry.parameters_of(type)
    references = [code for code, parameter in parameters.items() if parameter.type == "reference"]
    made: dict[str, Any] = {
        "type": type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type}",
        "supportedProfile": list(profiles.supported(type)),
        "interaction": [{"code": code} for code in sorted(known - set(_SYSTEM))],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": hub.update_create,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": settings.conditional_delete,
        "referencePolicy": ["literal", "logical", "local"],
        "searchInclude": ["*", *(f"{type}:{code}" for code in references)],
        "searchRevInclude": _referring(hub, type),
        "searchParam": [_parameter(hub, code, one) for code, one in {**parameters, **_special(type)}.items()],
        "operation": _operations(hub, type),
    }
    return {name: value for name, value in made.items() if value != []}


def _shared(hub: Hub) -> dict[str, Parameter]:
    """Return the parameters that every type has; a search of the system knows these."""
    known = [hub.registry.parameters_of(type) for type in hub.types]
    return {
        code: parameter
        for code, parameter in hub.registry.parameters_of("Basic").items()
        if all(code in one and one[code].code == parameter.code for one in known)
    }


def _special(type: str) -> dict[str, Parameter]:
    """Return the parameters that no element of a resource answers."""
    return {code: Parameter(code, kind, type, "") for code, kind in OF_EVERY_TYPE.items()}


def _parameter(hub: Hub, code: str, parameter: Parameter) -> dict[str, str]:
    made = {"name": code, "type": parameter.type}
    definition = hub.registry.url(parameter.base, code)
    return made | ({"definition": definition} if definition else {})


def _referring(hub: Hub, type: str) -> list[str]:
    """Return what `_revinclude` can follow to a type."""
    return [
        f"{source}:{code}"
        for source in sorted(resource_types())
        for code, parameter in hub.registry.parameters_of(source).items()
        if parameter.type == "reference" and type in parameter.targets
    ]


def _operations(hub: Hub, type: str) -> list[dict[str, str]]:
    """Return the operations of a type, each name once; "" for those of the system."""
    found: dict[str, Operation] = {}
    for operation in hub.operations:
        if operation.type == type or (type and operation.type == "*"):
            found.setdefault(operation.name, operation)
    return [
        {
            "name": operation.name,
            "definition": definition_url(hub.base_url, operation),
            "documentation": operation.documentation,
        }
        for operation in found.values()
    ]

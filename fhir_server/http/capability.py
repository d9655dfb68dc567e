"""The CapabilityStatement, made from the same table as the routes, so that it cannot claim more.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fhir_server.definitions import FHIR_VERSION
from fhir_server.http.routes import ROUTES
from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import write_instant
from fhir_server.model import Resource
from fhir_server.search.parameters import parameters_of

_SYSTEM = ("transaction", "batch", "search-system", "history-system")
_kept: dict[tuple[str, int], Resource] = {}


def capability_statement(hub: Hub, root_url: str) -> Resource:
    """Return what this server can do; built once for each base and set of operations."""
    key = (hub.base_url, len(hub.operations))
    if key not in _kept:
        _kept[key] = _build(hub, root_url)
    return _kept[key]


def _build(hub: Hub, root_url: str) -> Resource:
    known = {route.interaction for route in ROUTES}
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": write_instant(hub.now()),
        "kind": "instance",
        "software": {"name": "predmp", "version": version("predmp")},
        "implementation": {"description": "Pre-DMP hub", "url": hub.base_url},
        "fhirVersion": FHIR_VERSION,
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "cors": False,
                    "description": "Bearer tokens; patients' consent decides what a caller sees.",
                },
                "resource": [_resource(hub, type, known) for type in sorted(hub.types)],
                "interaction": [{"code": code} for code in _SYSTEM if code in known or code == "batch"],
            }
        ],
    }


def _resource(hub: Hub, type: str, known: set[str]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": type,
        "interaction": [{"code": code} for code in sorted(known - set(_SYSTEM))],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "not-match",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "searchInclude": ["*", *(f"{type}:{p.code}" for p in parameters_of(type).values() if p.type == "reference")],
        "searchParam": [{"name": parameter.code, "type": parameter.type} for parameter in parameters_of(type).values()],
    }
    operations = [
        {"name": o.name, "definition": f"{hub.base_url}/OperationDefinition/{o.name}", "documentation": o.documentation}
        for o in hub.operations
        if o.type == type
    ]
    return made | ({"operation": operations} if operations else {})

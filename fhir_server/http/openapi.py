"""The FHIR routes in the one OpenAPI document.

Source: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from fhir_server.http.routes import ROUTES, FhirRoute
from fhir_server.interactions.core import Hub
from fhir_server.patch import MEDIA_TYPES

_FHIR = "application/fhir+json"
_OUTCOME = {
    "description": "OperationOutcome",
    "content": {_FHIR: {"schema": {"$ref": "#/components/schemas/OperationOutcome"}}},
}
_ID = {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}
_SCHEMAS = {
    "Resource": {
        "type": "object",
        "required": ["resourceType"],
        "properties": {"resourceType": {"type": "string"}, "id": _ID},
    },
    "OperationOutcome": {
        "type": "object",
        "required": ["resourceType", "issue"],
        "properties": {
            "resourceType": {"const": "OperationOutcome"},
            "issue": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["severity", "code"]}},
        },
    },
}


def add_fhir(web: FastAPI, hub: Hub) -> None:
    """Make `web.openapi()` describe the FHIR routes beside FastAPI's own."""
    build = web.openapi

    def openapi() -> dict[str, Any]:
        made = build()
        if "x-fhir" not in made:
            made["x-fhir"] = "4.0.1"
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(_SCHEMAS)
            for route in ROUTES:
                path, item = _describe(route, sorted(hub.types))
                made["paths"].setdefault(path, {})[route.method.lower()] = item
            made["paths"]["/fhir/metadata"] = {"get": _metadata()}
        return made

    web.openapi = openapi  # type: ignore[method-assign]


def _describe(route: FhirRoute, types: list[str]) -> tuple[str, dict[str, Any]]:
    names = {"Type": "type", "id": "id", "inside": "inside"}
    schemas = {"type": {"type": "string", "enum": types}, "inside": {"type": "string", "enum": ["*", *types]}}
    parts, parameters = [], []
    for part in route.shape.split("/") if route.shape else []:
        name = names.get(part)
        if name == "id" and "{id}" in parts:
            name = "version"
        parts.append(f"{{{name}}}" if name else part)
        if name:
            parameters.append({"name": name, "in": "path", "required": True, "schema": schemas.get(name, _ID)})
    body = route.method in ("POST", "PUT", "PATCH")
    media = "application/x-www-form-urlencoded" if route.shape.endswith("_search") else _FHIR
    item: dict[str, Any] = {
        "summary": _summary(route),
        "operationId": f"{route.interaction}-{route.method}-{route.shape or 'base'}".replace("/", "-").lower(),
        "tags": ["FHIR R4"],
        "parameters": parameters,
        "responses": {
            "default": _OUTCOME,
            "201" if route.interaction == "create" else "200": {
                "description": "The resource or Bundle",
                "content": {_FHIR: {"schema": {"$ref": "#/components/schemas/Resource"}}},
            },
        },
    }
    if body:
        schema = (
            {"type": "object"}
            if media != _FHIR
            else {}
            if route.method == "PATCH"
            else {"$ref": "#/components/schemas/Resource"}
        )
        kinds = MEDIA_TYPES if route.method == "PATCH" else (media,)
        item["requestBody"] = {"required": media == _FHIR, "content": {kind: {"schema": schema} for kind in kinds}}
    return "/fhir" + ("/" + "/".join(parts) if parts else ""), item


def _summary(route: FhirRoute) -> str:
    words = (route.handler.__doc__ or route.interaction).partition("\n")[0].partition("(")[0].removeprefix("Serve ")
    return _sentence(words)


def _metadata() -> dict[str, Any]:
    return {
        "summary": "The CapabilityStatement",
        "operationId": "capabilities",
        "tags": ["FHIR R4"],
        "responses": {"200": {"description": "CapabilityStatement", "content": {_FHIR: {}}}, "default": _OUTCOME},
    }


def by_tag(document: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return, for each tag of an OpenAPI document, its (method, path, what it does) rows."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for path, methods in document["paths"].items():
        for method, item in methods.items():
            tag = item.get("tags", ["Hub"])[0]
            found.setdefault(tag, []).append((method.upper(), path, _effect(item)))
    return sorted(found.items())


def _effect(item: dict[str, Any]) -> str:
    """Return the first sentence of an operation's docstring, else its summary."""
    return _sentence(str(item.get("description") or item.get("summary", "")).partition("\n")[0].partition(". ")[0])


def _sentence(words: str) -> str:
    bare = words.strip(" .").replace("`", "")
    return bare[:1].upper() + bare[1:]

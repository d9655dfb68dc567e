"""Patch documents by media type: bytes in, a function from resource to resource out.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#patch; JSON Merge Patch, which R4 does not name, is RFC 7396.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from fhir_server import gate
from fhir_server.errors import UnsupportedMediaType
from fhir_server.model import Resource
from fhir_server.patch import fhirpath_patch, json_patch, merge_patch, xml_patch

Patch: TypeAlias = Callable[[Resource], Resource]

_READERS: Final[Mapping[str, Callable[[Any], Patch]]] = {
    "application/json-patch+json": json_patch.read,
    "application/merge-patch+json": merge_patch.read,
    "application/fhir+json": fhirpath_patch.read,
}
MEDIA_TYPES: Final = (*_READERS, xml_patch.MEDIA_TYPE)


def _read_by_shape(document: Any) -> Patch:
    """Read a patch sent as plain JSON, as some clients do: each format has a shape of its own."""
    if isinstance(document, list):
        return json_patch.read(document)
    is_parameters = isinstance(document, dict) and document.get("resourceType") == "Parameters"
    return fhirpath_patch.read(document) if is_parameters else merge_patch.read(document)


def read(media_type: str, body: bytes) -> Patch:
    """Read a patch document.

    Args:
        media_type: With or without parameters; of JSON Patch, JSON Merge Patch, XML Patch or FHIR JSON (Parameters);
            plain `application/json` is read by its shape.
        body: JSON or XML, in UTF-8.

    Returns:
        A function that gives a patched copy and never changes its input. It raises Unprocessable where the patch
        does not fit the resource, and TooCostly.

    Raises:
        UnsupportedMediaType: No patch format, or not in UTF-8.
        BadRequest, Malformed: The document is no patch of that format.
    """
    kind, _, parameters = media_type.partition(";")
    bare = kind.strip().lower()
    reader = _read_by_shape if bare == "application/json" else _READERS.get(bare)
    if reader is None and bare != xml_patch.MEDIA_TYPE:
        error = UnsupportedMediaType(
            "A patch is a JSON Patch, a JSON Merge Patch, an XML Patch, or FHIR JSON or XML with Parameters."
        )
        error.headers["Accept-Patch"] = ", ".join(MEDIA_TYPES)
        raise error
    for parameter in parameters.lower().split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('" ') not in ("utf-8", "utf8"):
            raise UnsupportedMediaType("A patch is UTF-8.")
    return xml_patch.read(body) if reader is None else reader(gate.parse(body))

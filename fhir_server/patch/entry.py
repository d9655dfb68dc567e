"""The patch that an entry of a Bundle carries.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

import binascii
from base64 import b64decode

from fhir_server import gate
from fhir_server.errors import BadRequest
from fhir_server.model import Resource


def carried(resource: Resource, place: str) -> tuple[str, bytes]:
    """Return the media type and the document of a patch: of a Binary that carries it, or Parameters themselves.

    Args:
        resource: Of the entry.
        place: Of the entry, for refusals: `Bundle.entry[0]`.

    Raises:
        BadRequest: It is a Binary without a type or data.
    """
    if resource.get("resourceType") != "Binary":
        return "application/fhir+json", gate.write(resource)
    kind, data = resource.get("contentType"), resource.get("data")
    if not isinstance(kind, str) or not isinstance(data, str):
        raise BadRequest("A patch in a Binary has a contentType and data.", expression=f"{place}.resource")
    try:
        return kind, b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("The data of the Binary are no base64.", expression=f"{place}.resource.data") from None

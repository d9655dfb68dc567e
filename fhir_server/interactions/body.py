"""Stored bodies: a resource with the id and meta that the server gives it."""

from __future__ import annotations

from typing import Any

from fhir_server import gate
from fhir_server.errors import BadRequest
from fhir_server.interactions.instant import write_instant
from fhir_server.model import Resource, Version


def stamped(resource: Resource, id: str, version: int, at: int) -> Resource:
    """Return the resource as it is stored: id and meta of the server first, the rest as it came."""
    meta = {"versionId": str(version), "lastUpdated": write_instant(at)}
    given = resource.get("meta")
    if isinstance(given, dict):
        meta |= {k: v for k, v in given.items() if k not in ("versionId", "lastUpdated")}
    made: dict[str, Any] = {"resourceType": "", "id": "", "meta": meta, **resource}  # keys stay where they are first
    made["id"], made["meta"] = id, meta
    return made


def is_same(resource: Resource, id: str, version: int, at: int, body: bytes) -> bool:
    """Whether storing `resource` over that version would change nothing."""
    return gate.write(stamped(resource, id, version, at)) == body


def names(tags: str, version: Version) -> bool:
    """Whether If-None-Match names a version: by `*`, or its entity tag, weak or strong (RFC 9110 §13.1.2)."""
    return tags.strip() == "*" or version.etag[2:] in [tag.strip().removeprefix("W/") for tag in tags.split(",")]


def etag_version(text: str) -> int:
    """Read the version of an entity tag `W/"3"`; raise BadRequest for anything else."""
    bare = text.strip().removeprefix("W/").strip()
    if len(bare) >= 3 and bare[0] == bare[-1] == '"' and bare[1:-1].isascii() and bare[1:-1].isdigit():
        return int(bare[1:-1])
    raise BadRequest('An entity tag reads W/"3", with the version of the resource.')

"""Stored bodies: a resource with the id and meta that the server gives it."""

from __future__ import annotations

from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import BadRequest
from fhir_server.interactions.instant import write_instant
from fhir_server.model import Resource, Version

_ETAG: Final = 'An entity tag reads W/"3", with the version of the resource.'


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
    """Whether storing `resource` over that version would change nothing, whatever the order of its keys."""
    made = stamped(resource, id, version, at)
    written = gate.write(made)
    if written == body:
        return True
    return len(written) == len(body) and gate.write(_in_order(made)) == gate.write(_in_order(gate.load(body)))


def _in_order(value: Any) -> Any:
    """Return a value with the keys of all its objects in order."""
    if isinstance(value, dict):
        return {name: _in_order(value[name]) for name in sorted(value)}
    return [_in_order(item) for item in value] if isinstance(value, list) else value


def names(tags: str, version: Version) -> bool:
    """Whether If-None-Match names a version: by `*`, or its entity tag, weak or strong (RFC 9110 §13.1.2)."""
    return tags.strip() == "*" or version.etag[2:] in [tag.strip().removeprefix("W/") for tag in tags.split(",")]


def etag_version(text: str) -> int:
    """Read the version of an entity tag `W/"3"`; raise BadRequest for anything else."""
    found = etag_versions(text)
    if len(found) == 1 and found[0].isascii() and found[0].isdigit():
        return int(found[0])
    raise BadRequest(_ETAG)


def etag_versions(text: str) -> list[str]:
    """Read the versions of entity tags, `W/"3", "4"` (RFC 9110 §13.1.1); raise BadRequest for anything else."""
    bare = [tag.strip().removeprefix("W/").strip() for tag in text.split(",")]
    if not all(len(tag) >= 3 and tag[0] == tag[-1] == '"' and '"' not in tag[1:-1] for tag in bare):
        raise BadRequest(_ETAG)
    return [tag[1:-1] for tag in bare]

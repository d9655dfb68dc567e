"""JSON Merge Patch: objects are merged member by member, null removes, anything else replaces.

Source: RFC 7396, https://www.rfc-editor.org/rfc/rfc7396
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fhir_server.errors import BadRequest
from fhir_server.model import Resource
from fhir_server.patch.target import worked


def read(document: Any) -> Callable[[Resource], Resource]:
    """Check a document and return the patch; raise BadRequest where it is no object.

    RFC 7396 lets any value replace the whole target; of a resource that would leave no resource.
    """
    if not isinstance(document, dict):
        raise BadRequest("A merge patch of a resource is a JSON object.")
    return partial(_apply, document)


def apply(resource: Resource, patch: Any) -> Resource:
    """Return the resource with a merge patch applied; see `document.read` for what it raises."""
    return read(patch)(resource)


def _apply(document: dict[str, Any], resource: Resource) -> Resource:
    return worked(resource, lambda target: merged(target, document))


def merged(target: Any, patch: Any) -> Any:
    """Return what MergePatch of RFC 7396 section 2 defines; `target` may be changed, `patch` is not."""
    if not isinstance(patch, dict):
        return patch
    made = target if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), value)
    return made

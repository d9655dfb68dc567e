"""References to one resource rewritten to another, wherever in a resource they stand."""

from __future__ import annotations

from typing import Any

from fhir_server.model import Resource


def relinked(resource: Resource, old: str, new: str, base_url: str) -> Resource | None:
    """Return the resource with each reference to `old` made one to `new`; None where there is none.

    References to a version stay: they tell what was. Absolute references of other servers are not ours.

    Args:
        resource: Not changed.
        old: `Type/id`.
        new: `Type/id`.
        base_url: Of this server's FHIR root; absolute references below it are local ones.
    """
    made = _relinked(resource, frozenset((old, f"{base_url}/{old}")), new)
    return made if made != resource else None


def anonymised(resource: Resource, reference: str, base_url: str) -> Resource:
    """Return the resource with each reference to a Patient replaced by one that names nobody.

    Args:
        resource: Not changed.
        reference: `Patient/id`; versions of it are meant too.
        base_url: Of this server's FHIR root.
    """
    made: Resource = _anonymised(resource, (reference, f"{base_url}/{reference}"))
    return made


def _anonymised(value: Any, references: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        reference = value.get("reference")
        if isinstance(reference, str) and reference.partition("/_history/")[0] in references:
            return {"display": "erased"}
        return {name: _anonymised(item, references) for name, item in value.items()}
    if isinstance(value, list):
        return [_anonymised(item, references) for item in value]
    return value


def _relinked(value: Any, old: frozenset[str], new: str) -> Any:
    if isinstance(value, dict):
        return {
            name: new if name == "reference" and item.__class__ is str and item in old else _relinked(item, old, new)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_relinked(item, old, new) for item in value]
    return value

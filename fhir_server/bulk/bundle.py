"""A Bundle as files have them: what it asks to be done; and a transaction made ready to be stored, in a worker.

What a worker makes ready is the plain case: creates and updates by id, of valid resources, with the answers to their
conditional references at hand. All else it leaves alone, so that it is done, or refused, step by step.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fhir_server import gate
from fhir_server.bulk.prepare import Prepared, stamp
from fhir_server.definitions import resource_types
from fhir_server.errors import FhirError, Issue, Malformed
from fhir_server.interactions import links
from fhir_server.interactions.ids import is_id, new_id
from fhir_server.model import Entry, Resource
from fhir_server.patch import carried
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import Drafter

_WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")
_READS: Final = ("GET", "HEAD")  # of which a load makes nothing
_FEWEST: Final = 2  # entries: of one alone, audit says more


def entries_of(resource: Resource) -> tuple[list[Entry], bool]:
    """Return what a resource asks to be done, and whether it must be done as one.

    Raises:
        Malformed: It is a Bundle whose entries have not the form of entries, or do not say what is asked.
        BadRequest: A patch of it is none.
    """
    if resource["resourceType"] != "Bundle":
        return [put(resource)], False
    given = resource.get("entry", [])
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise Malformed("The entries of a Bundle are a list of objects.")
    if resource.get("type") not in ("transaction", "batch"):
        return [put(entry["resource"]) for entry in given if _is_resource(entry.get("resource"))], False
    asked = [(entry, entry.get("request") or {}) for entry in given]
    if not all(isinstance(request, dict) for _, request in asked):
        raise Malformed("The request of an entry is an object.")
    if not all(request.get("method") in _WRITES + _READS for _, request in asked):
        raise Malformed("The request of an entry has a method: POST, PUT, PATCH, DELETE, GET or HEAD.")
    made = [_entry(entry, request) for entry, request in asked if request["method"] in _WRITES]
    return made, resource["type"] == "transaction"


def put(resource: Resource) -> Entry:
    """Return the entry that stores a resource under its own id, or creates one that has none."""
    type, id = resource["resourceType"], resource.get("id")
    return Entry("PUT", f"{type}/{id}", resource) if id else Entry("POST", type, resource)


def _is_resource(value: Any) -> bool:
    if value is None:
        return False
    if not isinstance(value, dict) or not isinstance(value.get("resourceType"), str):
        raise Malformed("The resource of an entry does not say its resourceType.")
    return True


def _entry(entry: Mapping[str, Any], request: Mapping[str, Any]) -> Entry:
    url, name = request.get("url", ""), entry.get("fullUrl", "")
    if_match, if_none_match = request.get("ifMatch", ""), request.get("ifNoneMatch", "")
    if_none_exist = request.get("ifNoneExist", "")
    if not all(isinstance(text, str) for text in (url, name, if_match, if_none_match, if_none_exist)):
        raise Malformed("The url and the conditions of an entry are texts.")
    resource = entry.get("resource")
    if resource is not None and not _is_resource(resource):
        raise Malformed("The resource of an entry does not say its resourceType.")
    if request["method"] == "PATCH":
        kind, body = carried(resource or {}, "Bundle.entry")
        return Entry("PATCH", url, None, name, if_match, body=body, media_type=kind)
    return Entry(request["method"], url, resource, name, if_match, if_none_match, if_none_exist)


def prepare_bundle(
    body: bytes,
    known: Mapping[str, str],
    validate: Callable[[Resource], list[Issue]],
    index: Callable[..., Indexed],
    drafter: Drafter | None = None,
) -> list[Prepared]:
    """Prepare a transaction; empty where it must be done step by step, whatever the reason.

    Args:
        body: The Bundle.
        known: Conditional reference -> `Type/id`, as found before.
        validate: Resource -> issues.
        index: Resource, and its body for a drafter, -> index values.
        drafter: Does the store's part, where it can be done here.

    Returns:
        Its resources in the order in which they are stored, with their links replaced; `line` is the entry's number.
    """
    try:
        entries, together = entries_of(gate.parse_resource(body))
    except FhirError:
        return []
    if not together or len(entries) < _FEWEST:
        return []
    targets = [_target(entry) for entry in entries]
    if not all(targets) or not _are_apart(entries, targets) or _may_answer(targets, known):
        return []
    named = links.Links(known)
    for entry, target in zip(entries, targets, strict=True):
        if entry.full_url:
            named.add(entry.full_url, target)
    made = []
    for number in sorted(range(len(entries)), key=lambda n: entries[n].method):  # creates first
        resource = entries[number].resource
        assert resource is not None, "it has a target"
        if any(issue.severity in ("error", "fatal") for issue in validate(resource)):
            return []
        linked, unknown = links.linked(resource, named.of(entries[number].full_url))
        if unknown:
            return []
        type, _, id = targets[number].partition("/")
        given = entries[number].method == "PUT"
        made.append(stamp(number, (type, id, given), linked, index, drafter))
    return made


def _target(entry: Entry) -> str:
    """Return `Type/id` of what a plain create or update stores, "" for all other entries."""
    resource = entry.resource
    if resource is None or entry.if_match or entry.if_none_match or entry.if_none_exist:
        return ""
    type, id = resource["resourceType"], resource.get("id")
    if type not in resource_types():
        return ""
    if entry.method == "POST" and entry.url == type:
        return f"{type}/{new_id()}"
    if entry.method == "PUT" and isinstance(id, str) and is_id(id) and entry.url == f"{type}/{id}":
        return entry.url
    return ""


def _may_answer(targets: Sequence[str], known: Mapping[str, str]) -> bool:
    """Whether a conditional reference may mean what the transaction itself stores: it is resolved after the writes."""
    stored = {target.partition("/")[0] for target in targets}
    return any(reference.partition("?")[0] in stored for reference in known)


def _are_apart(entries: Sequence[Entry], targets: Sequence[str]) -> bool:
    """Whether no two entries store the same resource or have the same name."""
    names = [entry.full_url for entry in entries if entry.full_url]
    return len(set(targets)) == len(targets) and len(set(names)) == len(names)

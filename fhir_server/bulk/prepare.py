"""A line of NDJSON made ready to be stored, as far as that needs no store: parsed, validated, stamped, indexed.

Runs in worker processes. What it gives is made of tuples, texts, bytes and numbers, so that `marshal` carries it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from fhir_server import gate
from fhir_server.bulk import wire
from fhir_server.definitions import resource_types
from fhir_server.errors import FhirError, Issue
from fhir_server.interactions.body import stamped
from fhir_server.interactions.ids import is_id, new_id
from fhir_server.interactions.instant import write_instant
from fhir_server.model import Resource
from fhir_server.profiles.beforehand import Beforehand
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import Drafter, Drafting

_conditional = re.compile(rb'"reference"\s*:\s*"[A-Z][A-Za-z]+\?').search
_NO_TIME: Final = write_instant(0)
MOST_ISSUES: Final = 20  # of a line that are told


class Prepared(NamedTuple):
    """A line: a resource ready to be stored, or what is wrong with it (`type` is "" then)."""

    line: int
    type: str
    id: str
    given: bool  # whether the line had the id; else it is new
    body: bytes  # as version 1 of the epoch: `complete` puts in the real ones
    indexed: bytes  # `wire.pack`ed; b"" where there is a draft
    issues: tuple[tuple[str, str, str, str], ...] = ()
    waits: bool = False  # whether it refers to others by condition, which only the store can answer
    owners: tuple[str, ...] = ()  # of what is drafted
    profiles: tuple[str, ...] | None = None  # declared by it and those inside, not judged yet; None: nobody looked
    draft: tuple[Any, ...] = ()  # what the store's drafter made, where it has one
    shared: tuple[list[Any], list[Any]] = ([], [])  # terms and values that the draft names; sent once for a block


def prepare(
    body: bytes,
    line: int,
    validate: Callable[[Resource], list[Issue]],
    index: Callable[..., Indexed],
    drafter: Drafter | None = None,
) -> list[Prepared]:
    """Prepare each line of a block that is not blank.

    Args:
        body: Whole lines.
        line: Number of the first.
        validate: Resource -> issues.
        index: Resource, and its body for a drafter, -> index values.
        drafter: Does the store's part, where it can be done here.
    """
    return [
        _prepare(text, number, validate, index, drafter)
        for number, text in enumerate(body.split(b"\n"), line)
        if text.strip()
    ]


def _prepare(
    text: bytes,
    line: int,
    validate: Callable[[Resource], list[Issue]],
    index: Callable[..., Indexed],
    drafter: Drafter | None,
) -> Prepared:
    try:
        resource = gate.parse_resource(text.strip())
    except FhirError as error:
        return refused(line, error.issues)
    type: str = resource["resourceType"]
    id = resource.get("id")
    if type not in resource_types():
        return refused(line, (Issue("not-supported", "There is no such resource type in R4."),))
    given = id is not None
    if given and not (isinstance(id, str) and is_id(id)):
        return refused(line, (Issue("value", "An id is 1 to 64 letters, digits, dots and dashes.", f"{type}.id"),))
    found = [issue for issue in validate(resource) if issue.severity in ("error", "fatal")]
    if found:
        return refused(line, tuple(found[:MOST_ISSUES]))
    waits = _conditional(text) is not None
    return stamp(line, (type, str(id) if given else new_id(), given), resource, index, drafter, waits=waits)


def stamp(
    line: int,
    key: tuple[str, str, bool],
    resource: Resource,
    index: Callable[..., Indexed],
    drafter: Drafter | None,
    *,
    waits: bool = False,
) -> Prepared:
    """Return a valid resource as it will be stored, with its values, or what the store's drafter made of them.

    Args:
        line: Its number.
        key: Type, id, and whether the id was given.
        resource: As it came; not changed.
        index: Resource, and its body for a drafter, -> index values.
        drafter: Does the store's part, where it can be done here.
        waits: Whether it refers to others by condition.
    """
    type, id, given = key
    made = stamped(resource, id, 1, 0)
    written, profiles = gate.write(made), _profiles(made)
    if profiles:
        profiles = _beforehand().left(made, written, profiles)
    indexed = index(made) if drafter is None else index(made, written)  # by a pattern, which drafters take
    if drafter is None:
        return Prepared(line, type, id, given, written, wire.pack(indexed), waits=waits, profiles=profiles)
    draft = drafter.draft(type, indexed, written, _NO_TIME)
    return Prepared(line, type, id, given, written, b"", (), waits, indexed.owners, profiles, draft)


def _profiles(resource: Resource) -> tuple[str, ...] | None:
    """Return the profiles that a valid resource and those inside of it declare; None where they may be anywhere."""
    if resource["resourceType"] in ("Bundle", "Parameters"):
        return None
    inside = [inner.get("meta", {}) for inner in resource.get("contained", ())]
    return tuple([one for meta in (resource["meta"], *inside) for one in meta.get("profile", ()) if one is not None])


@cache
def _beforehand() -> Beforehand:
    return Beforehand()


def find_drafter(drafting: Drafting | None) -> Drafter | None:
    """Return the drafter that a store names."""
    if drafting is None:
        return None
    module, _, name = drafting.maker.partition(":")
    made: Drafter = getattr(importlib.import_module(module), name)(drafting.key)
    return made


def refused(line: int, issues: tuple[Issue, ...]) -> Prepared:
    """Return a line that cannot be stored."""
    return Prepared(line, "", "", False, b"", b"", tuple((i.code, i.text, i.expression, i.severity) for i in issues))


def complete(type: str, id: str, body: bytes, version: int, instant: str) -> bytes:
    """Return a prepared body with its version and time in place."""
    start = len(type) + len(id) + _BEFORE  # `stamped` writes type, id, version and time first, in this order
    rest = start + _SKIP
    return b"%b%d%b%b%b" % (body[:start], version, _BETWEEN, instant.encode(), body[rest:])


_BETWEEN: Final = b'","lastUpdated":"'
_BEFORE: Final = len('{"resourceType":"","id":"","meta":{"versionId":"')
_SKIP: Final = len("1") + len(_BETWEEN) + len(_NO_TIME)

"""One handler for each FHIR interaction; they know no web framework.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Final

from fhir_server import gate
from fhir_server.errors import BadParameter, BadRequest, Issue, NotFound, UnknownParameter
from fhir_server.http.definitions import own_definition
from fhir_server.http.message import Request, Response
from fhir_server.http.part import WHOLE, read_part
from fhir_server.http.search import link
from fhir_server.interactions import bundle
from fhir_server.interactions.body import names
from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import http_date
from fhir_server.model import Entry, Outcome, Version
from fhir_server.outcome import outcome
from fhir_server.search.clauses import list_id, shown
from fhir_server.search.query import Match
from fhir_server.search.values import Period
from fhir_server.store.protocol import HistoryQuery

MOST_PER_PAGE = 1_000
_OF_ANY = ("", "_format", "_pretty")  # parameters of every interaction
_OF_READS = (*_OF_ANY, "_summary", "_elements")
_OF_HISTORY = (*_OF_READS, "_count", "_since", "_at", "_list", "_cursor")
_EVER: Final = 2**62  # microseconds from 1970, beyond every version
_REACHES: Final[Mapping[str, Callable[[Period], tuple[int, int]]]] = {
    "eq": lambda asked: (asked.lo, asked.hi),
    "ge": lambda asked: (asked.lo, _EVER),
    "gt": lambda asked: (asked.hi, _EVER),
    "sa": lambda asked: (asked.hi, _EVER),
    "le": lambda asked: (-_EVER, asked.hi),
    "lt": lambda asked: (-_EVER, asked.lo),
    "eb": lambda asked: (-_EVER, asked.lo),
}
"""What a prefix makes of the time in `_at`: [lo, hi) in which a version was current at some point
(https://hl7.org/fhir/R4/http.html#history refers to https://hl7.org/fhir/R4/search.html#date)."""


async def read(hub: Hub, request: Request) -> Response:
    """Serve read (https://hl7.org/fhir/R4/http.html#read)."""
    type, id = request.segments
    _check(request, _OF_READS)
    try:
        version = await hub.read_one(type, id, actor=request.actor, request_id=request.id)
    except NotFound:
        own = own_definition(hub.base_url, hub.operations, type, id)
        if own is None:
            raise
        return Response(200, read_part(request, (type,)).of(gate.write(dict(own))))
    return _versioned(request, version)


async def vread(hub: Hub, request: Request) -> Response:
    """Serve vread (https://hl7.org/fhir/R4/http.html#vread)."""
    type, id, _, number = request.segments
    _check(request, _OF_READS)
    is_number = number.isascii() and number.isdigit() and len(number) < 10 and number[0] != "0"
    asked = int(number) if is_number else 0
    version = await hub.read_one(type, id, actor=request.actor, version=asked, request_id=request.id)
    return _versioned(request, version)


def _check(request: Request, known: tuple[str, ...]) -> None:
    """Refuse a parameter that the interaction would ignore, unless handling is lenient."""
    for name, _ in request.pairs if request.query else ():
        if name not in known and not request.is_lenient:
            raise UnknownParameter(f"The parameter '{shown(name)}' is not known here.")


def _versioned(request: Request, version: Version) -> Response:
    headers = (("etag", version.etag), ("last-modified", http_date(version.at)))
    part = read_part(request, (version.type,)) if request.query else WHOLE
    if _is_known(request, version):
        return Response(304, headers=headers, at=version.at)
    return Response(200, part.of(version.body), headers, at=version.at)


def _is_known(request: Request, version: Version) -> bool:
    """Whether the caller has this version already (https://hl7.org/fhir/R4/http.html#cread)."""
    if tags := request.headers.get("if-none-match"):
        return names(tags, version)
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:  # a date that cannot be read is ignored (RFC 9110 §13.1.3)
        return version.at // 1_000_000 <= parsedate_to_datetime(since).timestamp()
    except ValueError:
        return False


def condition(request: Request, name: str) -> str:
    """Return a header that a write depends on, "" without one; raise BadRequest where it is there and says nothing."""
    value = request.headers.get(name.lower())
    if value is None:
        return ""
    if not value.strip():
        raise BadRequest(f"The header {name} is empty: what the write depends on is not said.")
    return value


async def create(hub: Hub, request: Request) -> Response:
    """Serve create, also conditional (https://hl7.org/fhir/R4/http.html#create).

    A condition in the url counts as one in If-None-Exist, as some clients send it: ignored, it would make doubles.
    """
    given = condition(request, "If-None-Exist")
    asked = ""
    if request.query:
        asked = "&".join(part for part in request.query.split("&") if part.partition("=")[0] not in _OF_ANY)
    if asked and given:
        raise BadRequest("A create has its condition in If-None-Exist or in its url, not in both.")
    entry = Entry("POST", request.segments[0], request.resource(), if_none_exist=given or asked)
    return await _write(hub, request, entry, "create")


async def update(hub: Hub, request: Request) -> Response:
    """Serve update, update as create, version-aware update (https://hl7.org/fhir/R4/http.html#update)."""
    type, id = request.segments
    _check(request, _OF_ANY)
    return await _write(hub, request, _update_entry(hub, request, f"{type}/{id}"), "update")


async def conditional_update(hub: Hub, request: Request) -> Response:
    """Serve conditional update (https://hl7.org/fhir/R4/http.html#cond-update)."""
    if not request.query:
        raise BadRequest("An update names an id in its url, or a condition.")
    return await _write(hub, request, _update_entry(hub, request, f"{request.segments[0]}?{request.query}"), "update")


def _update_entry(hub: Hub, request: Request, url: str) -> Entry:
    return Entry(
        "PUT",
        url,
        request.resource(),
        if_match=condition(request, "If-Match"),
        if_none_match=condition(request, "If-None-Match"),
        must_exist=not hub.update_create,
    )


async def patch(hub: Hub, request: Request) -> Response:
    """Serve patch (https://hl7.org/fhir/R4/http.html#patch)."""
    type, id = request.segments
    _check(request, _OF_ANY)
    return await _write(hub, request, _patch_entry(request, f"{type}/{id}"), "patch")


async def conditional_patch(hub: Hub, request: Request) -> Response:
    """Serve conditional patch (https://hl7.org/fhir/R4/http.html#patch)."""
    if not request.query:
        raise BadRequest("A patch names an id in its url, or a condition.")
    return await _write(hub, request, _patch_entry(request, f"{request.segments[0]}?{request.query}"), "patch")


def _patch_entry(request: Request, url: str) -> Entry:
    kind = request.headers.get("content-type", "")
    return Entry("PATCH", url, if_match=condition(request, "If-Match"), body=request.body, media_type=kind)


async def delete(hub: Hub, request: Request) -> Response:
    """Serve delete (https://hl7.org/fhir/R4/http.html#delete)."""
    type, id = request.segments
    _check(request, _OF_ANY)
    entry = Entry("DELETE", f"{type}/{id}", if_match=condition(request, "If-Match"))
    return await _write(hub, request, entry, "delete")


async def conditional_delete(hub: Hub, request: Request) -> Response:
    """Serve conditional delete, of several where `_count` or a setting allows (https://hl7.org/fhir/R4/http.html#3.1.0.7.1)."""
    if not request.query:
        raise BadRequest("A delete names an id in its url, or a condition.")
    if_match = condition(request, "If-Match")
    entry = Entry("DELETE", f"{request.segments[0]}?{request.query}", if_match=if_match)
    return await _write(hub, request, entry, "delete")


async def _write(hub: Hub, request: Request, entry: Entry, interaction: str) -> Response:
    made = await hub.write([entry], actor=request.actor, interaction=interaction, request_id=request.id)
    return written(hub, wanted_of(request, entry, made[0]), made[0])


def wanted_of(request: Request, entry: Entry, made: Outcome, otherwise: str = "representation") -> str:
    """Return what a write is answered with, as Prefer asks; a patch shows nothing that the scopes do not let read."""
    wanted = request.preferences.get("return", otherwise)
    version = made.version
    is_new = entry.method != "PATCH" or version is None or request.actor.may("r", version.type)
    return wanted if is_new or wanted != "representation" else "minimal"


def written(hub: Hub, wanted: str, made: Outcome) -> Response:
    """Answer a write as Prefer asks: minimal, representation or OperationOutcome."""
    version = made.version
    if version is None or version.is_deleted:
        if wanted == "OperationOutcome":
            text = f"Deleted: {made.written if made.changed else 0}."
            body = gate.write(outcome([Issue("informational", text, severity="information")]))
            return Response(200, body, () if version is None else (("etag", version.etag),))
        if version is None:
            return Response(204)
        return Response(204, headers=(("etag", version.etag),), at=version.at)
    headers = [("etag", version.etag), ("last-modified", http_date(version.at))]
    if made.status == 201 or not made.changed:
        headers.append(("location", f"{hub.base_url}/{version.reference}/_history/{version.version}"))
    if wanted == "minimal":
        return Response(made.status, b"", tuple(headers), at=version.at)
    body = version.body
    if wanted == "OperationOutcome":
        text = "Stored." if made.changed else "Nothing changed."
        body = gate.write(outcome([Issue("informational", text, severity="information")]))
    return Response(made.status, body, tuple(headers), at=version.at)


async def history_instance(hub: Hub, request: Request) -> Response:
    """Serve the history of a resource (https://hl7.org/fhir/R4/http.html#history)."""
    return await _history(hub, request, request.segments[0], request.segments[1])


async def delete_history(hub: Hub, request: Request) -> Response:
    """Serve the removal of all earlier versions, as R6 has it (https://hl7.org/fhir/6.0.0-ballot3/http.html#delete-history)."""
    type, id, _ = request.segments
    gone = await hub.forget(type, id, actor=request.actor, request_id=request.id)
    if request.preferences.get("return") == "OperationOutcome":
        return Response(200, gate.write(outcome([Issue("informational", f"Deleted: {gone}.", severity="information")])))
    return Response(204)


async def history_type(hub: Hub, request: Request) -> Response:
    """Serve the history of a type."""
    return await _history(hub, request, request.segments[0], "")


async def history_system(hub: Hub, request: Request) -> Response:
    """Serve the history of everything."""
    return await _history(hub, request, "", "")


async def _history(hub: Hub, request: Request, type: str, id: str) -> Response:
    query = _history_query(hub, request, type, id)
    part = read_part(request, (type,) if type else hub.types, counts=True)
    of_list = "".join(list_id(name, value) for name, value in request.pairs if name == "_list")
    versions, total, has_more = await hub.history(query, actor=request.actor, request_id=request.id, of_list=of_list)
    is_whole = not of_list and query.since is None and query.at is None and query.before_seq is None
    if id and not versions and not total and is_whole:
        await hub.read_one(type, id, actor=request.actor, request_id=request.id)  # absent or hidden: 404
    path = "/".join(request.segments)
    kept = [pair for pair in request.pairs if pair[0] in _OF_HISTORY and pair[0] != "_cursor"]
    base = f"{hub.base_url}/{path}"
    links = [("self", link(base, kept))]
    if part.summary == "count" or query.count == 0:
        return Response(200, bundle.history(hub.base_url, [], total, links))
    if has_more:
        cursor = hub.cursors.write((versions[-1].seq,), request.actor, path)
        links.append(("next", link(base, [*kept, ("_cursor", cursor)])))
    if not part.is_whole:
        versions = [v._replace(body=part.of(v.body)) if v.body else v for v in versions]
    return Response(200, bundle.history(hub.base_url, versions, total, links))


def _history_query(hub: Hub, request: Request, type: str, id: str) -> HistoryQuery:
    query = HistoryQuery(type, id)
    names = [name for name, _ in request.pairs]
    for name, value in request.pairs:
        if names.count(name) > 1:
            raise BadParameter(f"The parameter '{shown(name)}' is given twice.")
        if name == "_count":
            if not (value.isascii() and value.isdigit()):
                raise BadParameter("_count is a whole number, not below zero.")
            query = replace(query, count=min(int(value[:10]), MOST_PER_PAGE))
        elif name == "_since":
            query = replace(query, since=_span(hub, name, value)[0])
        elif name == "_at":
            query = replace(query, at=_span(hub, name, value, _REACHES))
        elif name == "_cursor":
            query = replace(query, before_seq=hub.cursors.read(value, request.actor, "/".join(request.segments))[0])
        elif name not in _OF_HISTORY and not request.is_lenient:
            raise UnknownParameter(f"History does not know the parameter '{shown(name)}'.")
    return query


def _span(hub: Hub, name: str, text: str, prefixes: Collection[str] = ("eq",)) -> tuple[int, int]:
    """Read a time as a search parameter of type date does, so that both know the same zone and the same prefixes."""
    try:
        asked = hub.query("Patient", [("_lastUpdated", text)]).where[0]
    except BadParameter:
        asked = None
    asks = asked.asks if isinstance(asked, Match) else ()
    if len(asks) != 1 or asks[0].prefix not in prefixes or not isinstance(asks[0].value, Period):
        raise BadParameter(f"{name} is an instant, or a date.")
    return _REACHES[asks[0].prefix](asks[0].value)

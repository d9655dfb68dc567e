"""Batch and transaction.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from fhir_server import gate
from fhir_server.definitions import properties
from fhir_server.errors import BadRequest, FhirError, Malformed, TooCostly
from fhir_server.http.handlers import wanted_of, written
from fhir_server.http.message import JSON, Request, Response
from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import http_date, write_instant
from fhir_server.model import Entry, Outcome, Resource
from fhir_server.outcome import to_outcome
from fhir_server.patch import carried

MOST_ENTRIES = 20_000
AT_ONCE = 32  # batch entries under way at the same time

Serve = Callable[[Hub, Request], Awaitable[Response]]


async def bundle(hub: Hub, request: Request, serve: Serve) -> Response:
    """Serve a Bundle posted to the base: a batch or a transaction."""
    resource = request.resource()
    if resource["resourceType"] != "Bundle":
        raise BadRequest("Only a Bundle is posted to the base.")
    entries = _entries(resource)
    if resource.get("type") == "batch":
        return await _batch(hub, request, entries, serve)
    if resource.get("type") == "transaction":
        for number, entry in enumerate(entries):
            _check_entry(entry, f"{hub.base_url}/", f"Bundle.entry[{number}]")
        return await _transaction(hub, request, entries, serve)
    raise BadRequest("A Bundle posted to the base is a batch or a transaction.", expression="Bundle.type")


def _entries(resource: Resource) -> list[dict[str, Any]]:
    _check_elements(resource, "Bundle", "Bundle")
    entries = resource.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Malformed("Bundle.entry is a list of objects.", expression="Bundle.entry")
    if len(entries) > MOST_ENTRIES:
        raise TooCostly("A Bundle here has at most 20,000 entries.")
    return entries


def _check_entry(entry: dict[str, Any], base: str, place: str) -> None:
    """Refuse an entry that asks nothing; a url below the base becomes a relative one, as R4 has them."""
    _check_elements(entry, "Bundle.entry", place)
    asked = entry.get("request")
    if not isinstance(asked, dict) or not all(isinstance(asked.get(name, ""), str) for name in _ASKED):
        raise BadRequest("The entry says no request.", expression=f"{place}.request")
    if not asked.get("method") or not asked.get("url"):
        raise BadRequest("A request has a method and a url.", expression=f"{place}.request")
    _check_elements(asked, "Bundle.entry.request", f"{place}.request")
    asked["url"] = asked["url"].removeprefix(base)
    if not isinstance(entry.get("resource", {}), dict):
        raise Malformed("A resource is a JSON object.", expression=f"{place}.resource")


def _check_elements(value: dict[str, Any], structure: str, place: str) -> None:
    """Refuse an element that R4 does not have: a mistyped ifNoneExist that is passed over makes doubles."""
    known = properties(structure)
    for name in value:
        if name not in known and name.removeprefix("_") not in known and name != "resourceType":
            raise Malformed("R4 has no such element here.", expression=f"{place}.{name[:60]}")


async def _batch(hub: Hub, request: Request, entries: list[dict[str, Any]], serve: Serve) -> Response:
    """Serve each entry by itself, side by side with those that cannot mind; one failure harms no other."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, entry: dict[str, Any]) -> bytes:
        async with limit:
            try:
                _check_entry(entry, f"{hub.base_url}/", f"Bundle.entry[{number}]")
                return await _served(hub, request, entry, serve)
            except FhirError as error:
                return _failure(error, request.id)

    made: list[bytes] = []
    for group in _side_by_side(entries):
        made += await asyncio.gather(*(one(number, entries[number]) for number in group))
    return _answer("batch-response", made)


def _side_by_side(entries: list[dict[str, Any]]) -> Iterator[range]:
    """Yield, in order, the entries that may run at the same time: reads, or writes of which each has another url.

    R4 wants the entries of a batch independent of each other; where they are not, they are served in their order.
    """
    start, before, urls = 0, False, set[str]()
    for number, entry in enumerate(entries):
        asked = entry.get("request")
        method, url = (asked.get("method"), str(asked.get("url"))) if isinstance(asked, dict) else ("", "")
        is_read = method in ("GET", "HEAD")
        if is_read != before or (not is_read and method != "POST" and url in urls):
            yield range(start, number)
            start, before, urls = number, is_read, set()
        urls.add(url)
    yield range(start, len(entries))


async def _served(hub: Hub, outer: Request, entry: dict[str, Any], serve: Serve) -> bytes:
    response = await serve(hub, _request(outer, entry))
    method = entry["request"]["method"]
    is_write = method in _WRITES and "$" not in entry["request"]["url"] and "_search" not in entry["request"]["url"]
    is_told = is_write and outer.preferences.get("return") == "OperationOutcome"
    return _response(response._replace(body=b"") if method == "HEAD" else response, is_told=is_told)


async def _transaction(hub: Hub, request: Request, entries: list[dict[str, Any]], serve: Serve) -> Response:
    """Apply all writes or none, then serve the reads.

    A read that must fail is found before anything is written, and fails the transaction. One that fails all the same,
    since what is written made it fail, is answered as that in its entry: the writes are committed, and say so.
    """
    made: dict[int, bytes] = {}
    reads = [n for n, entry in enumerate(entries) if _is_read(entry["request"])]
    writes = [n for n, entry in enumerate(entries) if not _is_read(entry["request"])]
    if writes:
        if reads:
            await _check_reads(hub, request, entries, reads, serve)
        steps = [_step(hub, entries[n], f"Bundle.entry[{n}]") for n in writes]
        outcomes = await hub.write(
            steps, actor=request.actor, interaction="transaction", bundled=True, request_id=request.id
        )
        for number, step, outcome in zip(writes, steps, outcomes, strict=True):
            made[number] = _outcome(hub, wanted_of(request, step, outcome, "minimal"), outcome)
    for number in reads:
        try:
            made[number] = await _served(hub, request, entries[number], serve)
        except FhirError as error:
            if not writes:
                raise error.placed(f"Bundle.entry[{number}]") from None
            made[number] = _failure(error, request.id)
    return _answer("transaction-response", [made[n] for n in range(len(entries))])


async def _check_reads(
    hub: Hub, request: Request, entries: list[dict[str, Any]], reads: list[int], serve: Serve
) -> None:
    """Raise what a read of a transaction fails with; that what it makes itself is not there yet is no failure."""
    made = {entry["request"]["url"].strip("/") for entry in entries if entry["request"]["method"] == "PUT"}
    for number in reads:
        asked = _request(request, entries[number])
        try:
            await serve(hub, asked)
        except FhirError as error:
            if error.status not in (404, 410) or "/".join(asked.segments[:2]) not in made:
                raise error.placed(f"Bundle.entry[{number}]") from None


def _is_read(asked: dict[str, str]) -> bool:
    is_search = asked["method"] == "POST" and asked["url"].partition("?")[0].endswith("_search")
    return is_search or asked["method"] in ("GET", "HEAD")


def _step(hub: Hub, entry: dict[str, Any], place: str) -> Entry:
    asked = entry["request"]
    if asked["method"] == "PATCH":
        kind, body = carried(entry.get("resource", {}), place)
        full_url, if_match = str(entry.get("fullUrl", "")), asked.get("ifMatch", "")
        url = asked["url"].lstrip("/")
        return Entry("PATCH", url, full_url=full_url, if_match=if_match, body=body, media_type=kind)
    return Entry(
        method=asked["method"],
        url=asked["url"].lstrip("/"),
        resource=entry.get("resource"),
        full_url=str(entry.get("fullUrl", "")),
        if_match=asked.get("ifMatch", ""),
        if_none_match=asked.get("ifNoneMatch", ""),
        if_none_exist=asked.get("ifNoneExist", ""),
        must_exist=not hub.update_create and asked["method"] == "PUT",
    )


def _request(outer: Request, entry: dict[str, Any]) -> Request:
    asked = entry["request"]
    path, _, query = asked["url"].lstrip("/").partition("?")
    headers = {name: outer.headers[name] for name in ("prefer", "accept") if name in outer.headers}
    if not path.endswith("_search"):  # whose parameters stand in its url
        headers["content-type"] = "application/fhir+json"
    if since := asked.get("ifModifiedSince"):
        headers["if-modified-since"] = _http_date(since)
    given = (("if-match", "ifMatch"), ("if-none-match", "ifNoneMatch"), ("if-none-exist", "ifNoneExist"))
    headers |= {header: asked[name] for header, name in given if name in asked}
    body = gate.write(entry["resource"]) if "resource" in entry else b""
    if asked["method"] == "PATCH":
        headers["content-type"], body = carried(entry.get("resource", {}), "")
    segments = tuple(unquote(part) for part in path.split("/") if part)
    return Request(asked["method"], segments, query, headers, body, outer.id, outer.signed_in, metadata=outer.metadata)


def _http_date(instant: str) -> str:
    """Return an instant as HTTP writes dates; what is none is left as it is, and ignored as HTTP has it."""
    try:
        return http_date(int(datetime.fromisoformat(instant).timestamp()) * 1_000_000)
    except (ValueError, OverflowError):
        return instant


def _outcome(hub: Hub, wanted: str, outcome: Outcome) -> bytes:
    return _response(written(hub, wanted, outcome), is_told=wanted == "OperationOutcome")


def _response(response: Response, *, is_told: bool = False) -> bytes:
    """Write an entry of the answer; where `is_told`, the body is what Prefer has the server say of a write."""
    headers = dict(response.headers)
    about: dict[str, str] = {"status": str(response.status) + _REASONS.get(response.status, "")}
    if "location" in headers:
        about["location"] = headers["location"]
    if "etag" in headers:
        about["etag"] = headers["etag"]
    if response.at is not None:  # to the microsecond: it is the resource's meta.lastUpdated
        about["lastModified"] = write_instant(response.at)
    if is_told and response.body:
        return b'{"response":' + gate.write(about)[:-1] + b',"outcome":' + response.body + b"}}"
    body = response.body
    if body and response.media_type != JSON:  # what GraphQL answers: a Bundle carries it as a Binary
        kind = response.media_type.partition(";")[0]
        data = base64.b64encode(body).decode()
        body = gate.write({"resourceType": "Binary", "contentType": kind, "data": data})
    head = b'{"resource":' + body + b"," if body else b"{"
    return head + b'"response":' + gate.write(about) + b"}"


_ASKED = ("method", "url", "ifMatch", "ifNoneMatch", "ifModifiedSince", "ifNoneExist")
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_REASONS = {200: " OK", 201: " Created", 204: " No Content", 304: " Not Modified"}


def _failure(error: FhirError, request_id: str) -> bytes:
    status, resource = to_outcome(error, request_id=request_id)
    return b'{"response":' + gate.write({"status": str(status), "outcome": resource}) + b"}"


def _answer(type: str, entries: list[bytes]) -> Response:
    head = gate.write({"resourceType": "Bundle", "type": type})
    body = head[:-1] + b',"entry":[' + b",".join(entries) + b"]}" if entries else head
    return Response(200, body)

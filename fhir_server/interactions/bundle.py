"""Bundles as bytes: stored bodies are joined, not parsed again.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/bundle.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_server import gate
from fhir_server.errors import Issue
from fhir_server.interactions.instant import write_instant
from fhir_server.interactions.subset import subset
from fhir_server.model import Version
from fhir_server.outcome import outcome
from fhir_server.search.query import Query


def searchset(
    base: str,
    matches: Sequence[Version],
    included: Sequence[Version],
    *,
    query: Query,
    total: int | None,
    links: Sequence[tuple[str, str]],
    notes: Sequence[Issue],
) -> bytes:
    """Return a searchset Bundle; `notes` become one entry of mode outcome."""
    entries = _entries(base, matches, query, b"match")
    if included:
        entries += _entries(base, included, query, b"include")
    if notes:
        entries.append(b'{"resource":' + gate.write(outcome(notes)) + b',"search":{"mode":"outcome"}}')
    return _bundle("searchset", total, links, entries)


def _entries(base: str, versions: Sequence[Version], query: Query, mode: bytes) -> list[bytes]:
    is_whole = query.summary in ("false", "count") and not query.elements
    head, end = b'{"fullUrl":"' + base.encode() + b"/", b',"search":{"mode":"' + mode + b'"}}'
    made = []
    for version in versions:
        body = version.body
        if not is_whole:
            body = gate.write(subset(gate.load(body), query.summary, query.elements))
        made.append(head + version.reference.encode() + b'","resource":' + body + end)
    return made


def _bundle(type: str, total: int | None, links: Sequence[tuple[str, str]], entries: Sequence[bytes]) -> bytes:
    head: dict[str, Any] = {"resourceType": "Bundle", "type": type}
    if total is not None:
        head["total"] = total
    if links:
        head["link"] = [{"relation": relation, "url": url} for relation, url in links]
    written = gate.write(head)
    return written[:-1] + b',"entry":[' + b",".join(entries) + b"]}" if entries else written


def history(base: str, versions: Sequence[Version], total: int, links: Sequence[tuple[str, str]]) -> bytes:
    """Return a history Bundle, newest version first."""
    return _bundle("history", total, links, [_history_entry(base, version) for version in versions])


def _history_entry(base: str, version: Version) -> bytes:
    url = version.type if version.method == "POST" else version.reference
    about: dict[str, Any] = {
        "request": {"method": version.method, "url": url},
        "response": {
            "status": {"POST": "201", "DELETE": "204"}.get(version.method, "200" if version.version > 1 else "201"),
            "etag": version.etag,
            "lastModified": write_instant(version.at),
        },
    }
    head = b'{"fullUrl":"' + f"{base}/{version.reference}".encode() + b'",'
    resource = b'"resource":' + version.body + b"," if version.body else b""
    return head + resource + gate.write(about)[1:]

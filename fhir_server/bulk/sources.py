"""Where an import reads from: what was sent with the request, or addresses that it names.

Source: the bulk import proposal of SMART, https://github.com/smart-on-fhir/bulk-import/blob/master/import-manifest.md
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import Any, Final

from fhir_server import gate
from fhir_server.bulk.request import FORMATS
from fhir_server.definitions import resource_types
from fhir_server.errors import BadParameter, BadRequest, Unavailable
from fhir_server.interface import OperationCall
from fhir_server.jobs import JobContext
from fhir_server.jobs.pieces import PIECE
from fhir_server.subscriptions.outbound import Broken, Outbound, Refused

NDJSON: Final = FORMATS | {"application/x-ndjson", "application/jsonl"}
_GZIP: Final = b"\x1f\x8b"
_WBITS: Final = 31  # of zlib: a gzip head and trailer
MOST_SOURCES: Final = 1_000
KNOWN: Final = frozenset({"inputFormat", "inputSource", "storageDetail", "input", "triage"})


def is_ndjson(content_type: str) -> bool:
    """Whether a body of that type is the lines themselves."""
    return content_type.partition(";")[0].strip().lower() in NDJSON


def read_manifest(call: OperationCall) -> dict[str, Any]:
    """Return `{"urls": [...], "types": [...], "triage": bool}` of a JSON manifest or of Parameters that say the same.

    An input that names no type has "".

    Raises:
        BadRequest: It names no input.
        BadParameter: One of its values cannot be used.
    """
    body = gate.parse(call.body) if call.resource is None and call.body else call.resource or {}
    if not isinstance(body, dict):
        raise BadRequest("The manifest is a JSON object.")
    given = _of_parameters(body) if body.get("resourceType") == "Parameters" else body
    strange = sorted(set(given) - KNOWN - {"resourceType"})
    if strange and call.preferences.get("handling") != "lenient":
        raise BadParameter(f"An import has no parameter {strange[0][:60]!a}.")
    format = given.get("inputFormat", "application/fhir+ndjson")
    if not isinstance(format, str) or format not in NDJSON:
        raise BadParameter("inputFormat is application/fhir+ndjson.")
    storage = given.get("storageDetail", {})
    if isinstance(storage, dict) and storage.get("type", "https") != "https":
        raise BadParameter("storageDetail.type is https.")
    inputs = given.get("input", [])
    if not isinstance(inputs, list) or not inputs or len(inputs) > MOST_SOURCES:
        raise BadRequest(f"An import names 1 to {MOST_SOURCES} inputs, or has the lines as its body.")
    urls = [item.get("url") if isinstance(item, dict) else None for item in inputs]
    if not all(isinstance(url, str) and url for url in urls):
        raise BadParameter("Each input has a url.")
    kinds = [item.get("type") or "" for item in inputs]
    if not all(isinstance(type, str) and (not type or type in resource_types()) for type in kinds):
        raise BadParameter("The type of an input is a resource type of R4.")
    if not isinstance(triage := given.get("triage", False), bool):
        raise BadParameter("triage is true or false.")
    return {"urls": urls, "types": kinds, "triage": triage}


def _of_parameters(body: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"input": []}
    items = body.get("parameter", [])
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise BadParameter("Each parameter has a name.")
        value = next((v for k, v in item.items() if k.startswith("value")), None)
        if "part" in item:
            parts = item["part"] if isinstance(item["part"], list) else []
            value = {
                part.get("name"): next((v for k, v in part.items() if k.startswith("value")), None)
                for part in parts
                if isinstance(part, dict) and isinstance(part.get("name"), str)
            }
        if item["name"] == "input":
            made["input"].append(value)
        else:
            made[item["name"]] = value
    return made


async def read_payload(context: JobContext, start: int) -> AsyncIterator[bytes]:
    """Yield what was sent with the request, from byte `start` on."""
    skip = start % PIECE
    async for piece in context.payload(skip=start // PIECE):
        yield piece[skip:] if skip else piece
        skip = 0


async def read_url(outbound: Outbound, url: str, start: int) -> AsyncIterator[bytes]:
    """Yield what is at an address, unpacked where it is gzip, from byte `start` on; what is before is read and dropped.

    Raises:
        BadRequest: The address may not be called, or does not give the file, or not a whole one.
        Unavailable: The connection broke; the job tries again.
    """
    skip = start
    try:
        async for part in unpacked(outbound.read(url, {"Accept": "application/fhir+ndjson, application/ndjson;q=0.9"})):
            if len(part) <= skip:
                skip -= len(part)
                continue
            yield part[skip:] if skip else part
            skip = 0
    except Refused as error:
        raise BadRequest(str(error).replace("endpoint", "input")) from None
    except Broken as error:
        raise Unavailable(f"An input could not be read to its end: {error}.") from None


async def unpacked(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a stream as it is, or what is in it where it is gzip, as files of exports are kept.

    Told by its first two bytes (RFC 1952 §2.3.1), with which no line of JSON begins: stores of files seldom say it.

    Raises:
        BadRequest: It is no gzip further on, or ends too early.
    """
    stream, head = None, b""
    async for part in parts:
        if stream is None:
            head += part
            if len(head) < len(_GZIP) and _GZIP.startswith(head):
                continue
            if not head.startswith(_GZIP):
                yield head
                async for rest in parts:
                    yield rest
                return
            stream, part = zlib.decompressobj(_WBITS), head
        while part:
            try:
                if stream.eof:  # several may follow each other
                    stream = zlib.decompressobj(_WBITS)
                yield stream.decompress(part, PIECE)
            except zlib.error:
                raise BadRequest("An input begins as gzip and cannot be unpacked.") from None
            part = stream.unconsumed_tail or stream.unused_data
    if stream is None:
        yield head
        return
    yield stream.flush()
    if not stream.eof:
        raise BadRequest("An input is gzip that ends too early.")

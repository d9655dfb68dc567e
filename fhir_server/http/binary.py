"""Binary as it is: bytes in and out under their own media type, beside Binary as FHIR JSON and XML.

Who asks for no FHIR format gets the content itself. It is sent as a file, never as a page of this server: what
somebody stored must not run as a script of ours.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/binary.html#rest
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import Any, Final

from fhir_server import gate
from fhir_server.http.message import JSON, JSON_TYPES, XML, XML_TYPES, Request, Response, media_kind

_CONTEXT: Final = "x-security-context"  # the reference whose access rules are the content's
_KIND: Final = re.compile(r"[A-Za-z0-9!#$&^_.+\-]+/[A-Za-z0-9!#$&^_.+\-]+( ?;[ !-~]*)?")
_REFERENCE: Final = re.compile(r"[!-~]+")
_HEAD: Final = 500  # bytes in which a resource says what it is
_LARGE: Final = 65_536  # bytes from which content is turned in a thread, so that others are served meanwhile
_AS_A_FILE: Final = (
    ("content-disposition", "attachment"),
    ("content-security-policy", "sandbox; default-src 'none'"),
    ("x-content-type-options", "nosniff"),
)


def is_content(request: Request) -> bool:
    """Whether the body of a request is the content of a Binary itself, not a resource."""
    segments, method = request.segments, request.method
    is_write = (method == "POST" and len(segments) == 1) or (method == "PUT" and len(segments) == 2)
    if segments[:1] != ("Binary",) or not is_write:
        return False
    kind = media_kind(request.headers.get("content-type", ""))
    if kind in (JSON, XML, ""):
        return False
    head = request.body[:_HEAD]
    if kind in JSON_TYPES:  # a resource under a name that many clients use, or any other JSON
        return b'"resourceType"' not in head
    return kind not in XML_TYPES or b"<Binary" not in head


async def wrapped(request: Request) -> Request:
    """Return a request whose content became a Binary in FHIR JSON."""
    resource: dict[str, Any] = {"resourceType": "Binary"}
    if len(request.segments) == 2:
        resource["id"] = request.segments[1]
    resource["contentType"] = request.headers.get("content-type", "").strip()
    if context := request.headers.get(_CONTEXT, "").strip():
        resource["securityContext"] = {"reference": context}
    if request.body:
        resource["data"] = (await _off_loop(b64encode, request.body)).decode("ascii")
    return replace(request, body=gate.write(resource), headers={**request.headers, "content-type": JSON})


def wants_content(request: Request) -> bool:
    """Whether a read asks for the content of a Binary: it names none of FHIR's formats."""
    if request.method not in ("GET", "HEAD") or request.segments[:1] != ("Binary",):
        return False
    if len(request.segments) not in (2, 4) or request.segments[-1][:1] in ("$", "_") or "_format=" in request.query:
        return False
    return not any(
        media_kind(part) in JSON_TYPES or media_kind(part) in XML_TYPES
        for part in request.headers.get("accept", "").split(",")
    )


async def unwrapped(response: Response) -> Response:
    """Return a response with the content of the Binary that it holds; one that holds none as it is."""
    if response.status != 200 or response.media_type != JSON:
        return response
    resource = gate.load(response.body)
    data, kind = resource.get("data"), resource.get("contentType", "")
    if not isinstance(data, str):
        return response
    headers = (*response.headers, *_AS_A_FILE)
    context = resource.get("securityContext", {}).get("reference", "")
    if _REFERENCE.fullmatch(context):
        headers += ((_CONTEXT, context),)
    content = await _off_loop(b64decode, data.encode("ascii"))
    return Response(200, content, headers, kind if _KIND.fullmatch(kind) else "application/octet-stream")


def is_file(response: Response) -> bool:
    """Whether a response is such content, to be sent byte by byte as it was stored."""
    return any(name == "content-disposition" for name, _ in response.headers)


async def _off_loop(work: Any, data: bytes) -> bytes:
    made: bytes = await asyncio.to_thread(work, data) if len(data) > _LARGE else work(data)
    return made

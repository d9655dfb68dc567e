"""Posted bodies and forms: read within a bound, strictly."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from fhir_server.errors import BadRequest, TooLarge, UnsupportedMediaType
from fhir_server.http import compression

MAX_FORM = 65_536  # bytes
MAX_FIELDS = 200
_TYPE = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a posted form.

    Raises:
        UnsupportedMediaType: It is no url-encoded form.
        TooLarge: It has more than 65,536 bytes.
        BadRequest: It is no UTF-8, holds NUL, has a field twice or more than 200 fields.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != _TYPE:
        raise UnsupportedMediaType(f"A form is posted as {_TYPE}.")
    body = await read_body(request, MAX_FORM, "A form has at most 65,536 bytes.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS, separator="&"
        )
    except ValueError:  # also UnicodeDecodeError
        raise BadRequest("The form cannot be read.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadRequest("The form has a field twice.")
    if any("\x00" in text for pair in pairs for text in pair):
        raise BadRequest("The form holds the character NUL.")
    return fields


async def read_body(request: Request, most: int, too_large: str) -> bytes:
    """Return a body of at most `most` bytes.

    Raises:
        TooLarge: It is longer; `too_large` is what the caller is told.
        BadRequest: The connection ended before the body did.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise TooLarge(too_large)
            parts.append(part)
    except ClientDisconnect:
        raise BadRequest("The body was cut off.") from None
    return b"".join(parts)


async def read_unpacked(request: Request, most: int, too_large: str) -> bytes:
    """Return a body of at most `most` bytes, out of the gzip or zstd that its Content-Encoding names.

    Raises:
        TooLarge: It is longer, as it came or once it is unpacked.
        BadRequest: The connection ended before the body did.
        Malformed: It is not in the coding that it says.
        UnsupportedMediaType: A coding that is not read here.
    """
    body = await read_body(request, most, too_large)
    return await compression.decode(body, request.headers.get("content-encoding", ""), most)

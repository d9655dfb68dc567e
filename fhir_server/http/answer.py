"""Answers on their way out: their head, their content coding, in one message where the server takes it so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from fhir_server.http import compression
from fhir_server.http.message import JSON, XML, Response

WHOLE: Final = "predmp.whole"
"""Name of the ASGI extension, and type of its message: `status`, `lines` of the head, `body`.

The lines are bytes that end with CRLF each, hold no character of control beside it, and say the length of the body,
where there may be one; neither `connection` nor `transfer-encoding` is among them.
"""

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_EMPTY: Final = frozenset({204, 304})  # answers that have no body, and say no length of one
_TEXTS: Final = frozenset({JSON, XML, "application/json"})


async def answer(
    send: Send, response: Response, id: str, *, is_head: bool, coding: str = "", is_whole: bool = False
) -> None:
    """Send a response, in a content coding where the caller likes one and the body is worth it.

    Args:
        send: Of ASGI.
        response: What to send; nothing of its body where `is_head`.
        id: Of the request.
        is_head: Whether it answers HEAD.
        coding: What the caller likes best.
        is_whole: Whether `send` takes the message WHOLE.
    """
    body, chunks = response.body, response.chunks
    if coding:
        coding = _worthwhile(coding, response)
        if coding and chunks is None:
            body = await compression.encode(body, coding)
        elif coding and chunks is not None:
            chunks = compression.encode_chunks(chunks, coding)
    own = own_fields(response, id, coding, None if chunks is not None else len(body))
    if is_whole and chunks is None and response.status < 400 and (lines := whole_lines(response.headers, own)):
        await send({"type": WHOLE, "status": response.status, "lines": lines, "body": b"" if is_head else body})
        return
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in response.headers]
    headers += [(name.encode(), value.encode()) for name, value in (line.split(": ", 1) for line in own.splitlines())]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if chunks is not None and not is_head:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": b"" if is_head else body})


def _worthwhile(coding: str, response: Response) -> str:
    """Return the coding to use, "" for none."""
    if response.status in _EMPTY or (response.chunks is None and len(response.body) < compression.SMALL):
        return ""
    is_packed = any(name.lower() == "content-encoding" for name, _ in response.headers)  # files are kept so
    return "" if is_packed else coding


def own_fields(response: Response, id: str, coding: str, length: int | None) -> str:
    """Return the lines of a head that every answer has, beside its own."""
    lines = f"x-request-id: {id}\r\n"
    if response.status in _EMPTY:
        return lines
    if length != 0:
        kind = response.media_type
        charset = "; charset=utf-8" if kind in _TEXTS else ""
        lines += f"content-type: {kind}{charset}\r\nvary: Accept, Accept-Encoding\r\n"
        if coding:
            lines += f"content-encoding: {coding}\r\n"
    return lines if length is None else f"{lines}content-length: {length}\r\n"


def whole_lines(headers: tuple[tuple[str, str], ...], own: str) -> bytes:
    """Return the lines of a whole head; nothing where a value must be looked at more closely."""
    lines = ""
    for name, value in headers:
        if not value.isprintable():
            return b""  # by messages, where the server judges it
        lines += f"{name.lower()}: {value}\r\n"
    return (lines + own).encode("latin-1", "replace")

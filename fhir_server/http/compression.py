"""Content codings of bodies and answers: gzip and zstd.

Source: RFC 9110 §8.4 and §12.5.3, RFC 1952 (gzip), RFC 8878 (zstd)
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Final, Protocol

import zstandard

from fhir_server.errors import Malformed, TooLarge, UnsupportedMediaType

CODINGS: Final = ("zstd", "gzip")
"""What is written and read; among equals the first is taken."""

SMALL: Final = 1_024  # bytes below which a coding saves nothing
LARGE: Final = 65_536  # bytes from which a thread does it, so that others are served meanwhile

_GZIP: Final = 31  # wbits of zlib: a gzip head and trailer
_LEVEL: Final = 5  # of gzip: bodies are JSON, where more costs much time for little
_ZSTD_LEVEL: Final = 3
_WINDOW: Final = 1 << 23  # bytes: what a zstd reader must hold at most (RFC 8878 §3.1.1.1.2)


class Writer(Protocol):
    """One coded stream."""

    def compress(self, data: bytes) -> bytes:
        """Take more; return what is ready."""
        ...

    def flush(self) -> bytes:
        """Return the end."""
        ...


def wanted(accept_encoding: str) -> str:
    """Return the coding that an Accept-Encoding header likes best, "" for none.

    `*` does not choose one: clients that mean a coding name it.
    """
    best, chosen = 0.0, ""
    for coding in CODINGS:
        quality = _quality(coding, accept_encoding)
        if quality > best:
            best, chosen = quality, coding
    return chosen


def _quality(coding: str, header: str) -> float:
    for part in header.lower().split(","):
        name, _, parameter = part.partition(";")
        if name.strip() in (coding, f"x-{coding}"):
            value = parameter.strip().removeprefix("q=")
            try:
                return float(value) if parameter.strip() else 1.0
            except ValueError:
                return 0.0
    return 0.0


def writer(coding: str) -> Writer:
    """Return a stream that writes a coding."""
    if coding == "zstd":
        return zstandard.ZstdCompressor(_ZSTD_LEVEL).compressobj()
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)


async def encode(body: bytes, coding: str) -> bytes:
    """Return a body in a coding."""
    return await asyncio.to_thread(_encode, body, coding) if len(body) > LARGE else _encode(body, coding)


def _encode(body: bytes, coding: str) -> bytes:
    stream = writer(coding)
    return stream.compress(body) + stream.flush()


async def encode_chunks(chunks: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    """Yield the parts of a body in a coding."""
    stream = writer(coding)
    async for chunk in chunks:
        if made := stream.compress(chunk):
            yield made
    yield stream.flush()


async def decode(body: bytes, content_encoding: str, limit: int) -> bytes:
    """Return what a Content-Encoding hides.

    Args:
        body: As it came.
        content_encoding: The header's value: one coding, or identity.
        limit: Bytes that the result may have.

    Raises:
        UnsupportedMediaType: A coding that is not read here.
        Malformed: The body is not in that coding, or ends too early.
        TooLarge: It would become larger than the limit; no more than that is made of it.
    """
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "zstd"):
        error = UnsupportedMediaType("Bodies are read as they are, in gzip or in zstd.")
        error.headers["Accept-Encoding"] = ", ".join(CODINGS)
        raise error
    read = _read_zstd if coding == "zstd" else _read_gzip
    return await asyncio.to_thread(read, body, limit) if len(body) > SMALL else read(body, limit)


def _read_gzip(body: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj(_GZIP)
    try:
        made = stream.decompress(body, limit + 1)
    except zlib.error:
        raise Malformed("The body is not in the coding that it says.") from None
    if len(made) > limit:
        raise _too_large(limit)
    if not stream.eof or stream.unused_data:
        raise Malformed("The body is not one whole gzip stream.")
    return made


def _read_zstd(body: bytes, limit: int) -> bytes:
    stream = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(body)
    try:
        made = stream.read(limit + 1)
        ended = len(made) > limit or not stream.read(1)
        size = zstandard.frame_content_size(body)
    except zstandard.ZstdError:
        raise Malformed("The body is not in the coding that it says.") from None
    if len(made) > limit:
        raise _too_large(limit)
    if not ended or size not in (-1, len(made)):
        raise Malformed("The body is not one whole zstd frame.")
    return bytes(made)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes once it is unpacked.")

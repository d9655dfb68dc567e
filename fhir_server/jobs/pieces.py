"""Large bytes as durable rows: each piece is one gzip member, so that pieces put together are gzip too.

Source: RFC 1952 §2.2, https://www.rfc-editor.org/rfc/rfc1952 ("A gzip file consists of a series of members").
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from fhir_server.store.protocol import View

PIECE: Final = 524_288  # bytes of a piece before it is packed: far below what a document of MongoDB may hold
_AT_ONCE: Final = 8  # pieces read at once
_LEVEL: Final = 1


def pack(body: bytes) -> bytes:
    """Return the bytes as one gzip member."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def unpack(piece: bytes) -> bytes:
    """Return what `pack` was given."""
    return zlib.decompress(piece, 31)


async def read_pieces(
    view: Callable[[], AbstractAsyncContextManager[View]], kind: str, lane: str, *, skip: int = 0
) -> AsyncIterator[bytes]:
    """Yield the pieces of a lane in order, packed as they are kept; holds no state of the store meanwhile."""
    after = 0
    while True:
        async with view() as state:
            records = await state.records(kind, lane=lane, after=after, limit=_AT_ONCE)
        for record in records:
            if skip:
                skip -= 1
            else:
                yield record.body
        if len(records) < _AT_ONCE:
            return
        after = records[-1].seq

"""NDJSON in blocks of whole lines, from parts of any size.

Source: Bulk Data Access 2.0, https://hl7.org/fhir/uv/bulkdata/STU2/export.html#file-requests (one resource a line)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from fhir_server.errors import TooLarge

BLOCK: Final = 786_432  # bytes from which lines are handed on
MAX_LINE: Final = 33_554_432  # bytes of one line


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole lines."""

    body: bytes
    line: int  # number of the first line, from 1
    end: int  # bytes of the stream up to the end of the last line
    lines: int  # how many

    @property
    def after(self) -> int:
        """The number of the line that follows."""
        return self.line + self.lines


async def read_blocks(
    parts: AsyncIterator[bytes], *, line: int = 1, start: int = 0, size: int = BLOCK
) -> AsyncIterator[Block]:
    """Yield the lines of a stream in blocks of about `size` bytes.

    Args:
        parts: The stream from byte `start` on.
        line: Number of the line that begins there.
        start: Where the stream begins.
        size: Bytes of a block.

    Raises:
        TooLarge: A line is longer than 32 MiB.
    """
    waiting = bytearray()
    async for part in parts:
        waiting += part
        if len(waiting) < size:
            continue
        cut = waiting.rfind(b"\n") + 1
        if not cut:
            if len(waiting) > MAX_LINE:
                raise TooLarge("A line is longer than 33,554,432 bytes.")
            continue
        block = _block(bytes(waiting[:cut]), line, start)
        del waiting[:cut]
        line, start = block.after, block.end
        yield block
    if waiting:
        yield _block(bytes(waiting), line, start)


def _block(body: bytes, line: int, start: int) -> Block:
    return Block(body, line, start + len(body), body.count(b"\n") + (not body.endswith(b"\n")))

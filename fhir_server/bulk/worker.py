"""A worker process: blocks of NDJSON in, prepared resources out, by length-prefixed frames on its pipes.

`python -m fhir_server.bulk.worker ZONE BASE_URL`. It ends when its standard input does: with whoever started it,
however that ended. Both sides are of the same installation, so `marshal` is fit to carry the answers.
"""

from __future__ import annotations

import gc
import marshal
import struct
import sys
from typing import BinaryIO, Final

from fhir_server.bulk.prepare import prepare
from fhir_server.search.extract import Indexer
from fhir_server.validation import validate

HEAD: Final = struct.Struct("<IQ")  # bytes of the body, number of its first line
SIZE: Final = struct.Struct("<I")


def main() -> None:
    """Serve blocks until there are no more."""
    _, zone, base_url = sys.argv
    index = Indexer(zone, base_url)
    prepare(b'{"resourceType":"Patient"}', 1, validate, index)  # compiled before the first block comes
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sink.write(SIZE.pack(0))  # ready
    sink.flush()
    while (head := source.read(HEAD.size)) and len(head) == HEAD.size:
        size, line = HEAD.unpack(head)
        _answer(sink, marshal.dumps([tuple(made) for made in prepare(source.read(size), line, validate, index)]))


def _answer(sink: BinaryIO, body: bytes) -> None:
    sink.write(SIZE.pack(len(body)))
    sink.write(body)
    sink.flush()


if __name__ == "__main__":
    main()

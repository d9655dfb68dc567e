"""A worker process: blocks of NDJSON and Bundles in, prepared resources out, by length-prefixed frames on its pipes.

`python -m fhir_server.bulk.worker`, which may be started before it is known what for: the first frame says it (zone,
base URL, maker of the store's drafter and its key, by `marshal`). It ends when its standard input does: with whoever
started it, however that ended. Both sides are of the same installation, so `marshal` is fit to carry the answers.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import struct
import sys
from contextlib import suppress
from queue import Queue
from threading import Thread
from typing import BinaryIO, Final

from fhir_server.bulk.bundle import prepare_bundle
from fhir_server.bulk.prepare import find_drafter, prepare
from fhir_server.collector import BULK, settle
from fhir_server.search.extract import Indexer
from fhir_server.store.protocol import Drafting
from fhir_server.validation import validate

HEAD: Final = struct.Struct("<IQ")  # bytes of the body, number of its first line
BUNDLE: Final = 2**64 - 1  # in the place of that number: the body is, by `marshal`, a Bundle and its answers
SIZE: Final = struct.Struct("<I")
_NICE: Final = 5  # whoever writes, and whoever is served by that process, goes first
_PIPE: Final = 1_048_576  # bytes
_SWITCH_S: Final = 0.000_5  # the threads of the pipes have little to do, but at once
_WAITING: Final = 4  # blocks, and answers, that wait here


def main() -> None:
    """Serve blocks until there are no more."""
    os.nice(_NICE)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    told_first = source.read(HEAD.size)
    if not told_first:
        return  # nothing is to be done
    zone, base_url, maker, key = marshal.loads(source.read(HEAD.unpack(told_first)[0]))  # noqa: S302  # ours
    index, drafter = Indexer(zone, base_url), find_drafter(Drafting(maker, key) if maker else None)
    prepare(b'{"resourceType":"Patient"}', 1, validate, index)  # compiled before the first block comes
    settle(BULK)
    sys.setswitchinterval(_SWITCH_S)
    for pipe in (source, sink):
        _widen(pipe)
    blocks: Queue[tuple[bytes, int] | None] = Queue(_WAITING)
    answers: Queue[bytes | None] = Queue(_WAITING)
    threads = [Thread(target=_read, args=(source, blocks)), Thread(target=_write, args=(sink, answers))]
    for thread in threads:
        thread.daemon = True  # where the other side is gone, nobody waits for what it was sent
        thread.start()
    answers.put(b"")  # ready
    told = 0  # terms that the other side has
    while (block := blocks.get()) is not None:
        body, line = block
        if line == BUNDLE:
            bundle, known = marshal.loads(body)  # noqa: S302  # our own process wrote it
            found = prepare_bundle(bundle, known, validate, index, drafter)
        else:
            found = prepare(body, line, validate, index, drafter)
        made = [tuple(one[:-1]) for one in found]
        terms = drafter.terms[told:] if drafter is not None else []
        told += len(terms)
        answers.put(marshal.dumps((terms, drafter.take() if drafter is not None else [], made)))
    answers.put(None)
    threads[1].join()


def _widen(pipe: BinaryIO) -> None:
    """Let a pipe hold a whole block, where the system allows that: else its sides wait for each other."""
    size = getattr(fcntl, "F_SETPIPE_SZ", None)
    if size is not None:
        with suppress(OSError):
            fcntl.fcntl(pipe, size, _PIPE)


def _read(source: BinaryIO, blocks: Queue[tuple[bytes, int] | None]) -> None:
    """Read blocks ahead: the other side writes as its other work lets it."""
    while len(head := source.read(HEAD.size)) == HEAD.size:
        size, line = HEAD.unpack(head)
        blocks.put((source.read(size), line))
    blocks.put(None)


def _write(sink: BinaryIO, answers: Queue[bytes | None]) -> None:
    """Write answers, while the next one is made."""
    with suppress(BrokenPipeError):
        while (body := answers.get()) is not None:
            sink.write(SIZE.pack(len(body)))
            sink.write(body)
            sink.flush()
        return
    while answers.get() is not None:
        continue  # nobody reads them any more: the blocks will end too


if __name__ == "__main__":
    main()

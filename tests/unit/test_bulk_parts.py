"""Parts of the bulk pipeline: blocks of lines, prepared bodies, values on the wire."""

from __future__ import annotations

import gzip
import marshal
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.bulk import wire
from fhir_server.bulk.crew import Worker
from fhir_server.bulk.lines import read_blocks
from fhir_server.bulk.pool import Pool
from fhir_server.bulk.prepare import complete, prepare
from fhir_server.bulk.sources import unpacked
from fhir_server.bulk.worker import HEAD
from fhir_server.interactions.body import stamped
from fhir_server.interactions.instant import write_instant
from fhir_server.search.extract import Indexer
from fhir_server.validation import validate
from tests.conformance.examples import bodies

INDEX = Indexer("Europe/Paris", "http://hub.example/fhir")


async def parts_of(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@given(
    st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"")), max_size=20), st.integers(1, 30), st.booleans()
)
async def test_blocks_put_together_are_the_stream(lines: list[bytes], size: int, ended: bool) -> None:
    body = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    line, end, seen = 1, 0, b""
    async for block in read_blocks(parts_of(body, size), size=size):
        assert block.line == line and block.body
        line, end, seen = block.after, block.end, seen + block.body
        assert end == len(seen)
    assert seen == body


@given(st.lists(st.binary(max_size=300_000 // 4).map(lambda b: b"{" + b * 4), max_size=3), st.integers(1, 3_000))
@settings(max_examples=30)
async def test_a_packed_stream_is_unpacked_however_it_is_parted(bodies: list[bytes], size: int) -> None:
    whole = b"".join(bodies)
    packed = b"".join(gzip.compress(body, mtime=0) for body in bodies)
    for sent in (whole, packed):
        assert b"".join([part async for part in unpacked(parts_of(sent, max(size, len(sent) // 500)))]) == whole


def test_what_is_prepared_is_what_a_write_would_store() -> None:
    """Over every R4 example: the body of any version, the values and the owners."""
    for body in bodies().values():
        resource = gate.parse_resource(body)
        if "id" not in resource:
            continue
        prepared = prepare(gate.write(resource), 1, validate, INDEX)[0]
        if not prepared.type:
            continue
        as_written = stamped(resource, resource["id"], 12, 1_700_000_000_123_456)
        instant = write_instant(1_700_000_000_123_456)
        assert complete(prepared.type, prepared.id, prepared.body, 12, instant) == gate.write(as_written)
        unpacked, indexed = wire.unpack(prepared.indexed), INDEX(as_written)
        mine = {code: found for code, found in unpacked.values.items() if code != "_lastUpdated"}
        assert mine == {code: found for code, found in indexed.values.items() if code != "_lastUpdated"}
        assert unpacked.owners == indexed.owners


@pytest.mark.parametrize(
    ("line", "code"),
    [
        pytest.param(b"{", "structure", id="no JSON"),
        pytest.param(b"[]", "structure", id="no object"),
        pytest.param(b'{"resourceType":"Nothing"}', "not-supported", id="no type of R4"),
        pytest.param(b'{"resourceType":"Patient","id":"a/b"}', "value", id="no id"),
        pytest.param(b'{"resourceType":"Patient","id":7}', "value", id="an id that is a number"),
    ],
)
def test_a_line_is_refused_for(line: bytes, code: str) -> None:
    (made,) = prepare(b"\n" + line + b"\n\n", 5, validate, INDEX)
    assert (made.line, made.type, made.issues[0][0]) == (6, "", code)


async def test_workers_give_what_this_process_gives_in_order() -> None:
    lines = b"".join(
        b'{"resourceType":"Patient","id":"p%d","birthDate":"1951-04-%02d","name":[{"family":"D\xc3\xa9"}]}\n'
        % (n, n % 30 + 1)
        for n in range(600)
    )
    base = "http://hub.example/fhir"
    made = {}
    for size in (0, 2):
        pool = Pool(validate, INDEX, zone="Europe/Paris", base_url=base, size=size)
        try:
            blocks = read_blocks(parts_of(lines, 1000), size=4000)
            made[size] = [line async for _, found in pool.prepare(blocks) for line in found]
        finally:
            await pool.stop()
    assert made[0] == made[2] and [line.id for line in made[0]] == [f"p{n}" for n in range(600)]


def test_a_worker_ends_with_whoever_started_it() -> None:
    """Nobody reads its answers, more than wait in it, and no more blocks come."""
    command = [sys.executable, "-m", "fhir_server.bulk.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        brief = marshal.dumps(("Europe/Paris", "", "", b""))
        worker.stdin.write(HEAD.pack(len(brief), 0) + brief)
        worker.stdin.flush()
        assert worker.stdout.read(4) == bytes(4)  # it is ready
        worker.stdout.close()
        line = b'{"resourceType":"Patient"}\n'
        for number in range(20):
            worker.stdin.write(HEAD.pack(len(line), number) + line)
        worker.stdin.close()
        assert worker.wait(30) == 0


async def test_a_worker_is_out_of_the_reach_of_ctrl_c() -> None:
    worker = await Worker.start()
    try:
        assert os.getsid(worker.process_id) == worker.process_id != os.getsid(0)
    finally:
        await worker.stop()

"""The head and the body of an answer are written in one piece, and nothing is kept back, mixed up or lost."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.http.protocol import Joining
from tests.wire import Transport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


@pytest.mark.parametrize(
    ("writes", "at_once", "later"),
    [
        pytest.param([HEAD, b"{}"], [HEAD + b"{}"], [], id="head and body go together"),
        pytest.param([HEAD, b""], [HEAD], [], id="an answer without body goes at once"),
        pytest.param([HEAD], [], [HEAD], id="a head whose body is not there yet goes at the next turn"),
        pytest.param([HEAD, b"a", b"b"], [HEAD + b"a", b"b"], [], id="what follows is not kept"),
        pytest.param([HEAD, HEAD], [HEAD + HEAD], [], id="two heads stay in order"),
        pytest.param([b"x"], [b"x"], [], id="what is no head is not kept"),
    ],
)
async def test_what_is_written(writes: list[bytes], at_once: list[bytes], later: list[bytes]) -> None:
    transport = Transport()
    joining = Joining(transport, asyncio.get_running_loop())
    for data in writes:
        joining.write(data)
    assert transport.written == at_once
    await asyncio.sleep(0)
    assert transport.written == at_once + later


async def test_closing_writes_what_was_kept_first() -> None:
    transport = Transport()
    joining = Joining(transport, asyncio.get_running_loop())
    joining.write(HEAD)
    assert not joining.is_closing()
    joining.close()
    assert (transport.written, joining.is_closing()) == ([HEAD], True)
    await asyncio.sleep(0)
    assert transport.written == [HEAD]


@given(st.lists(st.sampled_from([HEAD, b"", b"body", b"HTTP/1.1 in a body", None]), max_size=12))
def test_the_bytes_are_those_that_were_written(writes: list[bytes | None]) -> None:
    async def run() -> list[bytes]:
        transport = Transport()
        joining = Joining(transport, asyncio.get_running_loop())
        for data in writes:
            if data is None:
                await asyncio.sleep(0)
            else:
                joining.write(data)
        await asyncio.sleep(0)
        return transport.written

    assert b"".join(asyncio.run(run())) == b"".join(data for data in writes if data)

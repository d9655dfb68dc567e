"""One connection: requests in order, answers in one piece, silence that ends it, and urls read as httptools reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httptools
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from fhir_server.http.answer import WHOLE, answer, whole_lines
from fhir_server.http.message import Response
from fhir_server.http.protocol import Protocol, split_url
from tests.wire import Transport

App = Callable[[Any, Any, Any], Awaitable[None]]
GET = b"GET /fhir/%b HTTP/1.1\r\nhost: x\r\n\r\n"
DATE = b"date: Mon, 23 Nov 2026 12:00:00 GMT\r\n"


def connected(app: App, keep_alive: int = 75) -> tuple[Protocol, Transport, ServerState]:
    config = uvicorn.Config(app, lifespan="off", access_log=False, log_config=None, timeout_keep_alive=keep_alive)
    state, transport = ServerState(), Transport()
    state.default_headers = [(b"date", b"Mon, 23 Nov 2026 12:00:00 GMT")]
    made = Protocol(config, state, {})
    made.connection_made(transport)
    return made, transport, state


async def done(state: ServerState) -> None:
    while state.tasks:
        await asyncio.sleep(0)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the path and the body, whole."""
    body = scope["raw_path"] + (await receive())["body"]
    response = Response(200, body, (("etag", 'W/"1"'),))
    await answer(send, response, "id", is_head=scope["method"] == "HEAD", is_whole=WHOLE in scope["extensions"])


def echoed(path: bytes, *, closes: bool = False, body: bool = True) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\n" + DATE + b'etag: W/"1"\r\nx-request-id: id\r\n'
        b"content-type: application/fhir+json; charset=utf-8\r\nvary: Accept, Accept-Encoding\r\n"
        b"content-length: %d\r\n%b\r\n%b"
        % (len(path), b"connection: close\r\n" if closes else b"", path if body else b"")
    )


@pytest.mark.parametrize(
    ("sent", "answers", "closes"),
    [
        pytest.param([GET % b"a"], [echoed(b"/fhir/a")], False, id="an answer is one piece"),
        pytest.param([GET % b"a" + GET % b"b"], [echoed(b"/fhir/a"), echoed(b"/fhir/b")], False, id="in order"),
        pytest.param([(GET % b"a")[:9], (GET % b"a")[9:]], [echoed(b"/fhir/a")], False, id="a head in two parts"),
        pytest.param(
            [b"HEAD /fhir/a HTTP/1.1\r\nhost: x\r\n\r\n"],
            [echoed(b"/fhir/a", body=False)],
            False,
            id="HEAD has no body",
        ),
        pytest.param(
            [b"GET /a HTTP/1.1\r\nconnection: close\r\n\r\n"], [echoed(b"/a", closes=True)], True, id="closed as asked"
        ),
        pytest.param([b"GET /a HTTP/1.0\r\n\r\n"], [echoed(b"/a", closes=True)], True, id="HTTP/1.0 is closed"),
        pytest.param(
            [b"POST /a HTTP/1.1\r\ncontent-length: 2\r\n\r\n", b"{}"],
            [echoed(b"/a{}")],
            False,
            id="a body that follows",
        ),
        pytest.param(
            [b"POST /a HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n", b"{}"],
            [b"HTTP/1.1 100 Continue\r\n\r\n", echoed(b"/a{}")],
            False,
            id="a body that waits to be asked for",
        ),
    ],
)
async def test_what_is_answered(sent: list[bytes], answers: list[bytes], closes: bool) -> None:
    protocol, transport, state = connected(echo)
    for data in sent:
        protocol.data_received(data)
        for _ in range(3):
            await asyncio.sleep(0)
    await done(state)
    assert b"".join(transport.written) == b"".join(answers)
    assert (transport.closed, state.total_requests) == (closes, sum(b"200 OK" in a for a in answers))
    protocol.connection_lost(None)


async def test_a_second_answer_is_an_error_and_closes() -> None:
    async def twice(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        await echo(scope, receive, send)

    protocol, transport, state = connected(twice)
    protocol.data_received(GET % b"a")
    await done(state)
    assert transport.written == [echoed(b"/fhir/a")]
    assert transport.closed


async def test_a_connection_that_is_silent_ends_and_one_that_works_does_not() -> None:
    going_on = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fhir/slow":
            await going_on.wait()
        await echo(scope, receive, send)

    protocol, transport, state = connected(slow, keep_alive=600)
    protocol.data_received(GET % b"a")
    await done(state)
    protocol.data_received(GET % b"slow")
    protocol.timeout_keep_alive_handler()
    assert not transport.closed, "a request is under way"
    going_on.set()
    await done(state)
    protocol.timeout_keep_alive_handler()
    assert not transport.closed, "it was answered just now"
    protocol._silent_since = asyncio.get_running_loop().time() - 600
    protocol.timeout_keep_alive_handler()
    assert transport.closed


async def test_what_a_connection_lost_leaves_behind_ends() -> None:
    seen: list[str] = []

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            seen.append(message["type"])
        seen.append("left")

    protocol, transport, state = connected(patient)
    protocol.data_received(b"POST /a HTTP/1.1\r\ncontent-length: 9\r\n\r\n{}")
    await asyncio.sleep(0)
    protocol.connection_lost(None)
    await done(state)
    assert (seen, transport.written) == (["http.request", "left"], [])


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        pytest.param('W/"1"', True, id="as most are"),
        pytest.param("caf\u00e9", True, id="a letter of Latin-1"),
        pytest.param("a\r\nset-cookie: b", False, id="another line"),
        pytest.param("a\x00", False, id="a character of control"),
    ],
)
def test_a_head_is_written_whole_where_no_value_could_end_its_line(value: str, fits: bool) -> None:
    assert whole_lines((("ETag", value),), "x: y\r\n") == (
        f"etag: {value}\r\nx: y\r\n".encode("latin-1") if fits else b""
    )


@given(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).map(lambda text: f"/{text}".encode())
)
def test_a_url_is_split_as_httptools_splits_it(url: bytes) -> None:
    seen: list[bytes] = []

    class Reader:
        def on_url(self, part: bytes) -> None:
            seen.append(part)

    try:
        httptools.HttpRequestParser(Reader()).feed_data(b"GET " + url + b" HTTP/1.1\r\n\r\n")
    except httptools.HttpParserError:
        return  # refused before
    whole = b"".join(seen)
    parsed = httptools.parse_url(whole)
    assert split_url(whole) == (parsed.path, parsed.query or b"")

"""Bad input gets a clear answer, costs little, and the hub goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import PATIENCE_S, RunningHub

OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}


def deep(levels: int) -> bytes:
    return b'{"resourceType":"Patient","extension":[' + b'{"url":"http://x.example","extension":[' * levels


BODIES = [
    pytest.param(b'{"resourceType":"Patient","id":"a"', id="truncated JSON"),
    pytest.param(b"hello", id="no JSON"),
    pytest.param(b"", id="nothing"),
    pytest.param(deep(10_000), id="depth 10,000"),
    pytest.param(deep(200) + b"]}" * 200 + b"]}", id="depth 400, whole"),
    pytest.param(b'{"resourceType":"Patient","multipleBirthInteger":NaN}', id="NaN"),
    pytest.param(
        b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 5000 + b"}", id="a number of 5,000 digits"
    ),
    pytest.param(b'{"resourceType":"Patient","gender":"male","gender":"female"}', id="duplicate keys"),
    pytest.param(b'{"resourceType":"Patient","name":[{"family":"a\\u0000b"}]}', id="NUL"),
    pytest.param(b'{"resourceType":"Patient","name":[{"family":"\\ud800"}]}', id="half a surrogate pair"),
    pytest.param(b'{"resourceType":"Patient","name":[{"family":"\xff\xfe"}]}', id="no UTF-8"),
    pytest.param(b"\xef\xbb\xbf" + b'{"resourceType":"Patient"}', id="a byte order mark"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b"null", id="null"),
    pytest.param(b'{"resourceType":"Patient2"}', id="an unknown type"),
    pytest.param(b'{"resourceType":5}', id="a type that is a number"),
    pytest.param(json.dumps(OBSERVATION).encode(), id="another type than the path's"),
    pytest.param(
        b'{"resourceType":"Patient","photo":[{"data":"' + b"AAAA " * 24 + b'!"}]}', id="base64 that backtracks"
    ),
    pytest.param(b'{"resourceType":"Patient","birthDate":"2023-02-29"}', id="a day that was none"),
    pytest.param(b'{"resourceType":"Patient","name":null}', id="null for a list"),
    pytest.param(b'{"resourceType":"Patient","name":[{}]}', id="an empty object"),
]


@pytest.mark.parametrize("body", BODIES)
def test_a_bad_body_is_refused_with_an_outcome(hub: RunningHub, body: bytes) -> None:
    answer = hub.request("POST", "/fhir/Patient", content=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert answer.json()["issue"][0]["diagnostics"]


def _answer(connection: socket.socket) -> bytes:
    """Read what the hub says until it closes or the head is whole."""
    connection.settimeout(PATIENCE_S)
    got = b""
    while b"\r\n\r\n" not in got and (part := connection.recv(65_536)):
        got += part
    return got


def test_a_body_of_300_mb_is_refused_before_it_is_read(hub: RunningHub) -> None:
    with socket.create_connection(("127.0.0.1", hub.port)) as connection:
        head = (
            "POST /fhir/Patient HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\n"
            f"Authorization: Bearer {hub.operator}\r\nContent-Length: 300000000\r\n\r\n"
        )
        connection.sendall(head.encode() + b'{"resourceType":"Patient"')
        assert _answer(connection).startswith(b"HTTP/1.1 413 ")


def _chunks(limit: int) -> Iterator[bytes]:
    part = b"x" * 65_536
    for _ in range(limit // len(part)):
        yield b"%x\r\n%s\r\n" % (len(part), part)


def test_a_body_without_end_is_cut_at_the_limit(hub: RunningHub) -> None:
    with socket.create_connection(("127.0.0.1", hub.port)) as connection:
        head = (
            "POST /fhir/Patient HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\n"
            f"Authorization: Bearer {hub.operator}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode())
        sent = 0
        try:
            for chunk in _chunks(80_000_000):
                connection.sendall(chunk)
                sent += len(chunk)
        except (BrokenPipeError, ConnectionResetError):
            assert sent < 80_000_000
            return
        assert _answer(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(
            b"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            id="two lengths",
        ),
        pytest.param(b"\x00\x01\x02\r\n\r\n", id="no HTTP"),
        pytest.param(b"GET /fhir/metadata HTTP/1.1\r\nbad header\r\n\r\n", id="a header without a colon"),
    ],
)
def test_what_is_no_http_is_refused_with_an_outcome(hub: RunningHub, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", hub.port)) as connection:
        connection.sendall(head)
        connection.settimeout(PATIENCE_S)
        got = b""
        while part := connection.recv(65_536):
            got += part
    assert got[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 501") and b"OperationOutcome" in got


def test_a_head_that_never_ends_is_hung_up_on(hub: RunningHub) -> None:
    with (
        socket.create_connection(("127.0.0.1", hub.port)) as silent,
        socket.create_connection(("127.0.0.1", hub.port)) as slow,
    ):
        slow.settimeout(PATIENCE_S)
        silent.settimeout(PATIENCE_S)
        slow.sendall(b"GET /fhir/metadata HTTP/1.1\r\nX-a: ")
        assert slow.recv(1) == b"" and silent.recv(1) == b""


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"hello", id="no message"),
        pytest.param(b"MSH|^~\\&|A", id="a header cut short"),
        pytest.param(b"MSH|^~\\&|A|B|C|D|20261120||ZZZ^Z99|1|P|2.5\rPID|1", id="an unknown type"),
        pytest.param(b"PID|1||x", id="no header"),
        pytest.param(b"", id="an empty frame"),
    ],
)
def test_a_bad_message_is_answered_with_an_error(hub: RunningHub, message: bytes) -> None:
    with socket.create_connection(("127.0.0.1", hub.mllp_port)) as connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(b"\x0b" + message + b"\x1c\r")
        got = b""
        while b"\x1c\r" not in got and (part := connection.recv(65_536)):
            got += part
    assert b"MSA|AE" in got or b"MSA|AR" in got


def test_the_hub_goes_on_and_says_nothing_of_values(hub: RunningHub) -> None:
    mark = "Canari-Zébulon"
    with socket.create_connection(("127.0.0.1", hub.mllp_port)) as connection:
        connection.sendall(b"\x0bMSH|^~\\&|never ends")
    hub.request("POST", "/fhir/Patient", content=f'{{"resourceType":"Patient","name":"{mark}"}}'.encode())
    hub.request("GET", f"/fhir/Patient?name={mark}&nonsense=1")
    hub.request("GET", f"/fhir/Patient?name:nonsense={mark}")
    answer = hub.request("POST", "/fhir/Patient", json={"resourceType": "Patient", "gender": mark})
    assert mark not in answer.text
    assert hub.request("GET", "/readyz", token=None).status_code == 200
    logged = hub.logged()
    assert mark not in logged and "Traceback" not in logged
    assert mark not in hub.request("GET", "/metrics", token=None).text


def test_memory_stays_small_after_bad_bodies(hub: RunningHub) -> None:
    assert hub.process is not None
    status = Path(f"/proc/{hub.process.pid}/status")
    if not status.exists():
        pytest.skip("this system does not show the memory of a process")
    resident = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    assert int(resident.split()[1]) < 700_000  # kB

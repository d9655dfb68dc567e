"""`predmp hl7 send`: what it sends, which answers it waits for, and how it ends."""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
from collections.abc import Awaitable, Iterator
from pathlib import Path

import pytest

from adapters.hl7 import ack, batch, send
from adapters.hl7.charset import narrow
from adapters.hl7.connection import Limits
from adapters.hl7.faults import Fault, Place
from adapters.hl7.mllp import Listener
from adapters.hl7.reception import Reply
from adapters.hl7.tls import Certificates
from tests.blackbox.test_mllp import certificates
from tests.hl7_messages import adt, header, message, oru

__all__ = ["certificates"]

BHS = "BHS|^~\\&|DPI|CHU|HUB|REG|2026||||B1\r"


def answers(raw: bytes) -> list[bytes]:
    """Answer each admission AA and everything else AE, in the mode that is asked for."""
    made = []
    for one in batch.split(raw).messages if batch.is_batch(raw) else (raw,):
        to = ack.sender_of(one)
        code = "AA" if b"|ADT^" in narrow(one)[0] else "AE"
        fault = Fault("101", Place("PID", 1, 3)) if code == "AE" else None
        for each in ack.due(to, code, kept=True):
            made.append(ack.write(to, each, at="2026", own_id="X", fault=fault).encode())
    return made


class Server:
    """A listener in a thread; notes what it was sent."""

    def __init__(self, tls: Certificates) -> None:
        self.taken: list[bytes] = []
        self._tls = tls
        self._ready, self._stopped = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.address = ""

    async def _take(self, raw: bytes) -> Reply:
        self.taken.append(raw)
        return Reply(answers(raw))

    def take(self, raw: bytes, fault: Fault | None) -> Awaitable[Reply]:
        return self._take(raw)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        listener = Listener("127.0.0.1:0", lambda peer: self.take, Limits(), self._tls.context)
        await listener.start()
        self.address = f"127.0.0.1:{listener.port}"
        self._ready.set()
        await self._stopped.wait()
        await listener.stop()

    def __enter__(self) -> Server:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(Certificates()) as running:
        yield running


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    send.configure(parser.add_subparsers(dest="action"))
    return send.run(parser.parse_args(["send", *argv]))


def write(folder: Path, text: str, name: str = "a.hl7") -> str:
    (folder / name).write_text(text, newline="")
    return str(folder / name)


def printed(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """Return control id and code of each line."""
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [(row["control_id"], row["code"]) for row in rows]


@pytest.mark.parametrize(
    ("text", "options", "sent", "lines", "code"),
    [
        pytest.param(adt() + adt(control="C3"), (), 2, [("C1", "AA"), ("C3", "AA")], 0, id="two messages"),
        pytest.param(
            f"{BHS}{adt()}{oru()}BTS|2\r", (), 1, [("C1", "AA"), ("C2", "AE")], 1, id="a batch goes as one frame"
        ),
        pytest.param(
            f"{BHS}{adt()}{oru()}BTS|2\r", ("--each",), 2, [("C1", "AA"), ("C2", "AE")], 1, id="or message by message"
        ),
        pytest.param(
            adt(), ("--repeat", "3"), 3, [("C1", "AA"), ("C1-2", "AA"), ("C1-3", "AA")], 0, id="again and again"
        ),
        pytest.param(
            message(header(f15="AL", f16="AL"), "PID|1"), (), 1, [("C1", "CA"), ("C1", "AA")], 0, id="both answers"
        ),
        pytest.param(message(header(f15="NE", f16="NE"), "PID|1"), (), 1, [], 0, id="no answer is due"),
        pytest.param(
            message(header("ORU^R01", f15="ER", f16="ER"), "PID|1") + adt(control="C3"),
            (),
            2,
            [("C1", "AE"), ("C3", "AA")],
            1,
            id="an answer that comes only with an error is its own message's",
        ),
        pytest.param(
            message(header(f15="SU", f16="SU"), "PID|1"), (), 1, [("C1", "CA"), ("C1", "AA")], 0, id="only with success"
        ),
        pytest.param(
            message(header(f15="YES"), "PID|1"), (), 1, [("C1", "AA")], 0, id="asked for in a word of no table"
        ),
    ],
)
def test_what_is_sent_and_what_is_printed(
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    options: tuple[str, ...],
    sent: int,
    lines: list[tuple[str, str]],
    code: int,
) -> None:
    assert run(write(tmp_path, text), "--to", server.address, "--json", *options) == code
    assert printed(capsys) == lines
    assert len(server.taken) == sent or not lines


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        pytest.param(["{file}", "--to", "nowhere"], "--to is HOST:PORT", id="no address"),
        pytest.param(["{file}", "--repeat", "0"], "--repeat at least 1", id="no time at all"),
        pytest.param(["/nowhere.hl7"], "/nowhere.hl7: No such file", id="no file"),
        pytest.param(["{bad}", "--each"], "BTS[1]-1", id="a batch that is not whole"),
        pytest.param(["{file}", "--to", "127.0.0.1:1"], "127.0.0.1:1: Connection refused", id="nobody listens"),
        pytest.param(["{file}", "--ca", "/nowhere.pem"], "No such file", id="no CA"),
        pytest.param(["{file}", "{junk}"], "there is no message in it", id="a file without a message"),
        pytest.param(["{empty}"], "there is no message in it", id="an empty file"),
    ],
)
def test_what_cannot_be_sent_is_bad_usage_and_says_why(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], said: str
) -> None:
    names = {"file": write(tmp_path, adt()), "bad": write(tmp_path, f"{BHS}{adt()}BTS|7\r", "bad.hl7")}
    names |= {"junk": write(tmp_path, "hello", "junk.hl7"), "empty": write(tmp_path, "", "empty.hl7")}
    arguments = [each.format(**names) for each in argv]
    if "--to" not in arguments:
        arguments += ["--to", server.address]
    assert run(*arguments) == 2
    assert said in capsys.readouterr().err


def test_messages_go_over_tls_to_who_has_the_right_certificate(
    certificates: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, adt())
    files = Certificates(str(certificates["server"]), "", str(certificates["ca"]))
    shown = ("--ca", str(certificates["ca"]), "--cert", str(certificates["client"]))
    with Server(files) as running:
        port = running.address.rpartition(":")[2]
        assert run(file, "--to", f"localhost:{port}", *shown, "--json") == 0
        assert printed(capsys) == [("C1", "AA")]
        assert run(file, "--to", running.address, *shown) == 2  # the certificate is localhost's
        assert "127.0.0.1" in capsys.readouterr().err
        assert run(file, "--to", f"localhost:{port}", "--tls") == 2  # signed by nobody that is known


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be", "utf-8-sig"])
def test_a_file_in_a_wide_set_is_sent_as_it_is(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], codec: str
) -> None:
    data = adt().replace("DUPOND", "ਁ").encode(codec)  # a letter with the byte of a line feed in it
    (tmp_path / "a.hl7").write_bytes(data)
    assert run(str(tmp_path / "a.hl7"), "--to", server.address, "--json") == 0
    assert printed(capsys) == [("C1", "AA")]
    assert server.taken == [data]


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        pytest.param("MSH|1\nPID|1\n", ["MSH|1\rPID|1\r"], id="LF at the ends of segments"),
        pytest.param("MSH|1\r\nPID|1\r\n", ["MSH|1\rPID|1\r"], id="CR and LF"),
        pytest.param("MSH|1\rOBX|a\nb\r", ["MSH|1\rOBX|a\nb\r"], id="LF in a text stays data"),
        pytest.param("MSH|1\rOBX|a\nb\r\n", ["MSH|1\rOBX|a\nb\r"], id="and one at the end of the file is none"),
        pytest.param("MSH|1\rOBX|a\nb\r\nMSH|2\r", ["MSH|1\rOBX|a\nb\r", "MSH|2\r"], id="nor one between messages"),
    ],
)
def test_what_ends_a_segment_in_a_file_is_what_ends_it_for_the_listener(data: str, sent: list[str]) -> None:
    assert [each.decode() for each in send.frames(data.encode(), each=False)] == sent


def test_answers_in_one_batch_are_read_one_by_one() -> None:
    text = BHS + "MSH|^~\\&|X\rMSA|AA|1\rMSH|^~\\&|X\rMSA|AE|2\rERR||PID^1|101^x\rERR||OBX^1|102^y\rBTS|2\r"
    assert send.read_answers(text) == [
        {"code": "AA", "control_id": "1"},
        {"code": "AE", "control_id": "2", "error": "PID^1 101^x; OBX^1 102^y"},
    ]

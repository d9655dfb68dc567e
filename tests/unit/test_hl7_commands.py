"""`predmp hl7`: what it sends, shows and says."""

from __future__ import annotations

import argparse
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.hl7.commands import COMMANDS, messages
from adapters.hl7.log.entry import read_entry
from adapters.hl7.mllp import END, VT
from adapters.hl7.send import read_answer
from fhir_server import gate
from fhir_server.model import Record
from tests.hl7_messages import adt, oru


def run(*argv: str) -> int:
    (command,) = COMMANDS
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args(argv))


class Receiver(socketserver.BaseRequestHandler):
    """Answers AA to an admission and AE to everything else."""

    def handle(self) -> None:
        buffer = b""
        while part := self.request.recv(4096):
            buffer += part
            while END in buffer:
                frame, _, buffer = buffer.partition(END)
                control = frame.split(b"|")[9]
                rest = (
                    b"MSA|AA|" + control
                    if b"|ADT^" in frame
                    else b"MSA|AE|" + control + b"\rERR||PID^1^3|101^x^HL70357|E"
                )
                self.request.sendall(VT + b"MSH|^~\\&|HUB\r" + rest + b"\r" + END)


@pytest.fixture
def address() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_each_message_of_a_file_is_sent_and_its_answer_printed(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "two.hl7"
    file.write_text(adt(control="C1").replace("\r", "\n") + "\n" + adt(control="C2").replace("\r", "\n"))
    assert run("send", str(file), "--to", address) == 0
    assert [line.split("  ")[1:] for line in capsys.readouterr().out.splitlines()] == [["C1", "AA"], ["C2", "AA"]]


def test_a_refused_message_is_a_problem(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "one.hl7"
    file.write_text(oru(control="C3"), newline="")
    assert run("send", str(file), "--to", address, "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["code"], answer["control_id"], answer["error"]) == ("AE", "C3", "PID^1^3 101^x^HL70357 E")


@pytest.mark.parametrize("target", ["nowhere", "127.0.0.1:1"])
def test_an_address_that_cannot_be_reached_is_bad_usage(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one.hl7"
    file.write_text(adt(), newline="")
    assert run("send", str(file), "--to", target) == 2
    assert capsys.readouterr().err.startswith("predmp hl7: ")


@pytest.mark.parametrize(
    ("data", "count"),
    [
        pytest.param(adt().encode(), 1, id="one message"),
        pytest.param((adt() + adt()).encode(), 2, id="one after the other"),
        pytest.param(adt().replace("\r", "\r\n").encode(), 1, id="with CRLF"),
        pytest.param(VT + adt().encode() + END + VT + adt().encode() + END, 2, id="as frames"),
        pytest.param(b"", 0, id="an empty file"),
    ],
)
def test_messages_of_a_file(data: bytes, count: int) -> None:
    assert [message.rstrip(b"\r") for message in messages(data)] == [adt().encode().rstrip(b"\r")] * count


def test_an_answer_without_error_has_none() -> None:
    assert read_answer("MSH|^~\\&|A\rMSA|AA|7\r") == {"code": "AA", "control_id": "7"}


def test_the_log_shows_no_text_of_the_message() -> None:
    body = {
        "control_id": "C1", "type": "ADT^A01", "received": "t", "code": "AA", "channel": "mllp", "attempts": 1,
        "issues": [], "unused": ["ZZZ"], "resources": ["Patient/1"], "raw": "MSH|SECRET", "ack": ["MSH|SECRET"],
    }  # fmt: skip
    entry = read_entry(Record("hl7-inbox", "k", "applied", "", 1, 0, gate.write(body))).shown()
    assert "SECRET" not in json.dumps(entry)
    assert (entry["state"], entry["unused"], entry["resources"]) == ("applied", ["ZZZ"], ["Patient/1"])

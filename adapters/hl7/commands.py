"""`predmp hl7`: send messages; look at the message log, replay, accounts and profiles (`log/commands.py`)."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from adapters.hl7.log import commands as log
from adapters.hl7.mllp import END, VT
from fhir_server.interface import Command

GOOD = frozenset({"AA", "CA"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    send = actions.add_parser("send", help="send messages by MLLP and print what they are answered")
    send.add_argument("files", nargs="+", type=Path, metavar="FILE", help="one or more messages, each begins with MSH")
    send.add_argument("--to", default="127.0.0.1:2575", metavar="HOST:PORT", help="where to (default 127.0.0.1:2575)")
    send.add_argument("--json", action="store_true", help="one JSON object a message")
    log.configure(actions)


def run(args: argparse.Namespace) -> int:
    """Run one action; return 0 done, 1 problems found, 2 bad usage."""
    if args.action == "send":
        return run_send(args)
    from fhir_server.cli import run_sync

    code: int = run_sync(log.run(args))
    return code


def messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages of a file: MLLP frames, or messages one after the other, each beginning with MSH."""
    if VT in data:
        for frame in data.split(VT)[1:]:
            yield frame.partition(END[:1])[0]
        return
    text = data.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    for number, part in enumerate(text.split(b"\rMSH")):
        message = (b"MSH" if number else b"") + part.strip(b"\r ")
        if message:
            yield message + b"\r"


def run_send(args: argparse.Namespace) -> int:
    """Send each message and print one line for it; 1 where one is not accepted."""
    host, _, port = args.to.rpartition(":")
    if not host or not port.isdigit():
        print("predmp hl7: --to is HOST:PORT", file=sys.stderr)
        return 2
    problems = 0
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=30) as line:
            for path in args.files:
                for message in messages(path.read_bytes()):
                    line.sendall(VT + message + END)
                    answer = _receive(line)
                    problems += answer["code"] not in GOOD
                    print(json.dumps({"file": str(path), **answer}) if args.json else _line(path, answer))
    except OSError as error:
        print(f"predmp hl7: {args.to}: {error.strerror or type(error).__name__}", file=sys.stderr)
        return 2
    return 1 if problems else 0


def _receive(line: socket.socket) -> dict[str, str]:
    """Read one acknowledgement: its code, the control id, and what ERR says."""
    data = b""
    while END not in data:
        part = line.recv(65_536)
        if not part:
            raise ConnectionResetError
        data += part
    return read_answer(data.partition(END)[0].lstrip(VT).decode("utf-8", "replace"))


def read_answer(text: str) -> dict[str, str]:
    """Return code, control id and error of an acknowledgement."""
    field = text[3:4] or "|"
    segments = {line[:3]: line.split(field) for line in text.split("\r") if line}
    msa, err = segments.get("MSA", []), segments.get("ERR", [])
    made = {"code": msa[1] if len(msa) > 1 else "", "control_id": msa[2] if len(msa) > 2 else ""}
    return {**made, "error": " ".join(cell for cell in err[1:] if cell)} if err else made


def _line(path: Path, answer: dict[str, str]) -> str:
    return "  ".join(
        text for text in (str(path), answer["control_id"], answer["code"], answer.get("error", "")) if text
    )


COMMANDS = (Command("hl7", "HL7 v2: send messages, read the message log, replay, accounts, profiles", configure, run),)

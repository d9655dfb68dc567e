"""`predmp hl7 send|log|replay`: send messages, look at the message log, apply a stored message again."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from adapters.hl7.arrival import Channel
from adapters.hl7.authorities import Authorities
from adapters.hl7.inbox import KIND, Inbox
from adapters.hl7.local import Locals
from adapters.hl7.mllp import END, VT
from fhir_server import gate
from fhir_server.errors import NotFound
from fhir_server.interface import Asking, Command, Core
from fhir_server.model import Record

PAGE = 500
SHOWN = ("control_id", "type", "received", "code", "channel", "attempts", "error", "issues", "unused", "resources")
GOOD = frozenset({"AA", "CA"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the three actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    send = actions.add_parser("send", help="send messages by MLLP and print what they are answered")
    send.add_argument("files", nargs="+", type=Path, metavar="FILE", help="one or more messages, each begins with MSH")
    send.add_argument("--to", default="127.0.0.1:2575", metavar="HOST:PORT", help="where to (default 127.0.0.1:2575)")
    send.add_argument("--json", action="store_true", help="one JSON object a message")
    log = actions.add_parser("log", help="list messages: state, problems, unused segments and fields, resources")
    log.add_argument("--control-id", default="", metavar="ID", help="only messages with this MSH-10")
    log.add_argument("--state", default="", help="only messages in this state: applied, superseded, quarantined")
    log.add_argument("--json", action="store_true", help="one JSON object a message")
    replay = actions.add_parser("replay", help="apply a stored message again, with today's maps")
    replay.add_argument("id", metavar="ID", help="MSH-10, or the key that `log --json` shows")
    for action in (log, replay):
        action.add_argument("--store", metavar="VALUE", help="sqlite:///PATH (PREDMP_STORE)")
        action.add_argument("--tenant", metavar="VALUE", help="tenant of the messages (PREDMP_TENANT)")
        action.add_argument("--config", type=Path, metavar="FILE", help="TOML file with the settings")


def run(args: argparse.Namespace) -> int:
    """Run one action; return 0 done, 1 problems found, 2 bad usage."""
    if args.action == "send":
        return run_send(args)
    from fhir_server.cli import run_sync

    code: int = run_sync(_show(args) if args.action == "log" else _replay(args))
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


async def _records(asking: Asking, *, control_id: str = "", state: str = "") -> list[Record]:
    """Return the stored messages, oldest first."""
    found: list[Record] = []
    after = 0
    while page := await asking.records(KIND, state=state or None, after=after, limit=PAGE):
        found += [row for row in page if not control_id or control_id in (_control_id(row), row.key)]
        after = page[-1].seq
    return found


def _control_id(row: Record) -> str:
    text: str = gate.load(row.body)["control_id"]
    return text


def shown(row: Record) -> dict[str, Any]:
    """Return a message as the log shows it: without its text."""
    body = gate.load(row.body)
    return {"key": row.key, "state": row.state, **{name: body[name] for name in SHOWN if name in body}}


async def _show(args: argparse.Namespace) -> int:
    from fhir_server.app import opened
    from fhir_server.cli import read_settings

    async with opened(read_settings(args)) as composed:
        core = cast(Core, composed.hub)

        async def work(asking: Asking) -> list[Record]:
            return await _records(asking, control_id=args.control_id, state=args.state)

        rows: list[Record] = await core.ask(core.tenants()[0], work)
    for row in rows:
        entry = shown(row)
        print(json.dumps(entry, ensure_ascii=False) if args.json else _summary(entry))
    return 0 if rows or not args.control_id else 1


def _summary(entry: dict[str, Any]) -> str:
    parts = [entry["received"], entry["control_id"], entry["type"] or "?", entry["code"] or "-", entry["state"]]
    parts.append(f"{len(entry['resources'])} resources, {len(entry['issues'])} problems")
    if entry["unused"]:
        parts.append("unused: " + " ".join(entry["unused"]))
    if "error" in entry:
        parts.append(f"{entry['error']['code']} at {entry['error']['path']}: {entry['error']['detail']}")
    return "  ".join(parts)


async def _replay(args: argparse.Namespace) -> int:
    from fhir_server.app import opened
    from fhir_server.cli import read_settings

    settings = read_settings(args)
    async with opened(settings) as composed:
        core = cast(Core, composed.hub)
        tenant = core.tenants()[0]

        async def work(asking: Asking) -> list[Record]:
            return await _records(asking, control_id=args.id)

        rows: list[Record] = await core.ask(tenant, work)
        if not rows:
            raise NotFound("There is no such message.")
        if len(rows) > 1:
            print(
                "predmp hl7: several messages have this control id; give the key that `log --json` shows",
                file=sys.stderr,
            )
            return 2
        known = await Authorities(core).of(tenant)
        local = await Locals(core).of(tenant)
        channel = Channel(gate.load(rows[0].body)["channel"], tenant, ZoneInfo(settings.zone), known, local=local)
        answer = await Inbox(core).replay(channel, rows[0].key)
    print(f"{args.id}  {answer.code}  {answer.state}")
    return 0 if answer.code == "AA" else 1


COMMANDS = (Command("hl7", "send HL7 v2 messages, read the message log, replay", configure, run),)

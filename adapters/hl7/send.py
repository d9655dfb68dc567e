"""`predmp hl7 send`: messages and batches to an MLLP listener, over TCP or TLS; a line for each answer."""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adapters.hl7 import batch
from adapters.hl7.ack import CONDITIONS
from adapters.hl7.charset import narrow
from adapters.hl7.faults import Refused
from adapters.hl7.framing import END, VT

GOOD = frozenset({"AA", "CA"})
BATCH = (b"FHS", b"BHS")
PERHAPS_S = 1.0  # seconds that an answer is waited for which comes only where all is well, or only where it is not


def configure(actions: Any) -> None:
    """Add the action and its options."""
    send = actions.add_parser("send", help="send messages by MLLP and print what they are answered")
    send.add_argument("files", nargs="+", type=Path, metavar="FILE", help="messages, or a batch (FHS or BHS)")
    send.add_argument("--to", default="127.0.0.1:2575", metavar="HOST:PORT", help="where to (default 127.0.0.1:2575)")
    send.add_argument("--json", action="store_true", help="one JSON object an answer")
    send.add_argument("--each", action="store_true", help="send the messages of a batch one by one")
    send.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="send all N times; each time with control ids of their own"
    )
    send.add_argument("--timeout", type=float, default=30.0, metavar="S", help="seconds an answer may take (30)")
    send.add_argument("--tls", action="store_true", help="TLS; the options below imply it")
    send.add_argument("--ca", type=Path, metavar="FILE", help="PEM file: who signs the listener's certificate")
    send.add_argument("--cert", type=Path, metavar="FILE", help="PEM file: the certificate to show")
    send.add_argument("--key", type=Path, metavar="FILE", help="PEM file: its key, where it is not in the same file")
    send.add_argument("--server-name", metavar="NAME", help="name in the listener's certificate (that of --to)")


def messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages of a file: MLLP frames, or messages one after the other, each beginning with MSH."""
    if narrow(data)[1]:  # two or four bytes a character: its bytes are left as they are
        yield from batch.split(data).messages if batch.is_batch(data) else (data,)
        return
    if VT in data:
        for frame in data.split(VT)[1:]:
            yield frame.partition(END[:1])[0]
        return
    text = _parted_by_cr(data)
    if batch.is_batch(text):
        yield from (message.rstrip(b"\r\n ") + b"\r" for message in batch.split(text).messages)
    elif text.strip(b"\r\n "):
        yield text.strip(b"\r\n ") + b"\r"


def _parted_by_cr(data: bytes) -> bytes:
    """Return a file with CR at the ends of segments; where some end at CR alone, LF is data, as to the listener."""
    if data.count(b"\r") != data.count(b"\r\n"):
        return data
    return data.replace(b"\r\n", b"\r").replace(b"\n", b"\r")


def frames(data: bytes, *, each: bool) -> Iterator[bytes]:
    """Yield what is sent of a file: a batch as it is, unless its messages are to be sent one by one."""
    text = _parted_by_cr(data).lstrip(b"\r\n ")
    if not each and VT not in data and not narrow(data)[1] and text.startswith(BATCH):
        yield text
    else:
        yield from messages(data)


def _has_header(frame: bytes) -> bool:
    return narrow(frame)[0].lstrip(b" \t\r\n")[:3] in (b"MSH", *BATCH)


def _renamed(frame: bytes, number: int) -> bytes:
    """Return a frame whose messages have control ids of their own in a repetition."""
    if number == 1:
        return frame
    lines = frame.split(b"\r")
    for at, line in enumerate(lines):
        if line.startswith(b"MSH") and (cells := line.split(line[3:4])) and len(cells) > 9:
            cells[9] += b"-%d" % number
            lines[at] = line[3:4].join(cells)
    return b"\r".join(lines)


class Due(NamedTuple):
    """Which answers are waited for: MSH-10 of the messages, once for each answer."""

    surely: tuple[str, ...]
    perhaps: tuple[str, ...] = ()  # only where all is well, or only where it is not

    @classmethod
    def of(cls, frame: bytes) -> Due:
        """Tell by MSH-15 and MSH-16: AL is waited for, ER and SU for a moment; in original mode there is one answer."""
        surely: list[str] = []
        perhaps: list[str] = []
        for line in narrow(frame)[0].replace(b"\n", b"\r").split(b"\r"):
            if not line.startswith(b"MSH"):
                continue
            cells = [*line.split(line[3:4]), *[b""] * 17]
            accept, respond = (cell.strip().upper().decode("latin-1") for cell in cells[14:16])
            control = cells[9].decode("utf-8", "replace")
            is_original = CONDITIONS.isdisjoint((accept, respond))
            surely += [control] * (1 if is_original else (accept, respond).count("AL"))
            perhaps += [control for condition in (accept, respond) if condition in ("ER", "SU")]
        return cls(tuple(surely), tuple(perhaps))


def _context(args: argparse.Namespace) -> ssl.SSLContext | None:
    if not (args.tls or args.ca or args.cert or args.key or args.server_name):
        return None
    context = ssl.create_default_context(cafile=args.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if args.cert:
        context.load_cert_chain(args.cert, args.key)
    return context


def _connected(args: argparse.Namespace) -> socket.socket:
    host, _, port = args.to.rpartition(":")
    context = _context(args)
    plain = socket.create_connection((host.strip("[]"), int(port)), timeout=args.timeout)
    if context is None:
        return plain
    try:
        return context.wrap_socket(plain, server_hostname=args.server_name or host.strip("[]"))
    except BaseException:
        plain.close()
        raise


def _bad(text: str) -> int:
    print(f"predmp hl7: {text}", file=sys.stderr)
    return 2


def run(args: argparse.Namespace) -> int:
    """Send, print a line for each answer; 1 where one is not accepted, 2 where nothing could be sent."""
    host, _, port = args.to.rpartition(":")
    if not host or not port.isdigit() or args.repeat < 1 or args.timeout <= 0:
        return _bad("--to is HOST:PORT, --repeat at least 1, --timeout more than 0")
    try:
        files = [(path, list(frames(path.read_bytes(), each=args.each))) for path in args.files]
        empty = next((path for path, found in files if not any(map(_has_header, found))), None)
        if empty is not None:
            return _bad(f"{empty}: there is no message in it: none begins with MSH")
    except OSError as error:
        return _bad(f"{error.filename}: {error.strerror}")
    except Refused as refused:
        return _bad(f"the batch cannot be parted at {refused.fault.place.path}: {refused.fault.detail}")
    problems = 0
    try:
        with _connected(args) as line:
            exchange = _Exchange(line)
            for number in range(1, args.repeat + 1):
                for path, found in files:
                    for frame in found:
                        for answer in exchange.send(_renamed(frame, number)):
                            problems += answer["code"] not in GOOD
                            print(json.dumps({"file": str(path), **answer}) if args.json else _line(path, answer))
    except OSError as error:  # ssl.SSLError is one
        reason = getattr(error, "reason", "") if isinstance(error, ssl.SSLError) else error.strerror
        return _bad(f"{args.to}: {reason or type(error).__name__}")
    return 1 if problems else 0


class _Exchange:
    """Sends frames on a connection and reads what answers them."""

    def __init__(self, line: socket.socket) -> None:
        self._line, self._buffer = line, b""
        self._late: set[str] = set()  # whose answers may still come, and are not another's

    def send(self, frame: bytes) -> Iterator[dict[str, str]]:
        """Send one frame and yield its answers; an answer to none of the messages is the last one."""
        self._line.sendall(VT + frame + END)
        surely, perhaps = map(list, Due.of(frame))
        while surely or perhaps:
            received = self._receive(None if surely else PERHAPS_S)
            if not received:
                break
            for answer in read_answers(received):
                yield answer
                control = answer["control_id"]
                if control in (*surely, *perhaps):
                    _settle(answer, surely, perhaps)
                elif control not in self._late:
                    return
        self._late.update(perhaps)

    def _receive(self, patience: float | None) -> str:
        """Return the next frame; nothing where none comes in time, if there is a time."""
        usual = self._line.gettimeout()
        try:
            self._line.settimeout(usual if patience is None else min(patience, usual or patience))
            while END not in self._buffer:
                part = self._line.recv(65_536)
                if not part:
                    raise ConnectionResetError
                self._buffer += part
        except TimeoutError:
            if patience is None:
                raise
            return ""
        finally:
            self._line.settimeout(usual)
        frame, _, self._buffer = self._buffer.partition(END)
        return narrow(frame.lstrip(VT))[0].decode("utf-8", "replace")


def _settle(answer: dict[str, str], *waited: list[str]) -> None:
    """Take an answer out of those that are waited for; after CE and CR no other one follows."""
    control = answer["control_id"]
    if answer["code"] in ("CE", "CR"):
        for controls in waited:
            controls[:] = [each for each in controls if each != control]
        return
    next(controls for controls in waited if control in controls).remove(control)


def read_answers(text: str) -> list[dict[str, str]]:
    """Return code, control id and error of each acknowledgement in a frame."""
    parts = text.split("\rMSH")
    heads = [parts[0], *("MSH" + part for part in parts[1:])]
    found = [read_answer(part) for part in heads if "\rMSA" in part]
    return found or [read_answer(text)]


def read_answer(text: str) -> dict[str, str]:
    """Return code, control id and error of an acknowledgement."""
    field = text[3:4] or "|"
    lines = [line.split(field) for line in text.split("\r") if line]
    msa: Sequence[str] = next((cells for cells in lines if cells[0] == "MSA"), [])
    errors = [" ".join(cell for cell in cells[1:] if cell) for cells in lines if cells[0] == "ERR"]
    made = {"code": msa[1] if len(msa) > 1 else "", "control_id": msa[2] if len(msa) > 2 else ""}
    return {**made, "error": "; ".join(errors)} if errors else made


def _line(path: Path, answer: dict[str, str]) -> str:
    return "  ".join(
        text for text in (str(path), answer["control_id"], answer["code"], answer.get("error", "")) if text
    )

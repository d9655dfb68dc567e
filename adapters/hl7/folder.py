"""A watched folder: files `*.hl7` are taken once they are complete, answered by a file, and moved away.

A file is complete where two looks find the same file: it was moved in, or is written no more. It is read as a
message, a batch or MLLP frames, of which one without its end was cut off. Its answer is written as `NAME.ack` beside
it in `done/` (accepted) or `failed/` before it is moved there. Where that is interrupted the file is taken again, and
answered as the first time: each message is known by its control id. Links are never followed, and `done/` and
`failed/` must not be links: who may write to the folder decides about no file elsewhere.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import stat
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from adapters.hl7.connection import HangUp
from adapters.hl7.faults import Fault
from adapters.hl7.framing import HEAD, TOO_LONG, VT, Deframer, Frame, head_of
from adapters.hl7.reception import Reply, Settled
from fhir_server.errors import Unavailable

DONE, FAILED = "done", "failed"
SUFFIX, ANSWER = ".hl7", ".ack"
LOOK_S = 1.0  # seconds between two looks
LATER_S = 30.0  # seconds that a second part of an answer may take
MOST = 256  # files of one look
AT_ONCE, AT_ONCE_BYTES = 32, 67_108_864  # of them, and of their bytes, under way together
GOOD = frozenset({"AA", "CA", ""})

log = logging.getLogger("predmp.hl7")

Take = Callable[[bytes, Fault | None], Awaitable[Settled]]
"""Takes a message or a batch, and what is wrong with its frame."""


class Seen(NamedTuple):
    """What tells whether a file changed."""

    inode: int
    size: int
    changed: int  # nanoseconds


class Folder:
    """Watches one folder.

    Args:
        path: It must exist.
        take: Takes a message or a batch.
        max_file: Bytes of a file; a longer one is answered AR 207.
    """

    def __init__(self, path: Path, take: Take, *, max_file: int) -> None:
        self._path, self._take, self._max_file = path, take, max_file
        self._seen: dict[str, Seen] = {}
        self._stuck: dict[str, Seen] = {}  # taken, but could not be moved away
        self.counts: Counter[str] = Counter()  # done, failed, waiting (the store is down), stuck

    def prepare(self) -> None:
        """Make the folders beside; raise Unavailable where that cannot be."""
        try:
            for name in (DONE, FAILED):
                (self._path / name).mkdir(exist_ok=True)
        except OSError as error:
            raise Unavailable(f"hl7_folder: {self._path} cannot be used: {error.strerror}") from None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> int:
        """Take the files that are complete, the oldest first; return how many."""
        found = await asyncio.to_thread(_listed, self._path, self._stuck)
        ready = [name for name, seen in found.items() if self._seen.get(name) == seen != self._stuck.get(name)]
        self._seen = found
        self._stuck = {name: seen for name, seen in self._stuck.items() if found.get(name) == seen}
        some: list[str] = []
        for name in ready:
            if some and (len(some) >= AT_ONCE or sum(found[n].size for n in [*some, name]) > AT_ONCE_BYTES):
                await self._take_all(some)
                some = []
            some.append(name)
        await self._take_all(some)
        return len(ready)

    async def _take_all(self, names: Sequence[str]) -> None:
        under_way: list[tuple[str, str, asyncio.Future[Settled]]] = []
        for name in names:
            try:
                data = await asyncio.to_thread(_content, self._path / name, self._max_file)
            except OSError as error:
                self._leave(name, error.strerror or type(error).__name__)
                continue
            if frames := _frames(data, self._max_file):
                mark = hashlib.sha256(data).hexdigest()[:8]
                under_way.append((name, mark, asyncio.ensure_future(self._taken(frames))))
        for name, mark, future in under_way:
            try:
                answer = await future
            except Exception as error:  # a supervisor: one file holds back no other
                self._leave(name, type(error).__name__)
                continue
            if answer.code == "AR" and not answer.state:
                self.counts["waiting"] += 1  # not kept: the file stays, and is tried again
                continue
            target = DONE if answer.code in GOOD else FAILED
            await self._put_away(name, target, b"".join(answer.frames), mark)

    async def _taken(self, found: Sequence[Frame]) -> Settled:
        """Take a file's content; its answer holds what is answered later, too."""
        try:
            answers = [await taken for taken in [self._take(each.data, each.fault) for each in found]]
        except HangUp:
            return Reply([], "AR")
        frames = [frame for answer in answers for frame in [*answer.frames, *await _later(answer)]]
        worst = next((code for code in ("AR", "AE") if code in {answer.code for answer in answers}), "AA")
        is_kept = all(answer.state or answer.code != "AR" for answer in answers)
        return Reply(frames, worst, state="kept" if is_kept else "")

    async def _put_away(self, name: str, target: str, answer: bytes, mark: str) -> None:
        try:
            await asyncio.to_thread(_move, self._path, name, self._seen[name], target, answer, mark)
        except OSError as error:
            self._leave(name, error.strerror or type(error).__name__)
            return
        self.counts[target] += 1
        if target == FAILED:
            log.warning("a file of the watched folder was not accepted")

    def _leave(self, name: str, reason: str) -> None:
        """Leave a file where it is, and take it no more until it changes or the hub starts again."""
        self.counts["stuck"] += 1
        self._stuck[name] = self._seen[name]
        log.error("a file of the watched folder stays where it is: %s", reason)


def _listed(path: Path, stuck: Mapping[str, Seen]) -> dict[str, Seen]:
    """Return the ordinary files of the folder that hold something, the oldest first; those that are stuck besides."""
    found: list[tuple[str, Seen]] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.lower().endswith(SUFFIX) or entry.name.startswith("."):
                continue
            try:
                state = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(state.st_mode) and state.st_size:
                found.append((entry.name, _seen(state)))
    free = sorted(
        (each for each in found if stuck.get(each[0]) != each[1]), key=lambda each: (each[1].changed, each[0])
    )
    return {name: seen for name, seen in found if stuck.get(name) == seen} | dict(free[:MOST])


def _seen(state: os.stat_result) -> Seen:
    return Seen(state.st_ino, state.st_size, state.st_mtime_ns)


def _content(path: Path, most: int) -> bytes:
    """Return what a file holds, of a long one a byte more than the most; nothing where it is no ordinary file any more.

    Raises:
        OSError: It cannot be read.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return b""
        raise
    with os.fdopen(number, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            return b""
        return file.read(most + 1)


def _frames(data: bytes, most: int) -> list[Frame]:
    """Part a file of MLLP frames; any other is one message or one batch. Of one that is too long the header is left."""
    start = data[:HEAD].lstrip(b"\r\n\x00 ")
    if len(data) > most:
        return [Frame(head_of(start.removeprefix(VT)), TOO_LONG)]
    if not start.startswith(VT):
        return [Frame(data)] if data else []
    deframer = Deframer(most, most)
    found = list(deframer.feed(data))
    last = deframer.close()
    return [*found, *([last] if last else [])]


async def _later(answer: Settled) -> list[bytes]:
    later = getattr(answer, "later", None)
    if later is None:
        return []
    try:
        async with asyncio.timeout(LATER_S):
            return list((await later).frames)
    except TimeoutError:
        return []


def _move(folder: Path, name: str, seen: Seen, target: str, answer: bytes, mark: str) -> None:
    """Write the answer, then move the file; another file of the same name there keeps its name.

    A file that was put in its place meanwhile stays: it is taken at one of the next looks.

    Raises:
        OSError: That cannot be, e.g. because the folder that it is to be moved to is a link.
    """
    with _opened(folder) as source, _opened(folder / target, os.O_NOFOLLOW) as place:
        state = _state(name, source)
        is_same = state is not None and _seen(state) == seen
        kept = Path(name)
        if not is_same or _state(name, place) is not None:
            kept = Path(f"{kept.stem}-{mark or seen.inode}{kept.suffix}")
        if answer:
            _write(place, f"{kept.name}{ANSWER}", answer)
        if is_same:
            os.replace(name, kept, src_dir_fd=source, dst_dir_fd=place)
        os.fsync(place)
        os.fsync(source)


@contextmanager
def _opened(folder: Path, flags: int = 0) -> Iterator[int]:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | flags)
    try:
        yield number
    finally:
        os.close(number)


def _state(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _write(folder: int, name: str, data: bytes) -> None:
    """Write a file so that it is there in whole or not at all."""
    draft = f".{name}"
    number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666, dir_fd=folder)
    with os.fdopen(number, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)

"""What a running job is given: its input, its last checkpoint, and the way to keep what it did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from fhir_server import gate
from fhir_server.jobs.job import INPUT, OUTPUT, Job, Output
from fhir_server.jobs.ledger import Ledger, Stopped
from fhir_server.jobs.pieces import PIECE, pack, read_pieces, unpack
from fhir_server.model import Actor
from fhir_server.store.protocol import Store, Transaction

__all__ = ["JobContext", "Mark", "Stopped"]

T = TypeVar("T")
Piece = tuple[str, str, str, bytes]

FILE: Final = 67_108_864  # bytes of a file, not compressed, before the next is begun


class Mark(NamedTuple):
    """A checkpoint."""

    state: bytes  # whatever the job needs to go on
    done: int
    total: int | None = None  # None where nobody knows


class JobContext:
    """One run of a job. Lines written since the last checkpoint are kept by the next, all or none.

    Args:
        job: As it was claimed.
        ledger: Keeps it.
        store: Of the hub.
        file_size: Bytes of a file before the next one is begun.
    """

    def __init__(self, job: Job, ledger: Ledger, store: Store, *, file_size: int = FILE) -> None:
        self._job, self._ledger, self._store, self._file_size = job, ledger, store, file_size
        self._waiting: list[tuple[str, str, list[bytes]]] = []  # (group, type, lines)
        self._answer: bytes | None = None
        self._lock = asyncio.Lock()
        self.result: dict[str, Any] | None = None  # what the job came to, as JSON

    @property
    def id(self) -> str:
        """The job's id."""
        return self._job.id

    @property
    def actor(self) -> Actor:
        """Who asked for the job; whatever it reads, it reads as them."""
        return self._job.actor

    @property
    def input(self) -> dict[str, Any]:
        """What was asked for."""
        return self._job.asked()

    @property
    def state(self) -> bytes:
        """The last checkpoint; b"" where the job begins."""
        return self._job.checkpoint

    @property
    def done(self) -> int:
        """How much was done at the last checkpoint."""
        return self._job.done

    @property
    def job(self) -> Job:
        """The job as it was at the last checkpoint."""
        return self._job

    @property
    def has_lines(self) -> bool:
        """Whether lines wait for the next checkpoint."""
        return bool(self._waiting)

    async def payload(self, *, skip: int = 0) -> AsyncIterator[bytes]:
        """Yield what was sent to work on, piece by piece, without the first `skip` pieces."""
        view = partial(self._store.view, self._job.tenant)
        async for piece in read_pieces(view, INPUT, self._job.id, skip=skip):
            yield unpack(piece)

    def write_output(self, type: str, lines: Sequence[bytes], *, group: str = "output") -> None:
        """Add lines, without their line ends, to the files of a type; kept with the next checkpoint."""
        if lines:
            self._waiting.append((group, type, list(lines)))

    def write_answer(self, body: bytes) -> None:
        """Keep bytes as they are, with the next checkpoint or the end; once."""
        self._answer = body

    async def checkpoint(self, state: bytes, done: int, total: int | None = None) -> None:
        """Keep how far the job came, and what it wrote; after a crash it begins again here.

        Raises:
            Stopped: The job was cancelled, or another process has it now.
        """
        await self._keep(None, lambda: Mark(state, done, total))

    async def transact(self, work: Callable[[Transaction], Awaitable[T]], mark: Callable[[T], Mark]) -> T:
        """Run `work` and keep a checkpoint in the same transaction: both are there, or neither.

        Args:
            work: May run more than once, as in `Store.transact`.
            mark: Gives the checkpoint, of what the work returned.

        Raises:
            Stopped: As `checkpoint`.
            Exception: What the work raised; the lines that waited are dropped then, as nothing is kept.
        """
        made: list[T] = []

        async def run(tx: Transaction) -> None:
            made[:] = [await work(tx)]

        await self._keep(run, lambda: mark(made[0]))
        return made[0]

    async def beat(self) -> None:
        """Say that the job lives."""
        async with self._lock:
            self._job, _ = await self._ledger.change(self._job, lambda job: None)

    async def _keep(self, work: Callable[[Transaction], Awaitable[None]] | None, mark: Callable[[], Mark]) -> None:
        async with self._lock:
            outputs, pieces = self._pieces()

            def change(job: Job) -> None:
                job.checkpoint, job.done, job.total = mark()
                job.attempts, job.outputs = 0, outputs

            self._job, _ = await self._ledger.change(self._job, change, pieces=pieces, work=work)

    async def end(self, change: Callable[[Job], None]) -> None:
        """Keep what is left, and the job's end."""
        async with self._lock:
            outputs, pieces = self._pieces()

            def ended(job: Job) -> None:
                job.outputs = outputs
                job.result = b"" if self.result is None else gate.write(self.result)
                change(job)

            self._job, _ = await self._ledger.change(self._job, ended, pieces=pieces)

    # --- files -------------------------------------------------------------------------------------------------

    def _pieces(self) -> tuple[list[Output], list[Piece]]:
        """Return the files as they are with what waits, and the rows that this takes."""
        outputs = [Output(o.number, o.type, o.group, o.count, o.size, o.pieces) for o in self._job.outputs]
        made: list[Piece] = []
        for (group, type), lines in self._by_file().items():
            start, size = 0, 0
            for n, line in enumerate(lines):
                size += len(line) + 1
                if size >= min(PIECE, self._file_size) or n == len(lines) - 1:
                    made.append(self._piece(outputs, group, type, lines[start : n + 1]))
                    start, size = n + 1, 0
        if self._answer is not None:
            made += self._whole(outputs, self._answer)
        self._waiting, self._answer = [], None
        return outputs, made

    def _whole(self, outputs: list[Output], body: bytes) -> list[Piece]:
        output = Output(len(outputs) + 1, "answer", "answer", 1, len(body))
        outputs.append(output)
        lane = f"{self._job.id}/{output.number}"
        parts = [body[start : start + PIECE] for start in range(0, len(body), PIECE)]
        output.pieces = len(parts)
        return [(OUTPUT, f"{lane}/{n:08d}", lane, pack(part)) for n, part in enumerate(parts)]

    def _by_file(self) -> dict[tuple[str, str], list[bytes]]:
        found: dict[tuple[str, str], list[bytes]] = {}
        for group, type, lines in self._waiting:
            found.setdefault((group, type), []).extend(lines)
        return found

    def _piece(self, outputs: list[Output], group: str, type: str, lines: Sequence[bytes]) -> Piece:
        own = [o for o in outputs if o.group == group and o.type == type]
        output = own[-1] if own and own[-1].size < self._file_size else None
        if output is None:
            output = Output(len(outputs) + 1, type, group)
            outputs.append(output)
        body = b"\n".join(lines) + b"\n"
        lane = f"{self._job.id}/{output.number}"
        piece = (OUTPUT, f"{lane}/{output.pieces:08d}", lane, pack(body))
        output.count, output.size, output.pieces = output.count + len(lines), output.size + len(body), output.pieces + 1
        return piece

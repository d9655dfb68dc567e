"""The job engine over a store in memory: one runner, checkpoints, cancel, retries, expiry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from fhir_server import gate
from fhir_server.errors import BadRequest, FhirError, Throttled, Unavailable
from fhir_server.http.asgi import failure
from fhir_server.http.jobs import failed
from fhir_server.jobs import JobContext, Jobs, Kind, Mark, Stopped
from fhir_server.jobs.job import DONE, FAILED, RUNNING, Failure, new_job
from fhir_server.jobs.ledger import LEASE_S, MOST_OPEN, Ledger
from fhir_server.jobs.pieces import PIECE, pack, unpack
from fhir_server.jobs.process import is_gone, own_name
from fhir_server.model import Actor
from fhir_server.search.extract import Indexer
from fhir_server.security.scopes import ALL
from fhir_server.store.memory import MemoryStore
from fhir_server.store.protocol import Transaction

ACTOR = Actor("default", "s", ALL)


class World:
    """A store, a clock that the test moves, and jobs over both."""

    def __init__(self) -> None:
        self.store, self.now, self.ids = MemoryStore(index=Indexer()), 1_000_000, iter(f"id{n}" for n in range(1000))
        self.jobs = self.another()

    def another(self) -> Jobs:
        """Return jobs as another process has them."""
        return Jobs(self.store, lambda: self.now, lambda: next(self.ids), keep_s=60, file_size=100)

    def ledger(self, name: str) -> Ledger:
        return Ledger(self.store, lambda: self.now, name)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.store.open()
    yield made
    await made.store.close()


async def run_all(jobs: Jobs, until: Callable[[], Awaitable[bool]]) -> None:
    """Run the runner until something holds."""
    task = asyncio.create_task(jobs.run())
    try:
        async with asyncio.timeout(120):
            while not await until():
                await asyncio.sleep(0.005)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def is_over(world: World, id: str) -> Callable[[], Awaitable[bool]]:
    async def over() -> bool:
        job = await world.jobs.find(id, ACTOR)
        return job is not None and job.state in (DONE, FAILED)

    return over


async def test_a_job_runs_and_its_files_are_cut_at_their_bound(world: World) -> None:
    async def run(context: JobContext) -> None:
        for n in range(4):
            context.write_output("Patient", [b"x" * 60])
            await context.checkpoint(b"%d" % n, n + 1, 4)
        context.result = {"ok": True}

    world.jobs.register(Kind("k", run))
    id = await world.jobs.start("k", {"a": 1}, ACTOR)
    await run_all(world.jobs, is_over(world, id))
    job = await world.jobs.find(id, ACTOR)
    assert job is not None and (job.state, job.done, job.total, job.result) == (DONE, 4, 4, b'{"ok":true}')
    assert [(o.name, o.count) for o in job.outputs] == [("1.Patient.ndjson", 2), ("2.Patient.ndjson", 2)]
    body = b"".join([unpack(piece) async for piece in world.jobs.read_output(job, job.outputs[0])])
    assert body == (b"x" * 60 + b"\n") * 2


async def test_a_run_that_breaks_off_goes_on_from_its_checkpoint_and_doubles_no_line(world: World) -> None:
    runs: list[bytes] = []

    async def run(context: JobContext) -> None:
        runs.append(context.state)
        if not context.state:
            context.write_output("Patient", [b"first"])
            await context.checkpoint(b"half", 1)
            context.write_output("Patient", [b"lost"])
            raise asyncio.CancelledError  # as when the process is told to stop
        context.write_output("Patient", [b"second"])

    world.jobs.register(Kind("k", run))
    id = await world.jobs.start("k", {}, ACTOR)
    await run_all(world.jobs, is_over(world, id))
    job = await world.jobs.find(id, ACTOR)
    assert runs == [b"", b"half"] and job is not None
    body = b"".join([unpack(piece) async for piece in world.jobs.read_output(job, job.outputs[0])])
    assert body == b"first\nsecond\n"


async def test_only_one_process_has_a_job_and_a_lost_one_cannot_write(world: World) -> None:
    world.jobs.register(Kind("k", _nothing))
    id = await world.jobs.start("k", {}, ACTOR)
    one, two = world.ledger("one"), world.ledger("two")
    kinds = frozenset({"k"})
    mine = await one.claim("default", kinds)
    assert mine is not None and mine.state == RUNNING
    assert await two.claim("default", kinds) is None
    world.now += (LEASE_S - 1) * 1_000_000
    await JobContext(mine, one, world.store).beat()
    world.now += (LEASE_S - 1) * 1_000_000
    assert await two.claim("default", kinds) is None, "it said that it lives"
    world.now += 2_000_000
    theirs = await two.claim("default", kinds)
    assert theirs is not None and theirs.id == id
    with pytest.raises(Stopped):
        await JobContext(mine, one, world.store).checkpoint(b"x", 1)
    await JobContext(theirs, two, world.store).checkpoint(b"y", 1)


async def test_work_and_checkpoint_are_kept_together_or_not_at_all(world: World) -> None:
    world.jobs.register(Kind("k", _nothing))
    await world.jobs.start("k", {}, ACTOR)
    ledger = world.ledger("one")
    job = await ledger.claim("default", frozenset({"k"}))
    assert job is not None
    context = JobContext(job, ledger, world.store)

    async def work(tx: Transaction) -> int:
        await tx.put_record("own", "a", "", b"1")
        return 7

    async def fails(tx: Transaction) -> int:
        await tx.put_record("own", "b", "", b"1")
        raise BadRequest("no")

    assert await context.transact(work, lambda made: Mark(b"%d" % made, made)) == 7
    with pytest.raises(BadRequest):
        await context.transact(fails, lambda made: Mark(b"8", 8))
    async with world.store.view("default") as view:
        assert [await view.record("own", key) is not None for key in "ab"] == [True, False]
    found = await ledger.find("default", job.id)
    assert found is not None and (found.checkpoint, found.done) == (b"7", 7)


async def test_a_fault_is_tried_again_and_then_is_the_end(world: World) -> None:
    runs = 0

    async def run(context: JobContext) -> None:
        nonlocal runs
        runs += 1
        world.now += 3600 * 1_000_000  # the wait before the next try is over at once
        raise ValueError("a value that nobody shall see")

    world.jobs.register(Kind("k", run, tries=3))
    id = await world.jobs.start("k", {}, ACTOR)

    async def over() -> bool:
        world.jobs._wake.set()
        world.now += 3600 * 1_000_000
        found = await world.ledger("x").find("default", id)
        return found is not None and found.state == FAILED

    await run_all(world.jobs, over)
    found = await world.ledger("x").find("default", id)
    assert runs == 3 and found is not None and found.failure is not None
    assert found.failure.status == 500 and "value" not in found.failure.text


async def test_what_a_client_may_see_ends_the_job_at_once(world: World) -> None:
    async def run(context: JobContext) -> None:
        raise BadRequest("Not like this.")

    world.jobs.register(Kind("k", run))
    id = await world.jobs.start("k", {}, ACTOR)
    await run_all(world.jobs, is_over(world, id))
    job = await world.jobs.find(id, ACTOR)
    assert job is not None and job.failure is not None
    assert (job.failure.status, job.failure.text) == (400, "Not like this.")


async def test_a_cancelled_job_leaves_nothing_and_runs_no_more(world: World) -> None:
    started = asyncio.Event()

    async def run(context: JobContext) -> None:
        context.write_output("Patient", [b"x"])
        await context.checkpoint(b"1", 1)
        started.set()
        await asyncio.sleep(60)

    world.jobs.register(Kind("k", run))
    id = await world.jobs.start("k", {}, ACTOR, payload=_parts(b"y" * 10))

    async def cancelled() -> bool:
        return started.is_set() and await world.jobs.cancel(id, ACTOR)

    await run_all(world.jobs, cancelled)
    assert await world.jobs.find(id, ACTOR) is None
    async with world.store.view("default") as view:
        assert await view.records("job-output") == [] and await view.records("job-input") == []


async def test_what_was_sent_comes_back_in_pieces_from_any_of_them(world: World) -> None:
    sent = bytes(n % 251 for n in range(PIECE * 2 + 17))
    seen: dict[int, bytes] = {}

    async def run(context: JobContext) -> None:
        for skip in (0, 2):
            seen[skip] = b"".join([part async for part in context.payload(skip=skip)])

    world.jobs.register(Kind("k", run))
    id = await world.jobs.start("k", {}, ACTOR, payload=_parts(sent[:1000], sent[1000:]))
    await run_all(world.jobs, is_over(world, id))
    assert seen == {0: sent, 2: sent[PIECE * 2 :]}


async def test_a_caller_has_a_bounded_number_of_open_jobs(world: World) -> None:
    world.jobs.register(Kind("k", _nothing))
    for _ in range(MOST_OPEN):
        await world.jobs.start("k", {}, ACTOR)
    with pytest.raises(Throttled):
        await world.jobs.start("k", {}, ACTOR)
    await world.jobs.start("k", {}, Actor("default", "another", ALL))


async def test_an_ended_job_expires(world: World) -> None:
    world.jobs.register(Kind("k", _nothing))
    id = await world.jobs.start("k", {}, ACTOR)
    await run_all(world.jobs, is_over(world, id))
    world.now += 61 * 1_000_000
    assert await world.jobs.find(id, ACTOR) is None

    async def removed() -> bool:
        return await world.ledger("x").find("default", id) is None

    await run_all(world.another(), removed)


def test_a_process_is_known_to_live_or_to_be_gone() -> None:
    machine, pid, started = own_name().rsplit(":", 2)
    if not machine:
        pytest.skip("this system does not say when a process began")
    assert not is_gone(own_name())
    assert is_gone(f"{machine}:{pid}:{int(started) - 1}"), "the number was given to another process"
    assert is_gone(f"{machine}:4194303:1")
    assert not is_gone("another-machine:1:1") and not is_gone("")


def test_pieces_put_together_are_one_gzip() -> None:
    import gzip

    assert gzip.decompress(pack(b"one") + pack(b"two")) == b"onetwo"


async def _nothing(context: JobContext) -> None:
    return


async def _parts(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        pytest.param(Failure(503, "transient", "x"), 500, "processing", id="an input that cannot be reached"),
        pytest.param(Failure(429, "throttled", "x"), 500, "processing", id="too much at once"),
        pytest.param(None, 500, "processing", id="a failure that nobody kept"),
        pytest.param(Failure(404, "not-found", "x"), 404, "not-found", id="a group that is gone"),
    ],
)
def test_a_job_that_failed_is_not_to_be_asked_about_again(failure: Failure | None, status: int, code: str) -> None:
    job = new_job("id", "export", {}, ACTOR, 0, "http://hub/fhir/$export")
    job.state, job.failure = FAILED, failure
    answer = failed(job)
    assert (answer.status, gate.load(answer.body)["issue"][0]["code"]) == (status, code)
    assert "expires" in dict(answer.headers)


@pytest.mark.parametrize("error", [Throttled("x"), Unavailable("x")])
def test_what_may_be_asked_again_says_when(error: FhirError) -> None:
    assert int(dict(failure(error, "id").headers)["retry-after"]) > 0

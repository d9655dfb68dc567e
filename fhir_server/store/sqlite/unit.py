"""A unit of work that waits for its turn, and runs step by step."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import apsw

from fhir_server.store.protocol import Transaction
from fhir_server.store.sqlite.batch import Repeat
from fhir_server.store.sqlite.job import Job


@dataclass(slots=True)
class Unit:
    """What a caller of `transact` waits for."""

    tenant: str
    work: Callable[[Transaction], Awaitable[Any]]
    future: asyncio.Future[Any]
    context: contextvars.Context
    result: Any = None
    error: BaseException | None = None

    async def run(self, transaction: Transaction, done: Callable[[Job], Awaitable[Any]]) -> None:
        """Run the work in its caller's context; it has a result or an error then.

        Args:
            transaction: Given to the work.
            done: Does a job; the work may suspend by jobs only.

        Raises:
            apsw.Error: The engine failed, which concerns the whole batch.
            Repeat: The batch must be run again.
        """
        self.error = None
        steps: Any = self.work(transaction).__await__()
        step: Callable[[], Any] = partial(steps.send, None)
        while True:
            try:
                job = self.context.run(step)
            except StopIteration as end:
                self.result = end.value
                return
            except (apsw.Error, Repeat):
                raise
            except (Exception, asyncio.CancelledError) as error:  # whatever it is belongs to the caller
                self.error = error
                return
            if not isinstance(job, Job):
                steps.close()
                self.error = RuntimeError("Work in a transaction may await nothing but the transaction's methods.")
                return
            try:
                step = partial(steps.send, await done(job))
            except Exception as error:  # the work's to handle
                step = partial(steps.throw, error)

    def answer(self) -> None:
        """Tell the caller, unless it is gone."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)

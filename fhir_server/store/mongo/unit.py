"""A unit of work that waits for its turn."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fhir_server.store.mongo.transaction import MongoTransaction
from fhir_server.store.protocol import Transaction


@dataclass(slots=True)
class Unit:
    """What a caller of `transact` waits for."""

    work: Callable[[Transaction], Awaitable[Any]]
    future: asyncio.Future[Any]
    context: contextvars.Context
    result: Any = None
    error: BaseException | None = None

    async def run(self, transaction: MongoTransaction) -> None:
        """Run the work in its caller's context; it has a result or an error then."""
        self.result = self.error = None
        task = asyncio.get_running_loop().create_task(self._work(transaction), context=self.context)
        try:
            await asyncio.wait([task])
        finally:
            transaction.is_over = True
            if not task.done():
                task.cancel()

    async def _work(self, transaction: MongoTransaction) -> None:
        try:
            self.result = await self.work(transaction)
        except (Exception, asyncio.CancelledError) as error:  # whatever it is belongs to the caller
            self.error = error

    def answer(self) -> None:
        """Tell the caller, unless it is gone."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)

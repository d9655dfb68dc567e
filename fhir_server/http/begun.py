"""An awaitable begun at once: its result where it need not wait, so that no deadline is set up for nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from types import CoroutineType, coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")


def begin(given: Awaitable[T]) -> tuple[T | None, Awaitable[T] | None]:
    """Return the result of an awaitable that does not wait, else what is to be awaited for it; the other is None."""
    if given.__class__ is not CoroutineType:
        return None, given
    begun = cast(Coroutine[Any, Any, T], given)
    try:
        waits_for = begun.send(None)
    except StopIteration as end:
        return cast(T, end.value), None
    return None, _rest(begun, waits_for)


@coroutine
def _rest(begun: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine from what it waits for."""
    while True:
        step: Callable[[], Any]
        try:
            step = partial(begun.send, (yield waits_for))
        except BaseException as error:  # a deadline, or the end of the task: the coroutine's to handle
            step = partial(begun.throw, error)
        try:
            waits_for = step()
        except StopIteration as end:
            return cast(T, end.value)

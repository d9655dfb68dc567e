"""What a unit of work asks of the writer that runs it: to do something long elsewhere, or to let others run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final


class Job:
    """Awaited inside a unit of work; the writer does it and the unit goes on with the result.

    Args:
        run: Called in a thread, with the large budget; None only lets others run.
    """

    __slots__ = ("run",)

    def __init__(self, run: Callable[[], Any] | None) -> None:
        self.run = run

    def __await__(self) -> Generator[Job, Any, Any]:
        """Hand itself to the writer."""
        return (yield self)


BREATH: Final = Job(None)

"""A hub that ends as by kill -9 at one point of a message's way: `python -m tests.dying POINT serve ...`.

It ends when the message whose control id is the point's name and `-2` comes to that point; others pass.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from adapters.hl7 import intake, worker

POINTS: Final[dict[str, tuple[Any, str, Callable[..., str]]]] = {
    "stored": (intake.Intake, "_tell", lambda self, letter, answer: letter.header.control),
    "answered": (worker.Worker, "_read", lambda self, one: one.key),
    "converted": (worker.Worker, "_settle", lambda self, writing, one: one.key),
    "written": (worker.Worker, "_put", lambda self, writing, one, *_, **__: one.key),
    "committed": (worker.Worker, "_forget", lambda self, one, done: one.key),
}
"""Name -> what is called there, and how the message is found in its arguments."""


def arm(point: str) -> None:
    """Let the process end at a point."""
    owner, name, message = POINTS[point]
    real = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        if f"{point}-2" in message(*args, **kwargs):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(owner, name, dying)


if __name__ == "__main__":
    arm(sys.argv[1])
    from fhir_server.cli import main

    sys.exit(main(sys.argv[2:]))

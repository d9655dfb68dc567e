"""Python's collector of cycles, set for a process that handles resources: they hold no cycles."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Final

GC_THRESHOLD: Final = 100_000  # objects made between two looks for cycles; those of a batch of writes are gone by then
BULK: Final = 1_000_000  # the same in a process that only loads: each look meets what is under way, hardly garbage
YOUNG: Final = 8_000  # objects made since the last look at which a serving hub looks: about 10 ms
PAUSE_S: Final = 0.5  # between two thoughts of that
_IDLE: Final = 0.05  # share of a core below which nobody is kept waiting by a look at everything
_OFTEN_S: Final = 600.0  # between two looks at everything where there is time for one
_SELDOM_S: Final = 3_600.0  # and where there is not


def begin() -> None:
    """Look seldom from now on: what a command imports stays for good, and a sixth of its start went into looking."""
    gc.set_threshold(GC_THRESHOLD)


def settle(made: int = GC_THRESHOLD) -> None:
    """Leave alone what is there for good, and look less often: a third of a bulk load went into looking.

    Args:
        made: Objects between two looks.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(made, 20, 50)


async def look_briefly(pause_s: float = PAUSE_S, often_s: float = _OFTEN_S) -> None:
    """Look for cycles before many objects gather, for ever: a look at 100,000 kept everybody waiting for 0.1 s.

    Args:
        pause_s: Seconds between two thoughts.
        often_s: Seconds between two looks at everything in a hub that has little to do.
    """
    looked = time.monotonic()
    while True:
        used = time.process_time()
        await asyncio.sleep(pause_s)
        is_idle = time.process_time() - used < _IDLE * pause_s
        if gc.get_count()[0] >= YOUNG:
            gc.collect(0)
        waited = time.monotonic() - looked
        if (is_idle and waited >= often_s) or waited >= _SELDOM_S:
            gc.collect()
            looked = time.monotonic()

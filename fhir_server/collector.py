"""Python's collector of cycles, set for a process that handles resources: they hold no cycles."""

from __future__ import annotations

import gc
from typing import Final

GC_THRESHOLD: Final = 100_000  # objects made between two looks for cycles; those of a batch of writes are gone by then


def settle() -> None:
    """Leave alone what is there for good, and look less often: a third of a bulk load went into looking."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)

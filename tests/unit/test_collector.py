"""A serving hub looks for cycles by itself, briefly while it works and everywhere while it does not."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from fhir_server import collector


class Ring:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.itself = self


async def _is_found(alive: weakref.ref[Ring], often_s: float) -> bool:
    looking = asyncio.create_task(collector.look_briefly(0.05, often_s))
    try:
        for _ in range(6_000):  # what looks whether it is gone is to need less than an idle process may
            await asyncio.sleep(0.02)
            if alive() is None:
                return True
        return False
    finally:
        looking.cancel()


@pytest.mark.parametrize(
    ("many", "is_old"),
    [
        pytest.param(True, False, id="a young cycle goes once many objects were made"),
        pytest.param(False, True, id="an old cycle goes while there is little to do"),
    ],
)
async def test_a_cycle_that_nobody_holds_goes(many: bool, is_old: bool) -> None:
    before = gc.get_threshold()
    gc.set_threshold(1_000_000)
    try:
        ring = Ring()
        if is_old:
            gc.collect()
        alive = weakref.ref(ring)
        del ring
        made = [[None] for _ in range(2 * collector.YOUNG if many else 0)]
        assert await _is_found(alive, often_s=3_600.0 if many else 0.0)
        assert made or not many
    finally:
        gc.set_threshold(*before)

"""What tests share: one running hub for those that only add to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import RunningHub


@pytest.fixture(scope="session")
def hub() -> Iterator[RunningHub]:
    """A running hub of the whole session; tests add their own patients and never count all of them."""
    with RunningHub() as running:
        yield running


@pytest.fixture
def own_hub() -> Iterator[RunningHub]:
    """A running hub of this test alone, for tests that count, stop or kill it."""
    with RunningHub() as running:
        yield running

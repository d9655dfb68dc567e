"""The disk under the store: whether it has room for more messages."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

EACH_S: Final = 1.0  # how often it is looked at


class Disk:
    """The file system of an embedded store.

    Args:
        store: The setting `store`; only `sqlite:///PATH` has a disk that is seen from here.
        least: Free bytes below which it is low; 0: it never is.
        timer: Returns seconds that only grow.
        free: Returns the free bytes of a folder's file system.
    """

    def __init__(
        self,
        store: str,
        least: int,
        timer: Callable[[], float] = time.monotonic,
        free: Callable[[Path], int] | None = None,
    ) -> None:
        scheme, _, path = store.partition("///")
        self._folder = Path(path).parent if scheme == "sqlite:" and path and least else None
        self._least, self._timer, self._free = least, timer, free or free_bytes
        self._looked, self._low = float("-inf"), False

    def is_low(self) -> bool:
        """Whether there is less room than there should be; looked at once a second."""
        if self._folder is None:
            return False
        now = self._timer()
        if now - self._looked >= EACH_S:
            self._looked = now
            self._low = self._free(self._folder) < self._least
        return self._low


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the file system of a folder, for a user without privileges."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize

"""What the terminology service keeps in memory, bounded: decoded resources, and what was found under which url."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of everything that is kept, as estimated, but for one thing that alone is larger."""

_MOST_NAMES: Final = 20_000


class Shelf:
    """Keeps decoded things by key, the ones asked for last; and names by tenant and epoch.

    Args:
        most: Bytes, as the callers of `keep` estimate them.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self.size = most, 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._large: tuple[Hashable, Any] | None = None
        self._names: dict[Hashable, tuple[int, Any]] = {}

    def get(self, key: Hashable) -> Any:
        """Return what is kept under a key, or None."""
        found = self._kept.get(key)
        if found is None:
            return self._large[1] if self._large is not None and self._large[0] == key else None
        self._kept.move_to_end(key)
        return found[0]

    def keep(self, key: Hashable, made: Any, size: int) -> None:
        """Keep something; what was not asked for the longest goes. Of things larger than all room, the last is kept."""
        if size > self._most:
            self._large = (key, made)
            return
        before = self._kept.pop(key, None)
        self.size += size - (before[1] if before else 0)
        self._kept[key] = (made, size)
        while self.size > self._most:
            _, (_, gone) = self._kept.popitem(last=False)
            self.size -= gone

    def named(self, key: Hashable, epoch: int) -> Any:
        """Return what was found under a name in this epoch, or None."""
        found = self._names.get(key)
        return found[1] if found is not None and found[0] == epoch else None

    def name(self, key: Hashable, epoch: int, found: Any) -> None:
        """Remember what was found under a name."""
        if len(self._names) >= _MOST_NAMES:
            self._names.clear()
        self._names[key] = (epoch, found)

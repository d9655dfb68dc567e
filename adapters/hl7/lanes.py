"""Order per patient: a message that waits to be tried again, or is held back, keeps the later ones of its lanes.

A lane is a patient; a message about two (a merge) is in both, one about nobody in the lane of its channel.
Messages are applied in the order in which they came, so only what has to wait is kept here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Laned(Protocol):
    """What goes through lanes."""

    @property
    def lanes(self) -> tuple[str, ...]:
        """Its lanes."""
        ...


L = TypeVar("L", bound=Laned)


@dataclass(slots=True)
class Lanes(Generic[L]):
    """What waits, in the order in which it came."""

    held: Mapping[str, str] = field(default_factory=dict)  # lanes that a message in quarantine holds back; see `hold`
    _due: dict[int, float] = field(default_factory=dict)  # id of what is to be tried again -> when
    _parked: list[L] = field(default_factory=list)
    _blocked: set[str] = field(default_factory=set)
    _changed: bool = False  # whether a lane may be held back no more

    def __len__(self) -> int:
        return len(self._parked)

    def hold(self, lanes: Mapping[str, str]) -> None:
        """Say which lanes are held back from now on."""
        self.held, self._changed = lanes, True

    def keeps(self, one: L) -> bool:
        """Whether something must wait behind what came before; then it is kept here."""
        if self._blocked.isdisjoint(one.lanes) and self.held.keys().isdisjoint(one.lanes):
            return False
        self._park(one)
        return True

    def put_off(self, one: L, until: float) -> None:
        """Keep what is to be tried again, before all that already waits in its lanes: it came first."""
        self._due[id(one)] = until
        self._parked.insert(0, one)
        self._blocked.update(one.lanes)

    def _park(self, one: L) -> None:
        self._parked.append(one)
        self._blocked.update(one.lanes)

    def take(self, now: float) -> list[L]:
        """Return what may go on now, in order; all else stays."""
        if not self._changed and min(self._due.values(), default=now + 1) > now:
            return []
        self._changed = False
        free: list[L] = []
        parked, self._parked, self._blocked = self._parked, [], set()
        for one in parked:
            if self._due.get(id(one), 0.0) > now:
                self._park(one)
            elif not self.keeps(one):
                self._due.pop(id(one), None)
                free.append(one)
        return free

    def next_due(self) -> float | None:
        """Return when the next one is to be tried again, None where none is."""
        return min(self._due.values(), default=None)

    def all(self) -> Iterable[L]:
        """Return what waits, in order."""
        return tuple(self._parked)

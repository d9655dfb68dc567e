"""What looks like no measurement of a body: a jump no body makes, a line that is flat, a probe that is off.

The value is stored and judged like any other: a suspicion hides nothing from triage. It is told beside it. A jump is
judged against the readings that this process took shortly before. The bounds are this hub's own.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import Final, NamedTuple

from adapters.devices.reading import Measured
from adapters.devices.waveform import is_flat

FAMILY: Final = "artefact"
RECENT: Final = 300_000_000  # microseconds: what was measured before says nothing of a jump
SAME: Final = 30  # equal values in a row, of a rate that always moves a little
KEYS: Final = 10_000  # patients and codes remembered


class Suspicion(NamedTuple):
    """What is odd about a reading."""

    code: str  # jump, flat-line, probe-off
    fr: str


JUMP: Final = Suspicion("jump", "Saut non physiologique")
FLAT: Final = Suspicion("flat-line", "Tracé plat")
PROBE: Final = Suspicion("probe-off", "Capteur débranché")


class _Last(NamedTuple):
    instant: int
    value: Decimal
    times: int  # in a row


class Memory:
    """The newest reading of each patient, device and code in this process; the oldest of them are forgotten."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, ...], _Last] = OrderedDict()

    def judge(self, key: tuple[str, ...], measured: Measured, instant: int) -> Suspicion | None:
        """Return what is odd about a reading, and keep it for the next one."""
        found = self.suspect(key, measured, instant)
        self.remember(key, measured, instant)
        return found

    def suspect(self, key: tuple[str, ...], measured: Measured, instant: int) -> Suspicion | None:
        """Return what is odd about a reading; changes nothing."""
        if "probe-off" in measured.statuses:
            return PROBE
        if measured.wave is not None:
            return FLAT if is_flat(measured.wave) else None
        last = self._last.get(key)
        value = _value(measured)
        if last is None or value is None or measured.jump is None:
            return None
        apart = instant - last.instant
        if apart <= 0:
            return None
        if apart <= RECENT and abs(value - last.value) > measured.jump * max(Decimal(1), Decimal(apart) / 60_000_000):
            return JUMP
        is_rate = measured.parts[0].ucum == "/min"
        return FLAT if is_rate and value == last.value and last.times + 1 == SAME else None

    def remember(self, key: tuple[str, ...], measured: Measured, instant: int) -> None:
        """Keep a reading; one that is not newer, a copy as well, changes nothing."""
        value, last = _value(measured), self._last.get(key)
        if value is None or measured.jump is None or (last is not None and instant <= last.instant):
            return
        times = last.times + 1 if last is not None and last.value == value else 1
        self._last[key] = _Last(instant, value, times)
        self._last.move_to_end(key)
        if len(self._last) > KEYS:
            self._last.popitem(last=False)


def _value(measured: Measured) -> Decimal | None:
    return measured.parts[0].value if len(measured.parts) == 1 and not measured.is_panel else None

"""How much may be kept aside: counted in durable rows, in the transaction that keeps a reading or settles it.

Somebody has to look at what is kept aside; what nobody looks at must not fill the disk. One device may not take the
place of all others either. Each count is parted into shares by the reading's key, so that readings kept at the same
time seldom wait for each other; a bound is therefore met a little before its full number. The bounds are the hub's own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from fhir_server import gate
from fhir_server.interface import Asking, Writing

KIND: Final = "device-quarantine-count"
SHARES: Final = 16  # of each count: the first digit of a reading's key
EVERY: Final = "all"  # the count of every device's readings
MOST: Final = 100_000  # readings
MOST_OF_DEVICE: Final = 10_000  # readings under one name of a device
MOST_BYTES: Final = 4_294_967_296  # of all readings as they are kept


class Held(NamedTuple):
    """One share of a count."""

    rows: int = 0
    bytes: int = 0


async def enter(writing: Writing, key: str, lane: str, size: int) -> bool:
    """Count a reading that is to be kept aside; False, and nothing is counted, where there is no room for it.

    Args:
        writing: The transaction that keeps it.
        key: The reading's, hexadecimal.
        lane: Its device's.
        size: Bytes of the row.
    """
    every, own = await _held(writing, EVERY, key), await _held(writing, lane, key)
    is_full = every.rows >= MOST // SHARES or every.bytes + size > MOST_BYTES // SHARES
    if is_full or own.rows >= MOST_OF_DEVICE // SHARES:
        return False
    await _count(writing, EVERY, key, Held(every.rows + 1, every.bytes + size))
    await _count(writing, lane, key, Held(own.rows + 1, own.bytes + size))
    return True


async def leave(writing: Writing, key: str, lane: str, size: int) -> None:
    """Count a reading off that is no longer kept aside."""
    for name in (EVERY, lane):
        held = await _held(writing, name, key)
        await _count(writing, name, key, Held(max(held.rows - 1, 0), max(held.bytes - size, 0)))


async def _held(asking: Asking, name: str, key: str) -> Held:
    record = await asking.record(KIND, f"{name}-{key[0]}")
    return Held(**gate.load(record.body)) if record is not None else Held()


async def _count(writing: Writing, name: str, key: str, held: Held) -> None:
    """Write a share down; one that is empty needs no row."""
    place = f"{name}-{key[0]}"
    if held.rows:
        await writing.put_record(KIND, place, "", gate.write(held._asdict()))
    else:
        await writing.drop_record(KIND, place)

"""MQTT topics of devices: `dev/{tenant}/{gateway}/{device}/{obs,wave,evt,status}`.

The names are this hub's own. A name that holds a character which a topic level cannot hold (`/`, `+`, `#`) is written
with percent signs, as in URLs.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import unquote

from adapters.devices.reading_json import is_text

OBS: Final = "obs"  # readings
WAVE: Final = "wave"  # samples of a signal
EVT: Final = "evt"  # falls and alarms: on a connection of their own
STATUS: Final = "status"  # online or offline; retained, and the gateway's last will
KINDS: Final = (OBS, WAVE, EVT, STATUS)
MAX_TOPIC: Final = 1_024  # characters


class Topic(NamedTuple):
    """Where a publication came by."""

    tenant: str
    gateway: str
    device: str
    kind: str

    @property
    def lane(self) -> str:
        """What is taken in order: all of one device behind one gateway."""
        return f"{self.tenant}/{self.gateway}/{self.device}"


def read_topic(text: str) -> Topic | None:
    """Return what a topic names; None where it is no topic of devices."""
    levels = text.split("/") if len(text) <= MAX_TOPIC else []
    if len(levels) != 5 or levels[0] != "dev" or levels[4] not in KINDS:
        return None
    tenant, gateway, device = (unquote(level) for level in levels[1:4])
    return Topic(tenant, gateway, device, levels[4]) if all(map(is_text, (tenant, gateway, device))) else None

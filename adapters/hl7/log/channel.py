"""The channel of a name, with what the hub knows of its senders today: what reading a stored message again needs."""

from __future__ import annotations

from functools import partial
from typing import Any

from adapters.hl7.authorities import Authorities
from adapters.hl7.local import Locals
from adapters.hl7.replay import Channels as Named
from adapters.hl7.ways import Channels
from fhir_server.interface import Core


async def channels(core: Core, tenant: str, settings: Any) -> Named:
    """Return a function from a channel's name to the channel, for a command.

    Args:
        core: The door.
        tenant: Whose messages.
        settings: Of them it uses `zone`, `hl7_channels` and `hl7_ack_when`.
    """
    authorities, locals_ = Authorities(core), Locals(core)
    await authorities.of(tenant)
    await locals_.of(tenant)
    return partial(Channels(core, settings, authorities, locals_).named, tenant)

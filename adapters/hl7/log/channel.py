"""The channel of a name, with what the hub knows of its senders today: what reading a stored message again needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from adapters.hl7.authorities import Authorities
from adapters.hl7.channels import Channel, read_table
from adapters.hl7.local import Locals
from fhir_server.interface import Core


async def channels(
    core: Core,
    tenant: str,
    settings: Any,
    *,
    authorities: Authorities | None = None,
    locals_: Locals | None = None,
) -> Callable[[str], Channel]:
    """Return a function from a channel's name to the channel.

    Args:
        core: The door.
        tenant: Whose messages.
        settings: Of them it uses `zone` and `hl7_channels`.
        authorities: What is known of them already; None: they are read now.
        locals_: The same of senders' codes and profiles.
    """
    usual = Channel("mllp", tenant, ZoneInfo(settings.zone), {})
    table = read_table(getattr(settings, "hl7_channels", ""), usual)
    known = await (authorities or Authorities(core)).of(tenant)
    local = await (locals_ or Locals(core)).of(tenant)

    def channel(name: str) -> Channel:
        return replace(table.named(name), tenant=tenant, authorities=known, local=local)

    return channel

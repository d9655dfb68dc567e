"""Subscriptions as a part of the core that looks like a room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fhir_server.interactions.core import Hub
from fhir_server.interface import Room
from fhir_server.model import Change
from fhir_server.settings import Settings
from fhir_server.store.protocol import Transaction


def open(core: Hub, settings: Settings) -> Room:
    """Hand in what subscriptions need of the hub."""
    return Room("subscriptions")


def matcher(hub: Hub) -> Callable[[Transaction, Sequence[Change]], Awaitable[None]]:
    """Return what matches changes with subscriptions inside their transaction."""

    async def match(tx: Transaction, changes: Sequence[Change]) -> None:
        return None

    return match

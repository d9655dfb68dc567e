"""The operations of the core as one room."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from fhir_server.interactions.core import Hub
from fhir_server.interface import Room
from fhir_server.operations import (
    convert,
    diff,
    document,
    erase,
    everything,
    export,
    graphql,
    import_,
    lastn,
    match,
    merge,
    meta,
    reindex,
    stats,
    summary,
    terminology,
    validate,
)
from fhir_server.settings import Settings

MODULES: Final[tuple[ModuleType, ...]] = (
    validate,
    convert,
    diff,
    document,
    everything,
    export,
    graphql,
    import_,
    lastn,
    meta,
    reindex,
    stats,
    summary,
    terminology,
    match,
    merge,
    erase,
)
"""Modules with `operations(hub, settings) -> tuple[Operation, ...]`."""


def open(hub: Hub, settings: Settings) -> Room:
    """Return all operations of the core."""
    return Room("operations", operations=tuple(made for module in MODULES for made in module.operations(hub, settings)))

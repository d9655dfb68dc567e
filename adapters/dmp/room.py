"""Composition of the national record's room: the pre-DMP document, its validation, its pages."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from adapters.dmp import validation
from adapters.dmp.operations import Documents, operations_of
from adapters.dmp.pages import RecordPages
from fhir_server.interface import Core, Eraser, Room


def open(core: Core, settings: Any) -> Room:
    """Return the room; it has no settings yet."""
    documents = Documents(core, lambda: str(uuid.uuid4()))
    return Room(
        "dmp",
        router=RecordPages(core).router(),
        operations=operations_of(documents),
        templates=Path(__file__).parent / "templates",
        menu=(("/records", "Dossiers", "Records"),),
        erasers=(Eraser(validation.KIND, validation.is_of),),
    )

"""`predmp backup FILE`: a whole copy of a SQLite store, made while hubs run on it; its audit chain is verified."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fhir_server.operator import verify_audit
from fhir_server.settings import Settings, SettingsError
from fhir_server.store.choice import check_there

_SQLITE = "sqlite:///"


async def backup(settings: Settings, target: Path) -> int:
    """Copy the store that the settings name into a new file.

    The file appears under its name only when it is whole and on the disk.

    Returns:
        0, or 1 where the audit chain of the copy does not hold.

    Raises:
        SettingsError: The store is no SQLite file, or something is at the target.
        Unavailable: The copy cannot be made.
    """
    if not settings.store.startswith(_SQLITE):
        raise SettingsError("only a SQLite store is a file: back up MongoDB with its own tools, docs/howto/mongodb.md")
    check_there(settings)
    if target.exists():
        raise SettingsError("something is there already: name a new file")
    if not target.parent.is_dir():
        raise SettingsError("the folder of the new file is not there")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    from fhir_server.store.sqlite.backup import copy_file

    try:
        await asyncio.to_thread(copy_file, settings.store.removeprefix(_SQLITE), part)
        bad = await verify_audit(replace(settings, store=f"{_SQLITE}{part.absolute()}"))
        if bad is None:
            part.rename(target)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                part.with_name(part.name + suffix).unlink()
    if bad is not None:
        print(f"row {bad} of the audit chain does not hold: no copy was kept")
        return 1
    print(f"{target}: {target.stat().st_size:,} bytes; its audit chain is whole")
    return 0

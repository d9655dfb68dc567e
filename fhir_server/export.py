"""`predmp export`: every current resource as NDJSON, one file a type; `predmp load` reads it back."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fhir_server.app import opened
from fhir_server.definitions import resource_types
from fhir_server.search.query import Query
from fhir_server.settings import Settings, SettingsError
from fhir_server.store.choice import check_there
from fhir_server.store.protocol import View

PAGE = 500


async def export(settings: Settings, folder: Path) -> int:
    """Write the resources of a tenant into a folder that is new or empty; all of one state of the store.

    Returns:
        The exit code: 0.

    Raises:
        SettingsError: The folder holds something or cannot be made, or there is no store.
    """
    if settings.store == "memory:":
        raise SettingsError("--store memory: is another process's; use $export there")
    check_there(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder.iterdir()):
            raise SettingsError(f"{folder} is not empty")
    except OSError as error:
        raise SettingsError(f"{folder} cannot be a folder: {error.strerror}") from None
    async with opened(replace(settings, rooms=())) as composed, composed.store.view(settings.tenant) as view:
        counts = {type: await view.count((type,), ()) for type in sorted(resource_types())}
        present = {type: count for type, count in counts.items() if count}
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            bar = progress.add_task("exporting", total=sum(present.values()))
            for type in present:
                async for written in _write(view, type, folder / f"{type}.ndjson"):
                    progress.advance(bar, written)
    for type, count in present.items():
        print(f"{count:>8} {type}")
    print(f"{sum(present.values()):>8} exported")
    return 0


async def _write(view: View, type: str, path: Path) -> AsyncIterator[int]:
    """Write the resources of one type, readable by their owner only; yield how many each page had."""
    query: Query | None = Query((type,), count=PAGE, total="none")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
        while query is not None:
            found = await view.search(query)
            for version in found.versions:
                sink.write(version.body + b"\n")
            yield len(found.versions)
            query = None if found.after is None else replace(query, after=found.after)

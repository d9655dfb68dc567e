"""`predmp reindex`: index resources anew, in this process; a server may run on the store meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fhir_server.app import opened
from fhir_server.indexing.reindex import Reindexing
from fhir_server.settings import Settings, SettingsError
from fhir_server.store.choice import check_there


async def reindex(settings: Settings, types: Sequence[str], *, as_json: bool = False) -> int:
    """Index the resources of these types anew, of every tenant; all types where none is named.

    Returns:
        The exit code: 0.

    Raises:
        SettingsError: A type is none of R4, or the store is not there or in another process's memory.
    """
    if settings.store == "memory:":
        raise SettingsError("--store memory: is another process's; use $reindex there")
    check_there(settings)
    async with opened(replace(settings, rooms=())) as composed:
        hub = composed.hub
        if strange := sorted(set(types) - hub.types):
            raise SettingsError(f"{strange[0]} is no resource type of R4")
        work = Reindexing(hub.store, hub.index, hub.registry, hub.definitions, hub.types)
        state = await work.begin(types)
        if (left := state.not_before - hub.now()) > 0:  # a server may not know yet what was defined just now
            await asyncio.sleep(left / 1_000_000)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            bar = progress.add_task("indexing", total=state.total)
            while await work.step(state):
                progress.update(bar, completed=state.done)
            progress.update(bar, completed=state.done)
        await work.end(state)
    text = json.dumps({"resources": state.done, "parameters": len(state.known)})
    print(text if as_json else f"{state.done:>8} indexed anew")
    return 0

"""Which store the settings name; each is imported only where it is chosen, so that commands start at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fhir_server.model import Resource
from fhir_server.search.values import Indexed
from fhir_server.settings import Settings, SettingsError
from fhir_server.store.protocol import Store

Index = Callable[[Resource], Indexed]


def check_there(settings: Settings) -> None:
    """Raise SettingsError where the settings name a SQLite file that is not there, which opening it would make.

    For commands about what a store holds: of a mistyped path they would tell that it holds nothing, and is whole.
    """
    path = settings.store.removeprefix("sqlite:///")
    if path != settings.store and not Path(path).is_file():
        raise SettingsError(f"there is no store at {path}")


def open_store(settings: Settings, index: Index) -> Store:
    """Return the store that the settings name, not open yet; raise SettingsError for one that is none."""
    kind, _, rest = settings.store.partition(":")
    if kind == "sqlite" and rest.startswith("///") and len(rest) > 3:
        from fhir_server.store.sqlite import SqliteStore

        return SqliteStore(rest[3:], index=index)
    if settings.store == "memory:":
        from fhir_server.store.memory import MemoryStore

        return MemoryStore(index=index)
    if kind in ("mongodb", "mongodb+srv"):
        return _mongo_store(settings.store, index)
    raise SettingsError("--store reads sqlite:///PATH, mongodb://HOST/DATABASE or memory:")


def _mongo_store(url: str, index: Index) -> Store:
    try:
        from fhir_server.store.mongo import MongoStore
    except ModuleNotFoundError as error:
        raise SettingsError(f"--store mongodb: needs the extra `mongo`: no module {error.name}") from None
    return MongoStore(url, index=index)

"""`predmp doctor`: whether this machine and this store are fit."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from fhir_server.errors import FhirError
from fhir_server.operator import index_fault, verify_audit
from fhir_server.settings import Settings, SettingsError

SAFE_SQLITE = (3, 51, 3)
LEAST_DISK = 0.05  # of the disk


async def examine(settings: Settings) -> int:
    """Print one line for each thing looked at; return 1 where one is unfit."""
    checks: list[tuple[str, Callable[[], str | None]]] = [
        ("Python 3.11 or newer", lambda: None if sys.version_info >= (3, 11) else sys.version.split()[0]),
        ("SQLite without the WAL-reset fault (3.51.3 or newer)", _sqlite),
        ("the clock stands in this century", lambda: None if time.time() > 1_700_000_000 else "it does not"),
        ("disk space", lambda: _disk(settings)),
        ("the store's file is readable by its owner only", lambda: _mode(settings)),
        (f"HTTP port {settings.http} is free", lambda: _port(settings.http)),
        (f"MLLP port {settings.mllp} is free", lambda: _port(settings.mllp)),
    ]
    unfit = 0
    for name, look in checks:
        fault = look()
        unfit += fault is not None
        print(f"{'ok  ' if fault is None else 'BAD '} {name}" + (f": {fault}" if fault else ""))
    unfit += await _server(settings)
    unfit += await _audit(settings)
    unfit += await _index(settings)
    return 1 if unfit else 0


async def _server(settings: Settings) -> int:
    """Say what a MongoDB server can and cannot."""
    if not _is_mongo(settings):
        return 0
    try:
        from fhir_server.store.mongo.probe import examined

        traits = await examined(settings.store)
    except ModuleNotFoundError as error:
        print(f"BAD  the driver of MongoDB: no module {error.name}; install the extra `mongo`")
        return 1
    except FhirError as error:
        print(f"BAD  MongoDB answers: {error.text}")
        return 1
    for trait in traits:
        mark = "ok  " if trait.works else "BAD " if trait.needed else "note"
        print(f"{mark} MongoDB: {trait.name}" + (f": {trait.told}" if trait.told else ""))
    return sum(trait.needed and not trait.works for trait in traits)


def _is_mongo(settings: Settings) -> bool:
    return settings.store.startswith(("mongodb:", "mongodb+srv:"))


def _is_new(settings: Settings) -> bool:
    path = _path(settings)
    return not _is_mongo(settings) and (path is None or not path.exists())


async def _audit(settings: Settings) -> int:
    if _is_new(settings):
        print("ok   the store is new: there is no audit chain yet")
        return 0
    try:
        bad = await verify_audit(settings)
    except (FhirError, SettingsError) as error:
        print(f"BAD  the store opens: {error}")
        return 1
    print("ok   the audit chain is whole" if bad is None else f"BAD  the audit chain: broken at row {bad}")
    return int(bad is not None)


async def _index(settings: Settings) -> int:
    if _is_new(settings):
        return 0
    try:
        fault = await index_fault(settings)
    except (FhirError, SettingsError, ModuleNotFoundError):
        return 0  # said before: the store does not open
    print(f"BAD  the index: {fault}" if fault else "ok   the index is of this release's form, and complete")
    return int(bool(fault))


def _sqlite() -> str | None:
    found = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    return None if found >= SAFE_SQLITE else apsw.sqlite_lib_version()


def _path(settings: Settings) -> Path | None:
    return Path(settings.store[len("sqlite:///") :]) if settings.store.startswith("sqlite:///") else None


def _disk(settings: Settings) -> str | None:
    place = _path(settings) or Path()
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    return None if usage.free > LEAST_DISK * usage.total else f"{usage.free // 1_000_000} MB are left"


def _mode(settings: Settings) -> str | None:
    path = _path(settings)
    if path is None or not path.exists():
        return None
    return None if os.stat(path).st_mode & 0o077 == 0 else "others can read it"


def _port(address: str) -> str | None:
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            return error.strerror
    return None

"""Connections to the file: a safe engine, a private file.

Sources: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html,
https://www.sqlite.org/releaselog/3_51_3.html (the WAL-reset bug, fixed in 3.51.3).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Final

import apsw

from fhir_server.errors import Unavailable

SAFE: Final = (3, 51, 3)
"""The first SQLite whose WAL cannot be corrupted by two connections that write and checkpoint at once."""

BUSY_MS: Final = 10_000  # how long a writer waits for another process
_READ_BUSY_MS: Final = 2_000  # a reader waits only while another process recovers the file
_CACHE_KIB: Final = 2_000  # page cache of one reader; the system's cache holds the rest

SECURE_DELETE: Final = "PRAGMA secure_delete = FAST"
"""Deleted content is overwritten where that costs no write of its own; erasing goes further (see placing.py)."""


def check_engine(version: str | None = None) -> None:
    """Raise Unavailable unless the SQLite library is safe with several connections.

    Args:
        version: Of the library; that of apsw by default.
    """
    found = version or apsw.sqlite_lib_version()
    if tuple(int(part) for part in found.split(".")) < SAFE:
        raise Unavailable(
            f"SQLite {found} can corrupt a WAL database; {'.'.join(map(str, SAFE))} or newer is needed: "
            "install a newer apsw."
        )


_umask = Lock()  # the mask is the process's, and connections are opened in several threads


@contextmanager
def private() -> Iterator[None]:
    """Let new files (the database, its -wal and -shm) be readable by their owner only."""
    with _umask:
        before = os.umask(0o077)
        try:
            yield
        finally:
            os.umask(before)


def connect(path: str, *, vfs: str | None = None, writer: bool = False) -> apsw.Connection:
    """Open one connection; the file is made where it is not there.

    Args:
        path: Of the database file.
        vfs: Name of a registered apsw VFS; the system's own by default.
        writer: Whether it is the one that writes.

    Raises:
        Unavailable: The file cannot be opened; says why.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX
    try:
        with private():
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            connection = apsw.Connection(path, flags=flags, vfs=vfs, statementcachesize=400 if writer else 100)
            connection.set_busy_timeout(BUSY_MS if writer else _READ_BUSY_MS)
            _set_up(connection, writer)
    except (apsw.Error, OSError) as error:
        raise Unavailable(f"The store cannot be opened: {type(error).__name__}.") from error
    return connection


def _set_up(connection: apsw.Connection, writer: bool) -> None:
    if _wal(connection) != "wal":
        raise Unavailable("The store's file system does not allow a WAL database.")
    connection.execute(
        f"PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; {SECURE_DELETE};"
        f"PRAGMA cache_size = -{_CACHE_KIB * (8 if writer else 1)};"
        # Checkpoints are the keeper's work, not a commit's (see writer.py); the file shrinks after a large one.
        "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864;"
    ).fetchall()
    # Without this a statement is planned anew each time that it is given other values: a read took a fifth more.
    # https://www.sqlite.org/c3ref/c_dbconfig_defensive.html#sqlitedbconfigenableqpsg
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    # Nor a closing connection's: after a failed sync the WAL must stay as it is (see keeper.py).
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def _wal(connection: apsw.Connection) -> object:
    """Turn WAL on; two processes that make the file at once may refuse each other without waiting."""
    end = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            return connection.execute("PRAGMA journal_mode = WAL").get
        except apsw.BusyError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)

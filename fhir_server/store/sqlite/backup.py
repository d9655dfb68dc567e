"""A copy of the file as it is at one moment, while others write.

SQLite's online backup begins again whenever another process writes, so that it never ends beside a busy hub
(https://www.sqlite.org/c3ref/backup_finish.html); `VACUUM INTO` reads one state (https://www.sqlite.org/lang_vacuum.html#vacuuminto).
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from fhir_server.errors import Unavailable
from fhir_server.store.sqlite.connection import check_engine, private


def copy_file(source: str, target: Path) -> None:
    """Write a copy that only its owner may read, and have it on the disk.

    Args:
        source: Path of the database file.
        target: A path where nothing is.

    Raises:
        Unavailable: The file cannot be read, or there is no room for the copy.
    """
    check_engine()
    try:
        connection = apsw.Connection(source, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # what is in the WAL is its writers' matter
            connection.set_busy_timeout(10_000)
            with private():
                connection.execute("VACUUM INTO ?", (str(target),))
        finally:
            connection.close()
        _sync(target)
    except (apsw.Error, OSError) as error:
        raise Unavailable(f"The copy cannot be made: {type(error).__name__}.") from error


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)

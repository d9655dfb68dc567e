"""The keeper copies the WAL into the file, in its own thread, so that hardly a commit waits for it.

While commits go on a copy never reaches the WAL's end, and only a WAL that was copied to its end begins anew. So
there are two copies: a long one beside the commits, and a short one of what they wrote meanwhile, which the writer
waits for. To copy again and again until the end is met by luck would copy the pages that each commit changes as often.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Final

import apsw

from fhir_server.store.sqlite.connection import BUSY_MS

_log = logging.getLogger(__name__)

PAGES: Final = 4_000  # of the WAL (16 MB) that are copied at a time
_EMPTY_MS: Final = 200  # how long emptying the WAL waits for readers, while writers wait for it


class Keeper:
    """A thread that checkpoints when it is called.

    Args:
        connect: Opens a connection of its own.
    """

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._connection = connect()
        self._lock = Lock()
        self.failed = False  # whether the disk failed: what it holds is then not known
        self._called, self._ending = Event(), False
        self._done = 0  # pages of the WAL at the last short copy; a reader may have kept the WAL from beginning anew
        self._is_copying = self._was_copied = False  # at length, beside the commits
        self._thread = Thread(target=self._run, name="sqlite-keeper", daemon=True)
        self._thread.start()

    def call(self, pages: int) -> bool:
        """Say how long the WAL is; return whether the writer is to wait for a checkpoint now, which is a short one."""
        if pages < self._done:
            self._done = 0  # it has begun anew
        if pages - self._done < PAGES or self._is_copying:
            return False
        if not self._was_copied:
            self._is_copying = True
            self._called.set()
            return False
        self._was_copied, self._done = False, pages
        return True

    def empty(self) -> bool:
        """Copy all into the file and empty the WAL; return False where readers or writers were in the way."""
        with self._lock:
            self._connection.set_busy_timeout(_EMPTY_MS)
        try:
            done = self.checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._was_copied = self._was_copied and not done  # the next pages are others
            return done
        finally:
            with self._lock:
                self._connection.set_busy_timeout(BUSY_MS)

    def checkpoint(self, mode: int = apsw.SQLITE_CHECKPOINT_PASSIVE) -> bool:
        """Copy what can be copied; what is busy, or finds no room, is left for the next time.

        Returns:
            Whether it was done.
        """
        with self._lock:
            if self.failed:
                return False
            try:
                self._connection.wal_checkpoint(mode=mode)
                return True
            except apsw.BusyError:
                _log.debug("checkpoint put off: others are in the way")
            except apsw.FullError:
                _log.warning("checkpoint failed: the disk is full")
            except apsw.Error as error:
                # The kernel may have dropped pages whose sync failed, and say yes to the next sync: a WAL that is
                # reused then takes the only copy with it. https://wiki.postgresql.org/wiki/Fsync_Errors
                self.failed = True
                _log.error("checkpoint failed: %s", type(error).__name__)
            return False

    def _run(self) -> None:
        while True:
            self._called.wait()
            self._called.clear()
            if self._ending:
                return
            self.checkpoint()
            self._was_copied, self._is_copying = True, False

    def close(self, *, healthy: bool) -> None:
        """End the thread and close the connection; where the disk is healthy, empty and remove the WAL."""
        self._ending = True
        self._called.set()
        self._thread.join()
        if healthy:
            self.checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        if healthy and not self.failed:
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        self._connection.close()

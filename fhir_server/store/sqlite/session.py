"""A connection with what searches need on it: a budget, questions asked in Python, sets of patients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import apsw

from fhir_server.errors import TooCostly
from fhir_server.store.sqlite.body import read_body
from fhir_server.store.sqlite.terms import HashText

Timer: TypeAlias = Callable[[], float]
Check: TypeAlias = Callable[[int, str, int, tuple[str, ...], bytes], Any]
"""(k, id, at, owners, body) of a version -> what the statement is told."""

CHECK: Final = "hub_check"
"""SQL function: hub_check(number of a check, v.k, v.id, v.at, v.owners, v.format, v.body)."""

_STEPS: Final = 8_000  # VM instructions between two looks at the budget, about 0.5 ms
_CALLS: Final = 4  # such looks before a statement on the event loop is interrupted
_CHECKS: Final = 60  # calls of checks before it is, about 50 us each
_FRESH_S: Final = 5.0  # how long a count serves to plan
_SIZES: Final = 2_000  # counts kept
_SLICE_S: Final = 0.005  # how long units of work run before others do
_SMALL: Final = 64  # patients that a statement carries along itself
_TABLES: Final = 4  # sets of patients kept on one connection
_MANY: Final = 1_000  # patients of a set that is put into such a table on the event loop, in about 0.5 ms

TOO_COSTLY: Final = "The search takes too long."


class Interrupted(Exception):
    """A statement went beyond the small budget of the event loop; run it again in a thread."""


class Session:
    """One connection, used by one at a time.

    Args:
        connection: Its own.
        timer: Returns seconds that only grow.
        hash_text: The store's hash.
        tables: Whether temporary tables outlive transactions here, as they do where nothing is rolled back.
    """

    def __init__(self, connection: apsw.Connection, timer: Timer, hash_text: HashText, *, tables: bool) -> None:
        self.connection, self._timer, self._hash = connection, timer, hash_text
        self._keeps_tables = tables
        self.checks: list[Check] = []
        self.advise: Callable[[], str] = str  # says what would make the question cheaper that is asked now
        self._sizes: dict[tuple[str, tuple[Any, ...]], tuple[float, int]] = {}
        self._seen: dict[frozenset[str], str] = {}  # the table of each set, the one asked for last at the end
        self._is_filling = False
        self._left: int | None = None
        self._rested = timer()
        self._end: float | None = None
        connection.create_scalar_function(CHECK, self._check, 7)

    def _check(self, *values: Any) -> Any:
        """Answer a call of CHECK."""
        number, k, id, at, owners, format, body = values
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise Interrupted
        elif self._end is not None and self._timer() > self._end:
            raise self.too_costly()
        return self.checks[number](k, id, at, tuple(owners.split()), read_body(format, body))

    def too_costly(self) -> TooCostly:
        """Return the refusal of the question that is asked now."""
        return TooCostly(f"{TOO_COSTLY} {self.advise()}".rstrip())

    def rest(self) -> None:
        """Note that others have just run."""
        self._rested = self._timer()

    def is_tired(self) -> bool:
        """Whether the event loop has not run for some milliseconds."""
        return self._timer() - self._rested > _SLICE_S

    @contextmanager
    def budget(self, seconds: float | None) -> Iterator[None]:
        """Bound what the statements inside may cost.

        Args:
            seconds: Bound in time, TooCostly beyond it; None: a small bound in work, Interrupted beyond it.
        """
        calls = _CALLS
        end = None if seconds is None else self._timer() + seconds
        self._end, self._left = end, None if seconds is not None else _CHECKS

        def is_spent() -> bool:
            nonlocal calls
            if self._is_filling:  # an interrupted write takes the state that the view shows with it
                return False
            if end is not None:
                return self._timer() > end
            calls -= 1
            return calls < 0

        self.connection.set_progress_handler(is_spent, _STEPS)
        try:
            yield
        except apsw.InterruptError:
            if seconds is None:
                raise Interrupted from None
            raise self.too_costly() from None
        finally:
            self.connection.set_progress_handler(None)
            self._left = self._end = None

    def estimate(self, text: str, values: tuple[Any, ...]) -> int:
        """Return the number that a counting statement gave some seconds ago, or gives now."""
        now = self._timer()
        kept = self._sizes.get((text, values))
        if kept is not None and now - kept[0] < _FRESH_S:
            return kept[1]
        if len(self._sizes) >= _SIZES:
            self._sizes.clear()
        made: int = self.connection.execute(text, values).get
        self._sizes[text, values] = (now, made)
        return made

    def patients(self, ids: frozenset[str]) -> tuple[str, tuple[Any, ...]]:
        """Return SQL for the hashes of some patients, to stand after IN, and its values."""
        if len(ids) <= _SMALL or not self._keeps_tables:
            hashes = ",".join(str(self._hash(id)) for id in ids)
            return "(SELECT value FROM json_each(?))", (f"[{hashes}]",)
        name = self._seen[ids] = self._seen.pop(ids, "") or self._fill(ids)
        return name, ()

    def _fill(self, ids: frozenset[str]) -> str:
        if self._left is not None and len(ids) > _MANY:
            raise Interrupted
        if len(self._seen) >= _TABLES:
            self._seen.pop(next(iter(self._seen)))
        used = self._seen.values()
        name = next(name for name in map("temp.seen{}".format, range(_TABLES)) if name not in used)
        hashes = ",".join(str(self._hash(id)) for id in ids)
        self._is_filling = True
        try:
            self.connection.execute(
                f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (c INTEGER PRIMARY KEY)"
            ).fetchall()
            self.connection.execute(
                f"INSERT OR IGNORE INTO {name} SELECT value FROM json_each(?)",  # noqa: S608 - a name of ours
                (f"[{hashes}]",),
            )
        finally:
            self._is_filling = False
        return name

    def forget_tables(self) -> None:
        """Note that a transaction was undone, and the tables that were made in it with it."""
        self._seen.clear()

"""What building one statement needs, and how long lists are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from fhir_server.store.sqlite.find.fragments import Names, Sql
from fhir_server.store.sqlite.session import Session

LARGE: Final = 20_000
"""Rows that are counted, in under a millisecond, to choose what drives a search."""


class Arm(NamedTuple):
    """A list of resources, as parts of a SELECT."""

    source: Sql  # after FROM
    seq: str  # its column
    where: Sql
    ordered: bool = False  # each resource once, in the order of seq


class Context:
    """What building one statement needs.

    Args:
        session: The connection that will run it.
        rows: About how many resources the conditions that are built will be asked of.
        names: Aliases of the statement; its own by default.
    """

    def __init__(self, session: Session, rows: int = 0, names: Names | None = None) -> None:
        self.session, self.rows, self.names = session, rows, names or Names()

    def over(self, rows: int) -> Context:
        """Return the same for conditions that so many resources are asked."""
        return Context(self.session, rows, self.names)


def count(session: Session, arms: Sequence[Arm]) -> int:
    """Return how many rows some lists have, LARGE for that many or more; as it was some seconds ago."""
    total = 0
    for arm in arms:
        text = f"SELECT count(*) FROM (SELECT 1 FROM {arm.source.text} WHERE {arm.where.text} LIMIT {LARGE})"  # noqa: S608
        total += session.estimate(text, (*arm.source.values, *arm.where.values))
        if total >= LARGE:
            return LARGE
    return total


def tally(session: Session, ks: Sequence[int]) -> int:
    """Return how many current resources some types have."""
    marks = ",".join(map(str, ks))
    row = session.connection.execute(f"SELECT total(current) FROM tally WHERE k IN ({marks})").fetchone()  # noqa: S608
    return int(row[0]) if row else 0

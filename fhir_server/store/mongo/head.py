"""The head of a tenant: the last commit that is in place, and who may write next.

One document for each tenant. It is moved by its number: an update that finds another number does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Head(NamedTuple):
    """A commit: what the next one follows."""

    n: int  # commits so far
    seq: int  # last place given in the order of writes
    now: int  # time of the last transaction, microseconds since 1970
    epoch: int  # guard epoch
    audits: int  # rows of the audit chain
    hash: bytes  # of the last row

    def fields(self) -> dict[str, Any]:
        """Return it as fields of a document."""
        return dict(self._asdict())


START = Head(0, 0, 0, 0, 0, b"\0" * 32)


def read_head(document: Mapping[str, Any] | None) -> Head:
    """Return the head that a document holds; the start for none."""
    if document is None:
        return START
    n, seq, now, epoch, audits = (int(document[name]) for name in Head._fields[:-1])
    return Head(n, seq, now, epoch, audits, bytes(document["hash"]))

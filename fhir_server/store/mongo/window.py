"""What of the documents is to be seen: a state of the past stays readable while others write.

A document is there from the commit `f` on, is current until the commit `to`, and is gone from the commit `gone`
on. All three are the last `seq` of a commit, so a state is one number. What has no `f` is pending.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId


@dataclass(slots=True)
class Own:
    """What a transaction changed so far, as far as it is in the database or to be hidden there."""

    tx: ObjectId
    hidden: dict[ObjectId, int | None] = field(default_factory=dict)  # not current any more; `at` of what followed
    removed: set[ObjectId] = field(default_factory=set)  # not there at all any more


@dataclass(frozen=True, slots=True)
class Window:
    """One state of one tenant.

    Args:
        tenant: Name.
        seq: The last `seq` of the state.
        own: Changes of a transaction on top.
    """

    tenant: str
    seq: int
    own: Own | None = None

    def current(self) -> dict[str, Any]:
        """Return the filter of what is current."""
        there: dict[str, Any] = {"f": {"$lte": self.seq}, "to": {"$gt": self.seq}}
        if self.own is None:
            return there
        return self._with_own(there, {*self.own.hidden, *self.own.removed})

    def kept(self) -> dict[str, Any]:
        """Return the filter of what is there, current or not."""
        there: dict[str, Any] = {"f": {"$lte": self.seq}, "gone": {"$gt": self.seq}}
        if self.own is None:
            return there
        return self._with_own(there, self.own.removed)

    def _with_own(self, there: dict[str, Any], without: Collection[ObjectId]) -> dict[str, Any]:
        assert self.own is not None
        made: dict[str, Any] = {"$or": [there, {"tx": self.own.tx}]}
        return {**made, "_id": {"$nin": list(without)}} if without else made

    def at(self, lo: int, hi: int) -> dict[str, Any]:
        """Return the filter of versions that were current at some time in [lo, hi), in microseconds."""
        still: list[dict[str, Any]] = [{"to": {"$gt": self.seq}}, {"nat": {"$gt": lo}}]
        if self.own is not None and self.own.hidden:
            followed = {id: at for id, at in self.own.hidden.items() if at is not None}
            still[0]["_id"] = {"$nin": list(followed)}
            still.append({"_id": {"$in": [id for id, at in followed.items() if at > lo]}})
        return {"at": {"$lt": hi}, "$or": still}

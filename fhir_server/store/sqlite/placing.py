"""Index rows in and out of the tables: those of a new version, of one that is current no more, of what is erased.

What is to be removed is told by the rows themselves (`fact` has all of a resource), never worked out anew from
its body: a search parameter may have come or gone since they were made.

What is erased is overwritten with zeros (`PRAGMA secure_delete`); the writer empties the WAL after the commit,
since its frames hold the bodies too (see writer.py).
Sources: https://www.sqlite.org/pragma.html#pragma_secure_delete, https://www.sqlite.org/wal.html
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any, Final

from fhir_server.model import Version
from fhir_server.search.values import Indexed
from fhir_server.search.words import content_of
from fhir_server.store.protocol import Draft
from fhir_server.store.sqlite import draft as drafts
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.batch import Batch
from fhir_server.store.sqlite.body import DELETE, read_body
from fhir_server.store.sqlite.find.sight import NOBODY, SEVERAL
from fhir_server.store.sqlite.rows import MANY, TIMELINES, UNDATED, coded
from fhir_server.store.sqlite.templates import fill
from fhir_server.store.sqlite.terms import Term

_SPANS: Final = (terms.DATE, terms.NUMBER, terms.QUANTITY, terms.FOLDED)
_FORMS: Final = ("", UNDATED, MANY)

_Fact = tuple[Term, Any, Any]  # term, lo, w


class Placing:
    """Places and removes in one tenant, inside a unit of work.

    Args:
        batch: Where it writes.
        tenant: Number.
    """

    def __init__(self, batch: Batch, tenant: int) -> None:
        self._batch, self._tenant = batch, tenant

    def add(
        self, k: int, version: Version, indexed: Indexed, *, words: bool = True, draft: Draft | None = None
    ) -> None:
        """Add the rows of a version that is current now, those of its words only where they are not there yet."""
        batch, lists = self._batch, self._batch.lists
        filled = indexed.filled
        if draft is not None:
            rows, content = drafts.complete(batch, self._tenant, version, draft)
        else:
            term_of = partial(batch.term, self._tenant, version.type)
            if filled is not None:
                rows = fill(batch.rows, k, version.type, filled, version.seq, version.at, term_of)
                content = filled.content
            else:
                rows = batch.rows.build(k, version.type, indexed, version.seq, version.at, term_of)
                content = content_of(version.body) if words else ""
        owners = version.owners
        owner = NOBODY if not owners else batch.hash(owners[0]) if len(owners) == 1 else SEVERAL
        lists["head"].append((version.seq, k, batch.hash(version.id), owner, rows.shape))
        if filled is None:  # which has it
            lists["token"].append((k, 0, version.seq))
        lists["token"] += rows.token
        lists["span"] += rows.span
        lists["fact"] += rows.fact
        lists["timeline"] += rows.timeline
        lists["text"] += rows.text
        if words:
            lists["words"].append((version.seq, content))

    def remove(self, k: int, type: str, seq: int, body: bytes = b"") -> None:
        """Remove the rows of a version that is current no more; without its body, all but those of its words."""
        batch, lists = self._batch, self._batch.lists
        waiting = lists["head"]
        if seq in batch.replaced or (waiting and seq >= waiting[0][0]):
            batch.flush()  # they may wait themselves, and can be read only once they are written
        head = batch.connection.execute("SELECT shape FROM head WHERE seq = ?", (seq,)).fetchone()
        facts = [
            (batch.terms.term(t), lo, w)
            for t, lo, w in batch.connection.execute("SELECT t, lo, w FROM fact WHERE seq = ?", (seq,))
        ]
        tokens = lists["no_token"]
        tokens.append((k, 0, seq))
        if head is not None:
            tokens.append((head[0], 0, seq))
        for term, lo, w in facts:
            if term.kind in _SPANS:
                lists["no_span"].append((term.id, lo, seq, w))
            else:
                tokens.append((term.id, batch.hash(lo) if isinstance(lo, str) else lo, seq))
        if type in TIMELINES:
            lists["no_timeline"] += self._timeline(type, facts, seq)
        lists["no_head"].append((seq,))
        lists["no_fact"].append((seq,))
        if body:
            lists["no_words"].append(("delete", seq, content_of(body)))

    def replace(self, k: int, version: Version, indexed: Indexed) -> None:
        """Put other rows in the place of those of a version that stays current."""
        self.remove(k, version.type, version.seq)
        self.add(k, version, indexed, words=False)
        self._batch.replaced.add(version.seq)

    def _timeline(self, type: str, facts: list[_Fact], seq: int) -> list[tuple[int, int, int, int, int]]:
        """Return the rows that a resource may have in the timeline; those it has not are no harm."""
        batch, (code, date) = self._batch, TIMELINES[type]
        codes = {
            batch.hash(coded(term.system, lo if isinstance(lo, str) else ""))
            for term, lo, _ in facts
            if term.kind == terms.TOKEN and code in term.params
        }
        dates = {lo for term, lo, _ in facts if term.kind == terms.DATE and date in term.params}
        made = []
        for term, lo, _ in facts:
            if term.kind != terms.LOCAL or term.system != "Patient":
                continue
            p, params = batch.hash(lo), " ".join(term.params)
            for form in _FORMS:
                t = batch.terms.id(self._tenant, type, terms.TIMELINE, params, form)
                if t:
                    made += [(t, p, c, at, seq) for c, at in product(codes or {0}, dates if form == "" else {0})]
        return made

    def erase(self, k: int, type: str, id: str) -> int:
        """Remove every version of a resource and all that the index has of it; return how many versions."""
        batch = self._batch
        batch.flush()
        versions: list[Any] = batch.connection.execute(
            "SELECT v.seq, v.method FROM version v WHERE v.k = ? AND v.seq IN"
            " (SELECT seq FROM superseded WHERE k = ? AND id = ?"
            " UNION ALL SELECT seq FROM resource WHERE k = ? AND id = ?) ORDER BY v.seq",
            (k, k, id, k, id),
        ).fetchall()
        if not versions:
            return 0
        batch.will_erase(k)
        newest, method = versions[-1]
        if method != DELETE:
            self.remove(k, type, newest, self._body(newest))
            batch.count(k, "current", -1)
            batch.flush()
        self._drop(k, type, [seq for seq, _ in versions])
        batch.statement("DELETE FROM superseded WHERE k = ? AND id = ?", (k, id))
        batch.statement("DELETE FROM resource WHERE k = ? AND id = ?", (k, id))
        batch.set(batch.counters, (0, "seq"), batch.known.seq)  # the numbers of what is gone are not given again
        return len(versions)

    def _body(self, seq: int) -> bytes:
        found = self._batch.connection.execute("SELECT format, body FROM version WHERE seq = ?", (seq,)).fetchone()
        assert found is not None, "a current version is there"
        return read_body(*found)

    def forget(self, k: int, type: str, id: str) -> int:
        """Remove every version of a resource but its newest; return how many."""
        batch = self._batch
        batch.flush()
        rows: list[Any] = batch.connection.execute(
            "SELECT seq FROM superseded WHERE k = ? AND id = ?", (k, id)
        ).fetchall()
        if rows:
            batch.will_erase(k)
            self._drop(k, type, [seq for (seq,) in rows])
            batch.statement("DELETE FROM superseded WHERE k = ? AND id = ?", (k, id))
        return len(rows)

    def _drop(self, k: int, type: str, seqs: list[int]) -> None:
        batch = self._batch
        history = batch.terms.id(self._tenant, type, terms.HISTORY)
        for seq in seqs:
            batch.statement("DELETE FROM token WHERE t = ? AND c = 0 AND seq = ?", (history, seq))
            batch.statement("DELETE FROM version WHERE seq = ?", (seq,))
        batch.count(k, "versions", -len(seqs))

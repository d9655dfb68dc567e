"""Resources that have words, by the index of words."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_server.store.sqlite.find.context import Arm, Context, count
from fhir_server.store.sqlite.find.fragments import Sql, listed, sql
from fhir_server.store.sqlite.session import Session

_LOOKUPS = 4.0  # that one resource costs to be found in a list of words, about


@dataclass(frozen=True, slots=True)
class Worded:
    """Resources of some types that answer an expression of words."""

    expression: str
    ks: tuple[int, ...]

    @property
    def disjoint(self) -> bool:
        """Whether each resource is listed once."""
        return True

    def test(self, seq: str, context: Context) -> Sql:
        """Look for the resource among those that answer."""
        w = context.names.new()
        one = f"EXISTS (SELECT 1 FROM words {w} WHERE {w}.rowid = {seq} AND {w}.words MATCH ?)"  # noqa: S608
        return sql(one, self.expression)

    def arms(self, context: Context) -> list[Arm]:
        """Return all that answer, in the order of seq."""
        w, h = context.names.new(), context.names.new()
        source = f"words {w} CROSS JOIN head {h} ON {h}.seq = {w}.rowid"
        where = sql(f"{w}.words MATCH ? AND {h}.k IN ?", self.expression, listed(self.ks))
        return [Arm(Sql(source), f"{w}.rowid", where, ordered=True)]

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        return _LOOKUPS

    def size(self, session: Session) -> int:
        """Count them."""
        return count(session, self.arms(Context(session)))

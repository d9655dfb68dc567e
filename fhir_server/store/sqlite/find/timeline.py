"""The chart's question: one patient, perhaps some codes, by time. Its cost is that of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from fhir_server.search.query import Clause, Match
from fhir_server.search.values import Reference, Token
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.find.context import Arm, Context, count
from fhir_server.store.sqlite.find.fragments import Sql, every, sql
from fhir_server.store.sqlite.find.sight import Typed
from fhir_server.store.sqlite.rows import MANY, TIMELINES, UNDATED, coded
from fhir_server.store.sqlite.session import Session
from fhir_server.store.sqlite.terms import HashText, Terms

_MOST_LISTS = 24  # that are merged


Place: TypeAlias = tuple[int, int, "int | None"]
"""t, p and c of a list; c None for all codes."""


class Timeline(NamedTuple):
    """Lists of the table `timeline` that answer some clauses of a query."""

    type: str
    covers: frozenset[int]  # the clauses
    dated: tuple[Place, ...]  # of resources with one time
    undated: tuple[Place, ...]
    many: tuple[Place, ...]

    @property
    def date(self) -> str:
        """The parameter that gives the time."""
        return TIMELINES[self.type][1]

    @property
    def has_codes(self) -> bool:
        """Whether some codes are asked for."""
        return len(self.covers) == 2

    def arms(self, context: Context) -> list[Arm]:
        """Return all lists."""
        return [arm_of(each, context)[0] for each in (*self.dated, *self.undated, *self.many)]

    def has_many(self, session: Session) -> bool:
        """Whether some resource has several times, so that the table cannot tell its place."""
        for place in self.many:
            arm, _ = arm_of(place, Context(session))
            found = f"SELECT 1 FROM {arm.source.text} WHERE {arm.where.text} LIMIT 1"  # noqa: S608
            if session.connection.execute(found, arm.where.values).fetchone():
                return True
        return False

    @property
    def disjoint(self) -> bool:
        """Whether each resource is listed once: one with several codes is not."""
        return False

    def size(self, session: Session) -> int:
        """Count the lists."""
        return count(session, self.arms(Context(session)))


def arm_of(place: Place, context: Context) -> tuple[Arm, str]:
    """Return one list, and its column of time."""
    x = context.names.new()
    t, p, c = place
    where = sql(f"{x}.t = ? AND {x}.p = ?", t, p)
    if c is not None:
        where = every((where, sql(f"{x}.c = ?", c)))
    return Arm(Sql(f"timeline {x}"), f"{x}.seq", where), f"{x}.lo"


def find(
    where: Sequence[Clause], types: Sequence[Typed], known: Terms, tenant: int, hash_text: HashText
) -> Timeline | None:
    """Return the timeline that answers a reference to patients, and codes, among some clauses."""
    if len(types) != 1 or types[0].name not in TIMELINES:
        return None
    type = types[0].name
    patients = next((n for n, clause in enumerate(where) if _names_patients(clause)), None)
    if patients is None:
        return None
    reference = where[patients]
    codes = next((n for n, clause in enumerate(where) if _names_codes(clause, TIMELINES[type][0])), None)
    assert isinstance(reference, Match)
    ps = [hash_text(ask.value.id) for ask in reference.asks if isinstance(ask.value, Reference)]
    cs: list[int | None] = [None]
    if codes is not None:
        clause = where[codes]
        assert isinstance(clause, Match)
        cs = list(_codes(clause, type, known, tenant, hash_text))
    found = known.of_param(tenant, type, reference.parameter.code, (terms.TIMELINE,))
    if len(found) * len(ps) * len(cs) > _MOST_LISTS:
        return None

    def places(form: str) -> tuple[Place, ...]:
        return tuple((t.id, p, c) for t in found if t.system == form for p in ps for c in cs)

    covers = frozenset({patients} if codes is None else {patients, codes})
    return Timeline(type, covers, places(""), places(UNDATED), places(MANY))


def _names_patients(clause: Clause) -> bool:
    return (
        isinstance(clause, Match)
        and clause.modifier == ""
        and all(
            isinstance(ask.value, Reference)
            and ask.value.type == "Patient"
            and not ask.value.url
            and not ask.value.version
            for ask in clause.asks
        )
    )


def _names_codes(clause: Clause, code: str) -> bool:
    return (
        isinstance(clause, Match)
        and clause.modifier == ""
        and clause.parameter.code == code
        and all(isinstance(ask.value, Token) and ask.value.code is not None for ask in clause.asks)
    )


def _codes(clause: Match, type: str, known: Terms, tenant: int, hash_text: HashText) -> set[int]:
    """Return the hashes of the codes asked for, under each system that they may have."""
    systems = {t.system for t in known.of_param(tenant, type, clause.parameter.code, (terms.TOKEN,))}
    made = set()
    for ask in clause.asks:
        asked = ask.value
        assert isinstance(asked, Token) and asked.code is not None
        for system in sorted(systems) if asked.system is None else [asked.system]:
            made.add(hash_text(coded(system, asked.code)))
    return made

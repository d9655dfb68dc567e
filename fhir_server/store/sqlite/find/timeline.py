"""The chart's question: one patient, perhaps some codes, by time. Its cost is that of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from fhir_server.search.query import Ask, Clause, Match
from fhir_server.search.values import Period, Reference, Token
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.find.context import Arm, Context, count
from fhir_server.store.sqlite.find.fragments import TRUE, Sql, every, sql
from fhir_server.store.sqlite.find.sight import Typed
from fhir_server.store.sqlite.measures import OPEN, WIDTHS
from fhir_server.store.sqlite.rows import MANY, TIMELINES, UNDATED, coded
from fhir_server.store.sqlite.session import Session
from fhir_server.store.sqlite.terms import HashText, Term, Terms

_MOST_LISTS: Final = 24  # that are merged
_MOST_CODES: Final = 80  # of one patient, whose lists are merged
_MOST_ARMS: Final = 160  # of one statement; SQLite takes 500: https://www.sqlite.org/limits.html#max_compound_select
_SHORT: Final = 400  # rows that are as well sorted
_CODES: Final = f"""
    WITH RECURSIVE d(c) AS (
        SELECT min(c) FROM timeline WHERE t = ? AND p = ?
        UNION ALL SELECT (SELECT min(c) FROM timeline WHERE t = ? AND p = ? AND c > d.c) FROM d WHERE d.c IS NOT NULL
        LIMIT {_MOST_CODES + 2}
    ) SELECT c FROM d WHERE c IS NOT NULL
"""  # noqa: S608 - a number of ours

Place: TypeAlias = tuple[int, int, "int | None"]
"""t, p and c of a list; c None for all codes."""


class Window(NamedTuple):
    """Where the begins of spans lie, in microseconds, both ends included; None for an open end."""

    first: int | None = None
    last: int | None = None

    def condition(self, column: str) -> Sql:
        """Return the condition that a begin lies in it."""
        first = TRUE if self.first is None else sql(f"{column} >= ?", self.first)
        return every((first, TRUE if self.last is None else sql(f"{column} <= ?", self.last)))


class Timeline(NamedTuple):
    """Lists of the table `timeline` that answer some clauses of a query."""

    type: str
    covers: frozenset[int]  # the clauses
    dated: tuple[Place, ...]  # of resources with one time
    undated: tuple[Place, ...]
    many: tuple[Place, ...]
    window: Window  # in which the time of each lies that answers the query

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

    def by_code(self, session: Session) -> tuple[Place, ...]:
        """Return the lists of resources with one time: where all codes are asked for and they are long, one a code.

        Lists of one code are in the order of time, so that a page ends them early; one of all codes is not.
        """
        if self.has_codes:
            return self.dated
        made: list[Place] = []
        for place in self.dated:
            t, p, _ = place
            text = f"SELECT count(*) FROM (SELECT 1 FROM timeline WHERE t = ? AND p = ? LIMIT {_SHORT})"  # noqa: S608
            if session.connection.execute(text, (t, p)).get < _SHORT:
                made.append(place)
                continue
            codes: list[Any] = session.connection.execute(_CODES, (t, p, t, p)).fetchall()
            made += [(t, p, c) for (c,) in codes] if len(codes) <= _MOST_CODES else [place]
        return tuple(made) if len(made) <= _MOST_ARMS else self.dated

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
    dates = known.of_param(tenant, type, TIMELINES[type][1], (terms.DATE,))
    return Timeline(
        type, covers, places(""), places(UNDATED), places(MANY), _window(where, TIMELINES[type][1], _widest(dates))
    )


def _widest(dates: Sequence[Term]) -> int | None:
    """Return how wide a span with an end may be, in microseconds; None where some have no end."""
    if any(term.system == OPEN for term in dates):
        return None
    return max((WIDTHS[int(term.system)] for term in dates), default=0)


def _window(where: Sequence[Clause], code: str, widest: int | None) -> Window:
    """Return where the time of what answers some clauses lies, as far as their prefixes tell."""
    first = last = None
    for clause in where:
        if not isinstance(clause, Match) or clause.parameter.code != code or clause.modifier:
            continue
        spans = [_begins(ask, widest) for ask in clause.asks]
        lows, highs = [span.first for span in spans], [span.last for span in spans]
        if None not in lows:
            first = max(x for x in (first, min(x for x in lows if x is not None)) if x is not None)
        if None not in highs:
            last = min(x for x in (last, max(x for x in highs if x is not None)) if x is not None)
    return Window(first, last)


def _begins(ask: Ask, widest: int | None) -> Window:
    """Return where the begin of a span lies that answers an alternative (see `search.match`)."""
    assert isinstance(ask.value, Period)
    lo, hi = ask.value

    def ends_after(at: int) -> int | None:
        return None if widest is None else max(-(2**63), at - widest)

    match ask.prefix:
        case "eq":
            return Window(lo, hi)
        case "ap":
            return Window(ends_after(lo), hi)
        case "ge":
            return Window(ends_after(lo))
        case "gt":
            return Window(ends_after(hi))
        case "sa":
            return Window(hi)
        case "lt" | "eb":
            return Window(None, lo)
        case "le":
            return Window(None, hi)
        case _:
            return Window()


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

"""The index rows of a pattern: made once, with a place for each value that varies (see search/patterns.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fhir_server.search.values import Filled, Number, Pattern, Period, Quantity, Reference, Token, Value
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.measures import width_class
from fhir_server.store.sqlite.numbers import encode
from fhir_server.store.sqlite.rows import TIMELINES, WRITTEN, RowMaker, Rows, TermOf, coded, grouped, timeline
from fhir_server.store.sqlite.terms import HashText

_FIXED: Final = -1  # in the place of a place
_MOST: Final = 1_000  # templates kept, some kB each


class _Text(NamedTuple):
    """A row of `token` whose value varies."""

    t: int
    place: int
    kind: str | None = None  # what is hashed with it, and kept as the hash: the code of an identifier's type


class _Charted(NamedTuple):
    """A row of `timeline`; what has no place does not vary."""

    t: int
    patient: int  # place
    p: int
    c: int
    period: int  # place
    lo: int


class Own(NamedTuple):
    """The rows of what varies in a resource, without the seq."""

    token: list[tuple[int, int, Any]]  # t, c, and `lo` of its fact
    span: list[tuple[int, Any, Any]]  # t, lo, w
    timeline: list[tuple[int, int, int, int]]  # t, p, c, lo


@dataclass(slots=True)
class Template:
    """The rows of one pattern in resources of one type and tenant, without the seq."""

    k: int
    shape: int
    token: list[tuple[int, int, Any]] = field(default_factory=list)  # t, c, and `lo` of its fact
    span: list[tuple[int, Any, Any]] = field(default_factory=list)  # t, lo, w
    texts: list[_Text] = field(default_factory=list)
    numbers: list[tuple[int, int, Any]] = field(default_factory=list)  # t, place, w
    periods: list[tuple[str, int]] = field(default_factory=list)  # params, place
    timeline: list[_Charted] = field(default_factory=list)
    dated: dict[tuple[str, str], int] = field(default_factory=dict)  # terms of dates, by params and class of width
    text: list[tuple[int, str, int]] = field(default_factory=list)  # t, text, c: stored with the first resource
    written: int = 0  # the term of a version's time, once it was needed

    def own(self, filled: Filled, term_of: TermOf, hash_text: HashText) -> Own:
        """Return the rows of what varies in a resource.

        Args:
            filled: Of the template's pattern.
            term_of: Gives the number of a term, making it where it is new.
            hash_text: The store's hash.
        """
        texts, periods, numbers = filled.texts, filled.periods, filled.numbers
        hashes = [hash_text(text) for text in texts]
        token: list[tuple[int, int, Any]] = []
        for t, place, kind in self.texts:
            if kind is None:
                token.append((t, hashes[place], texts[place]))
            else:
                c = hash_text(coded(kind, texts[place]))
                token.append((t, c, c))
        span: list[tuple[int, Any, Any]] = [(t, encode(numbers[place]), upper) for t, place, upper in self.numbers]
        dated = self.dated
        for params, place in self.periods:
            period = periods[place]
            system, w = width_class(period)
            t = dated.get((params, system), 0)
            if not t:
                t = dated[params, system] = term_of(terms.DATE, params, system)
            span.append((t, period.lo, w))
        charted = [
            (t, p if patient < 0 else hashes[patient], c, lo if place < 0 else periods[place].lo)
            for t, patient, p, c, place, lo in self.timeline
        ]
        return Own(token, span, charted)

    def rows(self, own: Own, seq: int, at: int, term_of: TermOf) -> Rows:
        """Return the rows of one version, as `RowMaker.build` does of its values, and `k`'s among them.

        Args:
            own: The rows of what varies.
            seq: Of the version.
            at: Its time.
            term_of: Gives the number of a term, making it where it is new.
        """
        every = self.token + own.token
        spans = self.span + own.span
        token = [(t, c, seq) for t, c, _ in every]
        token += (self.k, 0, seq), (self.shape, 0, seq)
        fact = [(seq, t, lo, 0) for t, _, lo in every]
        fact += [(seq, t, lo, w) for t, lo, w in spans]
        span = [(t, lo, seq, w) for t, lo, w in spans]
        text, self.text = self.text, []
        made = Rows(token, span, fact, [(*row, seq) for row in own.timeline], text, self.shape)
        self.written = self.written or term_of(*WRITTEN)
        made.add_time(seq, at, self.written)
        return made


def fill(maker: RowMaker, k: int, type: str, filled: Filled, seq: int, at: int, term_of: TermOf) -> Rows:
    """Return the index rows of one version of a resource, `k`'s own in `token` among them.

    Args:
        maker: Remembers templates.
        k: The term of its type.
        type: Its name.
        filled: Its values.
        seq: Of the version.
        at: Its time.
        term_of: Gives the number of a term, making it where it is new.
    """
    template = find(maker, k, type, filled.pattern, term_of)
    return template.rows(template.own(filled, term_of, maker.hash), seq, at, term_of)


def find(maker: RowMaker, k: int, type: str, pattern: Pattern, term_of: TermOf) -> Template:
    """Return the template of a pattern, made where it is new."""
    templates, key = maker.templates, (k, pattern)
    template = templates.get(key)
    if template is None:
        if len(templates) >= _MOST:
            del templates[next(iter(templates))]
        template = templates[key] = _make(maker, k, type, pattern, term_of)
    return template


def _make(maker: RowMaker, k: int, type: str, pattern: Pattern, term_of: TermOf) -> Template:
    sample = pattern.sample
    shape = maker.shape(k, sample, term_of)
    made = Template(k, shape)
    patients: list[tuple[str, int]] = []
    named: list[tuple[int, int]] = []  # places and hashes of those
    for (kind, value), params in grouped(sample).items():
        together = maker.together(params)
        if kind is Period:
            place = pattern.period_marks.get(value)
            if place is not None:
                made.periods.append((together, place))
            else:
                system, w = width_class(value)
                made.span.append((term_of(terms.DATE, together, system), value.lo, w))
            continue
        found = maker.made((k, kind, value, together), term_of)
        made.text += found.text
        for row in found.token:
            _add_token(made, pattern, value, row, maker.hash)
        for span in found.span:
            place = _number(pattern, value)
            if place is None:
                made.span.append(span)
            else:
                made.numbers.append((span[0], place, span[2]))
        if found.patient:
            patients.append((together, len(named)))
            named.append((pattern.text_marks.get(value.id, _FIXED), found.patient))
    if patients and type in TIMELINES:
        dates = sample.values.get(TIMELINES[type][1], ())
        period = (
            pattern.period_marks.get(dates[0], _FIXED) if len(dates) == 1 and isinstance(dates[0], Period) else _FIXED
        )
        made.timeline += [
            _Charted(t, *named[number], c, period, lo)
            for t, number, c, lo, _ in timeline(type, sample, 0, patients, term_of, maker.hash)
        ]
    return made


def _add_token(made: Template, pattern: Pattern, value: Value, row: tuple[int, int, Any], hash_text: HashText) -> None:
    """Add a row of a value that may be a mark: with its text, its hash, or only what does not vary."""
    t, c, fact = row
    mark = value.code if isinstance(value, Token) else value.id if isinstance(value, Reference) else None
    place = pattern.text_marks.get(mark) if mark else None
    if place is not None and mark is not None:
        if fact == mark:
            made.texts.append(_Text(t, place))
            return
        kind = value.kind[1] if isinstance(value, Token) and value.kind is not None else None
        if kind is not None and c == hash_text(coded(kind, mark)):
            made.texts.append(_Text(t, place, kind))
            return
    made.token.append(row)


def _number(pattern: Pattern, value: Any) -> int | None:
    """Return the place of a number or quantity that varies."""
    if not isinstance(value, (Number, Quantity)):
        return None
    end = value.hi if value.lo is None else value.lo
    return None if end is None else pattern.number_marks.get(end)

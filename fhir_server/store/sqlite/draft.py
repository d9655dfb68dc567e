"""Index rows made in a process that does not write: with terms by numbers of its own, without seq and time.

The process that writes puts in what only it knows: the numbers of the terms in the file, the version's seq and time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fhir_server.model import Version
from fhir_server.search.values import Filled, Indexed, Period, Reference
from fhir_server.search.words import content_of, folded, whole_content_of
from fhir_server.store.protocol import Draft
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.measures import width_class
from fhir_server.store.sqlite.rows import TIMELINES, WRITTEN, Made, RowMaker, Rows, TermOf, grouped, timeline
from fhir_server.store.sqlite.templates import find
from fhir_server.store.sqlite.terms import hasher

if TYPE_CHECKING:
    from fhir_server.store.sqlite.batch import Batch

_MOST_TOLD: Final = 50_000  # texts that are remembered to be in the file

TermName = tuple[str, str, str, str]  # type, kind, params, system


class _Sent(NamedTuple):
    """What is sent of one resource; terms and values by the numbers of the drafter."""

    values: list[int]  # places in what `take` returns
    dates: list[tuple[int, Any, Any]]  # t, lo, w of what is too various to be shared
    timeline: list[tuple[int, int, int, int, int]]
    shape: int
    words: tuple[str, str] | None  # before and after the instant; None where it does not stand there just once
    folds: bool  # whether the words are folded, the instant too


class SqliteDrafter:
    """A `store.protocol.Drafter` of a SQLite store.

    Args:
        key: Of the store's hash.
    """

    def __init__(self, key: bytes) -> None:
        self.terms: list[TermName] = []
        self._numbers: dict[TermName, int] = {}
        self._types: dict[str, int] = {}
        self._maker = RowMaker(hasher(key))
        self._values: dict[tuple[Any, ...], int] = {}  # of the block
        self._made: list[Made] = []

    def take(self) -> list[Any]:
        """Return the rows of the values of the block, as the drafts number them."""
        made = [tuple(one) for one in self._made]
        self._values.clear()
        self._made = []
        return made

    def _number(self, name: TermName) -> int:
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.terms)
            self.terms.append(name)
        return found

    def draft(self, type: str, indexed: Indexed, body: bytes, instant: str) -> tuple[Any, ...]:
        """Return the rows of a resource and its words, as version 1 of that instant."""

        def term_of(kind: str, params: str, system: str) -> int:
            return self._number((type, kind, params, system))

        k, maker, values = self._types.setdefault(type, len(self._types)), self._maker, self._values
        if indexed.filled is not None:
            return self._filled(k, type, indexed.filled, instant, term_of)
        numbers: list[int] = []
        dates: list[tuple[int, Any, Any]] = []
        patients: list[tuple[str, int]] = []
        for (kind, value), params in grouped(indexed).items():
            together = maker.together(params)
            if kind is Period:
                system, w = width_class(value)
                dates.append((term_of(terms.DATE, together, system), value.lo, w))
                continue
            key = (k, kind, value, together)
            number = values.get(key)
            if number is None:
                number = self._add(key, maker.made(key, term_of))
            numbers.append(number)
            if kind is Reference and (patient := self._made[number].patient):
                patients.append((together, patient))
        rows = timeline(type, indexed, 0, patients, term_of, maker.hash) if patients and type in TIMELINES else []
        shape = maker.shape(k, indexed, term_of)
        return tuple(_Sent(numbers, dates, rows, shape, *_parted(whole_content_of(body), instant)))

    def _filled(self, k: int, type: str, filled: Filled, instant: str, term_of: TermOf) -> tuple[Any, ...]:
        """Return the draft of a resource by its pattern: what does not vary is one value of the block."""
        template = find(self._maker, k, type, filled.pattern, term_of)
        own = template.own(filled, term_of, self._maker.hash)
        alike = self._values.get((k, filled.pattern))
        if alike is None:
            made = Made(tuple(template.token), tuple(template.span), tuple(template.text))
            alike = self._add((k, filled.pattern), made)
        numbers = [alike]
        for row in own.token:
            number = self._values.get(row)
            numbers.append(self._add(row, Made((row,))) if number is None else number)
        rows = [(*row, 0) for row in own.timeline]
        return tuple(_Sent(numbers, own.span, rows, template.shape, *_parted(filled.content, instant)))

    def _add(self, key: tuple[Any, ...], made: Made) -> int:
        number = self._values[key] = len(self._made)
        self._made.append(made)
        return number


def _parted(words: str, instant: str) -> tuple[tuple[str, str] | None, bool]:
    """Part words where the instant stands, as it is or folded."""
    for folds, mark in ((False, instant), (True, folded(instant))):
        parts = words.split(mark)
        if len(parts) == 2:
            return (parts[0], parts[1]), folds
    return None, False


class Numbers:
    """What the numbers of a drafter stand for in the file, as long as a transaction lasts.

    A term or text is made when a resource that is stored first uses it.

    Args:
        batch: The transaction.
        tenant: Number.
        shared: The drafter's terms and values.
    """

    def __init__(self, batch: Batch, tenant: int, shared: tuple[list[Any], list[Any]]) -> None:
        self._batch, self._tenant, self.shared = batch, tenant, shared
        self._terms: dict[int, int] = {}
        self._written: dict[str, int] = {}
        self.values: dict[int, tuple[Any, Any]] = {}  # those that were asked for

    def term(self, number: int) -> int:
        """Return the number of a term in the file."""
        found = self._terms.get(number)
        if found is None:
            found = self._terms[number] = self._batch.term(self._tenant, *self.shared[0][number])
        return found

    def written(self, type: str) -> int:
        """Return the term of the time of a type's versions."""
        found = self._written.get(type)
        if found is None:
            found = self._written[type] = self._batch.term(self._tenant, type, *WRITTEN)
        return found

    def value(self, number: int) -> tuple[Any, Any]:
        """Return the rows of a value that was not asked for yet: (t, c, fact) of tokens and (t, lo, w) of spans."""
        term = self.term
        token, span, text, _ = self.shared[1][number]
        found = [(term(t), c, fact) for t, c, fact in token], [(term(t), lo, w) for t, lo, w in span]
        self.values[number] = found
        if text:
            self._tell([(term(t), words, c) for t, words, c in text])
        return found

    def _tell(self, texts: list[tuple[int, str, int]]) -> None:
        """Add the texts that were not brought before."""
        told = self._batch.rows.told
        if len(told) > _MOST_TOLD:
            told.clear()
        self._batch.lists["text"] += [row for row in texts if (row[0], row[2]) not in told]
        told.update([(t, c) for t, _, c in texts])


def complete(batch: Batch, tenant: int, version: Version, draft: Draft) -> tuple[Rows, str]:
    """Return the rows and words of a version that a drafter worked on."""
    key = (tenant, id(draft.shared))  # the numbers hold it, so that no other can have its id meanwhile
    numbers = batch.numbers.get(key)
    if numbers is None:
        numbers = batch.numbers[key] = Numbers(batch, tenant, draft.shared)
    values, dates, timelines, named, words, folds = draft.made
    seq, term, known = version.seq, numbers.term, numbers.values
    shape = term(named)
    rows = Rows([(shape, 0, seq)], [], [], [], [], shape)
    token, span, fact = rows.token, rows.span, rows.fact
    for number in values:
        tokens, spans = known.get(number) or numbers.value(number)
        for t, c, lo in tokens:
            token.append((t, c, seq))
            fact.append((seq, t, lo, 0))
        for t, lo, w in spans:
            span.append((t, lo, seq, w))
            fact.append((seq, t, lo, w))
    for number, lo, w in dates:
        t = term(number)
        span.append((t, lo, seq, w))
        fact.append((seq, t, lo, w))
    rows.timeline.extend([(term(number), p, c, lo, seq) for number, p, c, lo, _ in timelines])
    rows.add_time(seq, version.at, numbers.written(version.type))
    return rows, _joined(version, draft.instant, words, folds)


def _joined(version: Version, instant: str, words: tuple[str, str] | None, folds: bool) -> str:
    if words is None or not instant:
        return content_of(version.body)
    return f"{words[0]}{folded(instant) if folds else instant}{words[1]}"

"""Prefixes as conditions on index rows.

The conditions are those of `search.match`, written on the columns `lo` and `w`; `{x}` stands for the alias
of the table (`span` or `fact`). Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from fhir_server.search.quantity import Asked, asked_of
from fhir_server.search.query import Ask
from fhir_server.search.values import Number, Period
from fhir_server.store.sqlite.find.fragments import FALSE, TRUE, Sql, every, some, sql
from fhir_server.store.sqlite.measures import ANY, BELOW, OPEN, POINT, RANGE, WIDTHS, read_unit
from fhir_server.store.sqlite.numbers import encode
from fhir_server.store.sqlite.terms import Term

_FIRST, _LAST = -(2**63), 2**63 - 1


class Range(NamedTuple):
    """Rows of some terms that answer a question."""

    ts: tuple[int, ...]
    where: Sql  # with {x} for the alias


def _clamp(value: int) -> int:
    return max(_FIRST, min(_LAST, value))


# --- dates ------------------------------------------------------------------------------------------------


def date_ranges(ask: Ask, found: Iterable[Term]) -> list[Range]:
    """Return where spans of time answer the question, for each class of width."""
    assert isinstance(ask.value, Period)
    classes: dict[str, list[int]] = {}
    for term in found:
        classes.setdefault(term.system, []).append(term.id)
    return [Range(tuple(ts), _date(ask.prefix, ask.value, system)) for system, ts in classes.items()]


def _date(prefix: str, asked: Period, system: str) -> Sql:
    a, b = asked
    low, high = "{x}.lo", "{x}.w" if system == OPEN else "({x}.lo + {x}.w)"
    width = None if system == OPEN else WIDTHS[int(system)]

    def since(value: int) -> Sql:
        """Say what `high > value` means for `low`, so that the index can be used."""
        return TRUE if width is None else sql(f"{low} > ?", _clamp(value - width))

    match prefix:
        case "eq":
            return sql(f"{low} >= ? AND {low} <= ? AND {high} <= ?", a, b, b)
        case "ne":
            return sql(f"NOT ({low} >= ? AND {high} <= ?)", a, b)
        case "ap":
            return every((sql(f"{low} < ? AND {high} > ?", b, a), since(a)))
        case "gt":
            return every((sql(f"{high} > ?", b), since(b)))
        case "lt":
            return sql(f"{low} < ?", a)
        case "ge":
            return every((sql(f"{high} > ?", a), since(a)))
        case "le":
            return sql(f"{low} < ?", b)
        case "sa":
            return sql(f"{low} >= ?" if a < b else f"{low} > ?", b)
        case "eb":
            return sql(f"{low} <= ? AND {high} {'<=' if a < b else '<'} ?", a, a)
        case _:
            raise ValueError(prefix)


# --- numbers ----------------------------------------------------------------------------------------------

_COLUMNS: Final[dict[str, tuple[str | None, str | None]]] = {
    POINT: ("{x}.lo", "{x}.lo"),
    RANGE: ("{x}.lo", "{x}.w"),
    BELOW: (None, "{x}.lo"),
    ANY: (None, None),
}
"""Where the ends of a number stand, by its form; None for an end that is open."""


def number_ranges(ask: Ask, found: Iterable[Term]) -> list[Range]:
    """Return where numbers answer the question, for each form."""
    asked = ask.value
    assert isinstance(asked, Number) and ask.exact is not None
    forms: dict[str, list[int]] = {}
    for term in found:
        forms.setdefault(term.system, []).append(term.id)
    bounds = Asked(asked.lo, asked.hi, ask.exact)
    return [Range(tuple(ts), _number(ask.prefix, bounds, form)) for form, ts in forms.items()]


def quantity_ranges(ask: Ask, found: Iterable[Term]) -> list[Range]:
    """Return where quantities answer the question: for each form and unit, in that unit."""
    groups: dict[tuple[str, Asked], list[int]] = {}
    for term in found:
        form, system, code, unit = read_unit(term.system)
        asked = asked_of(ask, system, code, unit)
        if asked is not None:
            groups.setdefault((form, asked), []).append(term.id)
    return [Range(tuple(ts), _number(ask.prefix, asked, form)) for (form, asked), ts in groups.items()]


def _number(prefix: str, asked: Asked, form: str) -> Sql:
    low, high, exact = map(encode, asked)
    lo, hi = _COLUMNS[form]

    def at(column: str | None, sign: str, value: bytes, *, of_open: Sql) -> Sql:
        return of_open if column is None else sql(f"{column} {sign} ?", value)

    inside = every((at(lo, ">=", low, of_open=FALSE), at(hi, "<", high, of_open=FALSE)))
    above, below = at(hi, ">", exact, of_open=TRUE), at(lo, "<", exact, of_open=TRUE)
    match prefix:
        case "eq":
            return inside
        case "ne":
            return sql("NOT (?)", inside)
        case "ap":
            return every((at(lo, "<=", high, of_open=TRUE), at(hi, ">=", low, of_open=TRUE)))
        case "gt":
            return above
        case "lt":
            return below
        case "ge":
            reached = at(lo, ">=", exact, of_open=FALSE)
            return reached if form == POINT else some((above, reached))
        case "le":
            reached = at(hi, "<=", exact, of_open=FALSE)
            return reached if form == POINT else some((below, reached))
        case "sa":
            return at(lo, ">", exact, of_open=FALSE)
        case "eb":
            return at(hi, "<", exact, of_open=FALSE)
        case _:
            raise ValueError(prefix)


# --- texts ------------------------------------------------------------------------------------------------


def after(prefix: str) -> str | None:
    """Return the least text that sorts after all that start so, in the order of code points; None for none."""
    for at in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[at]) + 1
        if point == 0xD800:
            point = 0xE000  # the points between are no characters
        if point <= 0x10FFFF:
            return prefix[:at] + chr(point)
    return None


def prefix_condition(column: str, prefix: str) -> Sql:
    """Return the condition that a text is not empty and starts so."""
    end = after(prefix)
    begins = sql(f"{column} >= ?", prefix) if prefix else sql(f"{column} > ''")
    return begins if end is None else every((begins, sql(f"{column} < ?", end)))


def text_range(found: Iterable[Term], modifier: str, folded: str) -> Range:
    """Return where folded strings start with a text, contain it, end with it or are equal to it."""
    ts = [term.id for term in found]
    if modifier == "equals":
        return Range(tuple(ts), sql("{x}.lo = ?", folded))
    if modifier == "ends":
        return Range(tuple(ts), sql("substr({x}.lo, -length(?)) = ?", folded, folded))
    if modifier == "contains":
        return Range(tuple(ts), sql("instr({x}.lo, ?) > 0", folded))
    return Range(tuple(ts), prefix_condition("{x}.lo", folded))


def placed(where: Sql, alias: str) -> Sql:
    """Return a condition with its alias."""
    return Sql(where.text.replace("{x}", alias), where.values)

"""Pieces of SQL with their values: text is only ever our own, what was asked travels as values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple


class Sql(NamedTuple):
    """A piece of SQL and the values of its `?`."""

    text: str
    values: tuple[Any, ...] = ()


TRUE: Final = Sql("1")
FALSE: Final = Sql("0")


def sql(template: str, *parts: Sql | Any) -> Sql:
    """Fill each `?` of a template: with a piece of SQL, or with a value."""
    if not parts:
        return Sql(template)
    texts = template.split("?")
    made = [texts[0]]
    values: list[Any] = []
    for part, rest in zip(parts, texts[1:], strict=True):
        if isinstance(part, Sql):
            made.append(part.text)
            values += part.values
        else:
            made.append("?")
            values.append(part)
        made.append(rest)
    return Sql("".join(made), tuple(values))


def join(word: str, parts: Iterable[Sql]) -> Sql:
    """Join pieces by a word."""
    listed = list(parts)
    return Sql(word.join(part.text for part in listed), tuple(v for part in listed for v in part.values))


def every(parts: Iterable[Sql]) -> Sql:
    """Return the conjunction; TRUE of none."""
    kept = [part for part in parts if part is not TRUE]
    if any(part is FALSE for part in kept):
        return FALSE
    return join(" AND ", kept) if kept else TRUE


def some(parts: Iterable[Sql]) -> Sql:
    """Return the disjunction; FALSE of none."""
    kept = [part for part in parts if part is not FALSE]
    if any(part is TRUE for part in kept):
        return TRUE
    return _joined(kept) if kept else FALSE


def _joined(parts: list[Sql]) -> Sql:
    """Join by OR, in halves, so that the expression is not as deep as the list is long."""
    if len(parts) <= 8:
        return sql("(?)", join(" OR ", parts))
    middle = len(parts) // 2
    return sql("(? OR ?)", _joined(parts[:middle]), _joined(parts[middle:]))


def listed(numbers: Iterable[int]) -> Sql:
    """Return whole numbers of ours, as `(1,2,3)`."""
    return Sql("(" + ",".join(map(str, numbers)) + ")")


class Names:
    """Gives aliases that are different within one statement and the same for statements of one shape."""

    def __init__(self) -> None:
        self._given = 0

    def new(self) -> str:
        """Return the next alias."""
        self._given += 1
        return f"x{self._given}"

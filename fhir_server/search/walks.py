"""The ways that the parameters of one resource type take, put together so that each key is met once.

A branch is an element; it walks the keys that are there, so a parameter whose element is absent costs nothing.
What one value gives is read once and shared by all parameters that ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import product
from typing import Any, Final, TypeAlias

from fhir_server import gate
from fhir_server.search.values import Composite, Reference, Token, Value

Reader: TypeAlias = Callable[[Any], tuple[Value, ...]]
Found: TypeAlias = dict[str, Any]
"""By parameter code: a tuple of values, or a list where several elements gave some."""
Local: TypeAlias = dict[int, tuple[Value, ...]]
"""What the element at hand gave, by leaf, for its composites."""
Action: TypeAlias = Callable[[Any, Found, Local], None]

UNREADABLE: Final = (AttributeError, TypeError, KeyError, ValueError, ArithmeticError, IndexError)
"""What a reader meets in JSON that is not what its type says; such a value gives no row."""


_MOST_KEPT: Final = 4_096  # elements whose values are remembered, about 1 kB each
_LONGEST_KEPT: Final = 600  # bytes of such an element; longer ones seldom come again


def put(found: Found, code: str, values: tuple[Value, ...]) -> None:
    """Add values of a parameter."""
    before = found.get(code)
    if before is None:
        found[code] = values
    elif before.__class__ is list:
        before += values
    else:
        found[code] = [*before, *values]


def read_all(read: Reader, value: Any) -> tuple[Value, ...]:
    """Read a list of values, or nothing."""
    if value is None:
        return ()
    if len(value) == 1:
        return () if value[0] is None else read(value[0])
    return tuple(made for item in value if item is not None for made in read(item))


def read_readable(read: Reader, value: Any) -> tuple[Value, ...]:
    """Read what can be read of a value or list of which something cannot."""
    made: list[Value] = []
    for item in value if isinstance(value, list) else (value,):
        with suppress(*UNREADABLE):
            made += read(item)
    return tuple(made)


class Leaf:
    """A value to be read."""

    def __init__(self, read: Reader, only: str, slot: int) -> None:
        self.read = read if not only else _limited(read, only)
        self.codes: list[str] = []
        self.slot = slot

    def action(self, kept: bool) -> Action:
        """Return what reads it; `kept` when a composite asks for it."""
        read, codes, slot = self.read, tuple(self.codes), self.slot

        def act(value: Any, found: Found, local: Local) -> None:
            try:
                values = read_all(read, value) if value.__class__ is list or value is None else read(value)
            except UNREADABLE:
                values = read_readable(read, value)
            if values:
                if kept:
                    local[slot] = values
                for code in codes:
                    if code in found:
                        put(found, code, values)
                    else:
                        found[code] = values

        return act


def _limited(read: Reader, only: str) -> Reader:
    """Keep references to one type: `where(resolve() is Patient)`."""

    def limited(value: Any) -> tuple[Value, ...]:
        values = read(value)
        if len(values) == 1 and isinstance(values[0], Reference) and values[0].type == only:
            return values
        return tuple(one for one in values if isinstance(one, Reference) and one.type == only)

    return limited


class Branch:
    """An element with children that are read; it is filled while a plan is made, then compiled once."""

    def __init__(self) -> None:
        self.leaves: dict[tuple[Any, ...], Leaf] = {}  # by (key, where, only, kind of parameter, FHIR type)
        self.branches: dict[tuple[str, tuple[str, str] | None], Branch] = {}  # by (key, where)
        self.composites: list[tuple[str, tuple[tuple[int, ...], ...]]] = []  # (code, leaves of each part)

    def leaf(self, key: str, where: tuple[str, str] | None, only: str, kind: str, type: str, read: Reader) -> Leaf:
        """Return the leaf there, made if it is not."""
        mark = (key, where, only, kind, type)
        if mark not in self.leaves:
            self.leaves[mark] = Leaf(_where(read, where), only, len(self.leaves))
        return self.leaves[mark]

    def below(self, key: str, where: tuple[str, str] | None) -> Branch:
        """Return the branch there, made if it is not."""
        return self.branches.setdefault((key, where), Branch())

    def compile(self) -> Callable[[Any, Found], None]:
        """Return what walks an element and adds to what was found."""
        kept = {slot for _, parts in self.composites for part in parts for slot in part}
        by_key: dict[str, list[Action]] = {}
        for mark, leaf in self.leaves.items():
            by_key.setdefault(mark[0], []).append(leaf.action(leaf.slot in kept))
        for (key, where), branch in self.branches.items():
            walk = branch.compile()
            by_key.setdefault(key, []).append(_descend(_remembering(walk) if branch.composites else walk, where))
        return _walk({key: tuple(actions) for key, actions in by_key.items()}, _shared(self.composites))


def _where(read: Reader, where: tuple[str, str] | None) -> Reader:
    if where is None:
        return read
    key, wanted = where
    return lambda value: read(value) if value.get(key) == wanted else ()


def _descend(walk: Callable[[Any, Found], None], where: tuple[str, str] | None) -> Action:
    def descend(value: Any, found: Found, _: Local) -> None:
        for item in value if value.__class__ is list else (value,):
            if item.__class__ is dict and (where is None or item.get(where[0]) == where[1]):
                walk(item, found)

    return descend


def _remembering(walk: Callable[[Any, Found], None]) -> Callable[[Any, Found], None]:
    """Remember what elements gave: a component has a code and a value, of which a vital sign takes some dozens."""
    kept: dict[bytes, tuple[tuple[str, tuple[Value, ...]], ...]] = {}

    def walk_once(element: Any, found: Found) -> None:
        mark = gate.write(element)
        made = kept.get(mark)
        if made is None:
            own: Found = {}
            walk(element, own)
            made = tuple([(code, tuple(dict.fromkeys(values))) for code, values in own.items()])
            if len(kept) >= _MOST_KEPT:
                kept.clear()
            if len(mark) <= _LONGEST_KEPT:
                kept[mark] = made
        for code, values in made:
            if code in found:
                put(found, code, values)
            else:
                found[code] = values

    return walk_once


def _shared(
    composites: list[tuple[str, tuple[tuple[int, ...], ...]]],
) -> tuple[tuple[tuple[str, ...], tuple[tuple[int, ...], ...]], ...]:
    """Composites of the same parts are put together under all their codes."""
    by_parts: dict[tuple[tuple[int, ...], ...], list[str]] = {}
    for code, parts in composites:
        by_parts.setdefault(parts, []).append(code)
    return tuple((tuple(codes), parts) for parts, codes in by_parts.items())


def _walk(
    by_key: dict[str, tuple[Action, ...]], composites: tuple[tuple[tuple[str, ...], tuple[tuple[int, ...], ...]], ...]
) -> Callable[[Any, Found], None]:
    get = {key: _together(actions) for key, actions in by_key.items()}.get
    # The last part is a value of one type of many, so it is most often the one that is not there.
    asked = tuple((parts[-1], parts, codes) for codes, parts in composites)

    def walk(element: Any, found: Found) -> None:
        local: Local = {}
        for key, value in element.items():
            action = get(key)
            if action is not None:
                action(value, found, local)
        if len(local) > 1:
            for last, parts, codes in asked:
                for slot in last:
                    if slot in local:
                        break
                else:
                    continue
                if made := combined(parts, local):
                    for code in codes:
                        put(found, code, made)

    return walk


def _together(actions: tuple[Action, ...]) -> Action:
    if len(actions) == 1:
        return actions[0]

    def act(value: Any, found: Found, local: Local) -> None:
        for action in actions:
            action(value, found, local)

    return act


def combined(parts: tuple[tuple[int, ...], ...], local: Local) -> tuple[Value, ...]:
    """Return every combination of one value of each part."""
    columns = []
    for slots in parts:
        column = local.get(slots[0], ())
        for slot in slots[1:]:
            column += local.get(slot, ())
        if not column:
            return ()
        columns.append(bare(column))
    return tuple([Composite(row) for row in product(*columns)])


def bare(values: Sequence[Value]) -> Sequence[Value]:
    """Drop what tokens say for :text only, which composites are not asked by, and what is then the same."""
    if len(values) == 1:
        one = values[0]
        return (_bare(one),) if one.__class__ is Token and one.text else values
    return list(dict.fromkeys(_bare(one) if one.__class__ is Token else one for one in values))


@lru_cache(maxsize=4096)
def _bare(token: Token) -> Token:
    return Token(token.system, token.code)

"""Segments to the groups of their message structure.

A segment goes to the innermost open group that has a place for it at or after the place reached, or lacks it; a
group begins anew only with a segment that may open it, so that a stray segment never makes a result
without its patient. What has no place (Z segments, unknown and misplaced ones) stays in the innermost
open group and is listed: nothing is lost, whatever the sender did.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from adapters.hl7.grammar import Grammar, Item
from adapters.hl7.tokens import Segment


class Group:
    """A group of a message: its segments and groups, in the order they came."""

    __slots__ = ("children", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.children: list[Segment | Group] = []

    def segments(self, name: str) -> list[Segment]:
        """Return the segments of that name that stand directly in this group."""
        return [c for c in self.children if c.name == name and isinstance(c, Segment)]

    def segment(self, name: str) -> Segment | None:
        """Return the first of them."""
        found = self.segments(name)
        return found[0] if found else None

    def groups(self, suffix: str) -> list[Group]:
        """Return the groups whose name ends so, e.g. `ORDER_OBSERVATION`, that stand directly in this one."""
        return [c for c in self.children if isinstance(c, Group) and c.name.endswith(suffix)]

    def walk(self) -> Iterator[Segment]:
        """Yield every segment below, in the order they came."""
        for child in self.children:
            if isinstance(child, Segment):
                yield child
            else:
                yield from child.walk()


class Tree(NamedTuple):
    """A message in its groups."""

    root: Group
    strays: list[Segment]  # in the tree too, but at no place of their structure


class _Level:
    """An open group: where in its grammar the last segment stood."""

    __slots__ = ("count", "cursor", "grammar", "group")

    def __init__(self, grammar: Grammar, group: Group) -> None:
        self.grammar = grammar
        self.group = group
        self.cursor = 0
        self.count = 0  # how many stand at the cursor


def _is_free(level: _Level, number: int, item: Item) -> bool:
    if number < level.cursor:
        return _was_skipped(level, item)
    return number > level.cursor or item.most < 0 or level.count < item.most


def _was_skipped(level: _Level, item: Item) -> bool:
    """Whether a segment that the group must have is still missing, and no result has come that may be another's.

    Senders write `ORC NTE OBR` and `ORC TQ1 OBR` where the standard has the OBR before: it is the same order.
    """
    if item.group is not None or not item.least:
        return False
    return all(segment.name not in (item.name, "OBX") for segment in level.group.walk())


def _find(level: _Level, name: str, *, strictly: bool) -> int | None:
    """Return the item that takes the segment: one it may open, or when not strict one that is not begun yet."""
    for number in level.grammar.places.get(name, ()):
        item = level.grammar.items[number]
        if not _is_free(level, number, item):
            continue
        begun = number == level.cursor and level.count > 0
        if name in item.opens or (not strictly and not begun):
            return number
    return None


def _enter(levels: list[_Level], number: int, segment: Segment) -> None:
    """Put the segment at that item of the innermost level, opening groups down to its place."""
    while True:
        level = levels[-1]
        if number >= level.cursor:  # one that was skipped before is filled in: the place reached stays
            level.count = level.count + 1 if number == level.cursor else 1
            level.cursor = number
        item = level.grammar.items[number]
        if item.group is None:
            level.group.children.append(segment)
            return
        group = Group(item.name)
        level.group.children.append(group)
        levels.append(_Level(item.group, group))
        found = _find(levels[-1], segment.name, strictly=True)
        number = found if found is not None else item.group.places[segment.name][0]


def _place(levels: list[_Level], segment: Segment) -> bool:
    """Put a segment into the innermost group that takes it; False where none does."""
    for strictly in (True, False):
        for depth in range(len(levels) - 1, -1, -1):
            number = _find(levels[depth], segment.name, strictly=strictly)
            if number is not None:
                del levels[depth + 1 :]
                _enter(levels, number, segment)
                return True
    return False


def group(segments: list[Segment], grammar: Grammar) -> Tree:
    """Sort a message's segments into the groups of its structure; every segment is in the result."""
    root = Group(grammar.name)
    levels = [_Level(grammar, root)]
    strays = []
    for segment in segments:
        if segment.name.startswith("Z") or not _place(levels, segment):
            levels[-1].group.children.append(segment)
            strays.append(segment)
    return Tree(root, strays)

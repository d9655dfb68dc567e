"""The `sel` of an XML Patch: the part of XPath that leads to one element, attribute or text.

Source: RFC 5261, section 4.1, https://www.rfc-editor.org/rfc/rfc5261
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from fhir_server.errors import TooCostly
from fhir_server.patch.xml_tree import Element

MOST_PATH: Final = 1_000  # characters
MOST_VISITED: Final = 200_000  # elements and texts that all paths of one patch look at, once for each predicate
_NAME: Final = r"[A-Za-z_][\w.\-]*(?::[A-Za-z_][\w.\-]*)?"
_step: Final = re.compile(rf"\*|{_NAME}").match
_predicate: Final = re.compile(
    rf"\[\s*(?:(?P<number>[1-9][0-9]{{0,5}})|(?P<path>\.|(?:{_NAME}/)*@?{_NAME})\s*="
    r"\s*(?:'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\"))\s*\]"
).match


class Unreadable(ValueError):
    """A path that is none; its text says why."""


class Walk:
    """Counts what the paths of one patch look at."""

    def __init__(self) -> None:
        self._left = MOST_VISITED

    def look(self, count: int) -> None:
        """Note that so many elements and texts are looked at; raise TooCostly where that is too much."""
        self._left -= count
        if self._left < 0:
            raise TooCostly("The patch has too many operations or predicates for a resource of this size.")

    def below(self, element: Element) -> list[Element]:
        """Return the children of an element that are elements."""
        self.look(len(element.children) + 1)
        return element.elements


class Name(NamedTuple):
    """A name in a namespace; `*` is any."""

    space: str
    name: str

    def fits(self, element: Element) -> bool:
        """Whether an element has this name."""
        return self.name == "*" or (element.name, element.space) == (self.name, self.space)


@dataclass(frozen=True, slots=True)
class Test:
    """A predicate: a place among what was found before it, or a value of the element or below it."""

    number: int = 0
    path: tuple[Name, ...] = ()
    attribute: str = ""
    value: str = ""

    def among(self, found: list[Element], walk: Walk) -> list[Element]:
        """Return those for which it holds."""
        if self.number:
            return found[self.number - 1 : self.number]
        walk.look(len(found))
        return [one for one in found if self._holds(one, walk)]

    def _holds(self, element: Element, walk: Walk) -> bool:
        below = [element]
        for name in self.path:
            below = [child for one in below for child in walk.below(one) if name.fits(child)]
        if self.attribute:
            return any(one.attributes.get(self.attribute) == self.value for one in below)
        walk.look(sum(len(one.children) for one in below))
        return any(one.text == self.value for one in below)


class Step(NamedTuple):
    """One step down."""

    name: Name
    tests: tuple[Test, ...]


class Path(NamedTuple):
    """Where a `sel` leads."""

    steps: tuple[Step, ...]
    attribute: str  # of the element that the steps lead to, or ""
    is_text: bool  # its text, not the element

    def find(self, root: Element, walk: Walk) -> list[tuple[Element, Element]]:
        """Return the elements that the steps lead to, each with its parent; the root's is a node around it.

        Raises:
            TooCostly: That goes beyond the walk's bound.
        """
        around = Element("", "", {}, [root])
        found = [(around, around)]
        for step in self.steps:
            below: list[tuple[Element, Element]] = []
            for _, parent in found:
                children = [child for child in walk.below(parent) if step.name.fits(child)]
                for test in step.tests:
                    children = test.among(children, walk)
                below += [(parent, child) for child in children]
            found = below
        return found


def read(text: str, scope: Mapping[str, str]) -> Path:
    """Read a `sel`.

    Args:
        text: Such as `f:Patient/f:name[1]/f:family/@value`.
        scope: Namespaces by prefix; a name without a prefix is in the default one, as RFC 5261 has it.

    Raises:
        Unreadable: It is no path, or asks for what a patch of a resource does not need.
    """
    if len(text) > MOST_PATH:
        raise Unreadable(f"sel has at most {MOST_PATH:,} characters.")
    rest = text.strip().removeprefix("/")
    steps: list[Step] = []
    while True:
        if rest == "text()" and steps:
            return Path(tuple(steps), "", True)
        if rest.startswith("@") and steps and re.fullmatch(r"@[A-Za-z_][\w.\-]*", rest):
            return Path(tuple(steps), rest[1:], False)
        found = _step(rest)
        if found is None:
            raise Unreadable("sel is no path of names, [n], [name='value'], [@name='value'], @name and text().")
        rest = rest[found.end() :]
        tests: list[Test] = []
        while (test := _predicate(rest)) is not None:
            tests.append(_test(test, scope))
            rest = rest[test.end() :]
        steps.append(Step(_name(found[0], scope), tuple(tests)))
        if not rest:
            return Path(tuple(steps), "", False)
        if not rest.startswith("/"):
            raise Unreadable("sel is no path of names, [n], [name='value'], [@name='value'], @name and text().")
        rest = rest[1:]


def _name(text: str, scope: Mapping[str, str]) -> Name:
    prefix, colon, name = text.rpartition(":")
    if prefix not in scope and colon:
        raise Unreadable("sel has a prefix that is not declared.")
    return Name(scope.get(prefix, ""), name)


def _test(found: re.Match[str], scope: Mapping[str, str]) -> Test:
    if found["number"]:
        return Test(number=int(found["number"]))
    value = found["single"] if found["single"] is not None else found["double"]
    *steps, last = found["path"].split("/")
    attribute = last[1:] if last.startswith("@") else ""
    names = steps if attribute or last == "." else [*steps, last]
    return Test(0, tuple(_name(name, scope) for name in names), attribute, value)

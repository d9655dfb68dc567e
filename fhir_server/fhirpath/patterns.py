"""matches(), matchesFull() and replaceMatches(), in time bounded by the product of pattern and text.

Python's `re` backtracks: a hostile pattern or text can hold it for years. So it runs only patterns with at most
one repetition, on texts of moderate length. All others run on a machine that follows every alternative at once
(R. Pike's; https://swtch.com/~rsc/regexp/regexp2.html), which knows no look-around and no back references.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from fhir_server.fhirpath.failures import EvaluationError

MAX_PATTERN: Final = 2_000  # characters
MAX_TEXT: Final = 100_000  # characters
MAX_PROGRAM: Final = 5_000  # instructions, counted repetitions written out
MAX_STEPS: Final = 1_000_000
_MAX_FOR_RE: Final = 2_000  # characters of a text that `re` is given
_MAX_GROUPS: Final = 9

_REPETITION = re.compile(r"([*+?]|\{[0-9]{1,4}(?:,[0-9]{0,4})?\})(\??)")
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^0-9A-Za-z]|[dDwWsSnrtfv])", re.DOTALL)
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_PROPERTY = re.compile(r"\\[pP]\{")
_SUBSTITUTE = re.compile(r"\$([0-9])|\$\{([0-9])\}")

Span = tuple[int | None, ...]  # where the match and its groups begin and end, two numbers each


class Step(NamedTuple):
    """One instruction of the machine."""

    kind: str  # char | split | save | begin | end | edge | inside | match
    test: Callable[[str], object] | None = None  # of char: whether it takes a character
    first: int = 0  # of split: where to go, the preferred one first; of save: which place
    second: int = 0


class _Compiler:
    """Writes the machine's program for a pattern; places to jump to are relative until it ends."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.groups = 0

    def fail(self) -> EvaluationError:
        return EvaluationError("The regular expression is not one that is supported here.")

    def take(self, text: str) -> bool:
        if self.pattern.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def whole(self) -> list[Step]:
        program = self.alternatives(0)
        if self.at != len(self.pattern):
            raise self.fail()
        return [Step("save", first=0), *program, Step("save", first=1), Step("match")]

    def alternatives(self, depth: int) -> list[Step]:
        if depth > 50:
            raise self.fail()
        program = self.sequence(depth)
        while self.take("|"):
            other = self.sequence(depth)
            rest = len(other) + 1
            program = [Step("split", first=1, second=len(program) + 2), *program, _jump(rest), *other]
        return program

    def sequence(self, depth: int) -> list[Step]:
        program: list[Step] = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            program += self.repeated(self.atom(depth))
            if len(program) > MAX_PROGRAM:
                raise self.fail()
        return program

    def repeated(self, atom: list[Step]) -> list[Step]:
        match = _REPETITION.match(self.pattern, self.at)
        if match is None:
            return atom
        self.at = match.end()
        low, high = _bounds(match[1])
        if (max(low, high or 0) + 1) * len(atom) > MAX_PROGRAM or _REPETITION.match(self.pattern, self.at):
            raise self.fail()
        lazy = bool(match[2])
        program = atom * low
        if high is None:
            return program + _loop(atom, lazy)
        for _ in range(high - low):
            rest = len(atom) + 1
            program += [_split(1, rest, lazy), *atom]
        return program

    def atom(self, depth: int) -> list[Step]:
        for sign, kind in (("^", "begin"), ("$", "end"), (r"\b", "edge"), (r"\B", "inside")):
            if self.take(sign):
                return [Step(kind)]
        if self.take("("):
            return self.group(depth)
        if self.take("."):
            return [Step("char", bool)]
        for shape in (_CLASS, _ESCAPE):
            match = shape.match(self.pattern, self.at)
            if match and not _PROPERTY.search(match[0]):
                self.at = match.end()
                return [Step("char", _tester(match[0]))]
        letter = self.pattern[self.at]
        if letter in "\\[*+?":
            raise self.fail()
        self.at += 1
        return [Step("char", letter.__eq__)]

    def group(self, depth: int) -> list[Step]:
        captures = not self.take("?:")
        if captures and self.pattern.startswith("?", self.at):
            raise self.fail()
        self.groups += captures
        place = 2 * self.groups
        program = self.alternatives(depth + 1)
        if not self.take(")"):
            raise self.fail()
        if not captures or place > 2 * _MAX_GROUPS:
            return program
        return [Step("save", first=place), *program, Step("save", first=place + 1)]


def _jump(distance: int) -> Step:
    return Step("split", first=distance, second=distance)


def _split(first: int, second: int, lazy: bool) -> Step:
    return Step("split", first=second, second=first) if lazy else Step("split", first=first, second=second)


def _loop(atom: list[Step], lazy: bool) -> list[Step]:
    return [_split(1, len(atom) + 2, lazy), *atom, _jump(-len(atom) - 1)]


def _bounds(text: str) -> tuple[int, int | None]:
    if text in "*+?":
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[text]
    low, comma, high = text[1:-1].partition(",")
    return int(low), (int(high) if high else None) if comma else int(low)


@lru_cache(maxsize=512)
def _tester(shape: str) -> Callable[[str], object]:
    try:
        return re.compile(shape, re.DOTALL).fullmatch  # of one character: no backtracking
    except re.error:
        raise EvaluationError("The regular expression is not one that is supported here.") from None


@lru_cache(maxsize=256)
def _program(pattern: str) -> tuple[Step, ...]:
    if len(pattern) > MAX_PATTERN:
        raise EvaluationError("The regular expression is too long.")
    return tuple(_Compiler(pattern).whole())


@lru_cache(maxsize=256)
def _simple(pattern: str) -> re.Pattern[str] | None:
    """The pattern for `re`, where that cannot take long; else None."""
    bare = _CLASS.sub("c", re.sub(r"\\.", "c", pattern, flags=re.DOTALL)) if "(?" not in pattern else None
    if bare is None or len(_REPETITION.findall(bare)) > 1 or len(pattern) > MAX_PATTERN or r"\p" in pattern:
        return None
    if re.search(r"\\[0-9]", pattern):
        return None
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:
        raise EvaluationError("The regular expression is not well formed.") from None


def _stands(kind: str, text: str, at: int) -> bool:
    if kind == "begin":
        return at == 0
    if kind == "end":
        return at == len(text)
    before = at > 0 and (text[at - 1].isalnum() or text[at - 1] == "_")
    after = at < len(text) and (text[at].isalnum() or text[at] == "_")
    return (before != after) == (kind == "edge")


class _Machine:
    """Follows all alternatives of a program through a text, in the order of preference."""

    def __init__(self, program: tuple[Step, ...], text: str) -> None:
        self.program = program
        self.text = text
        self.steps = 0

    def follow(self, threads: dict[int, Span], start: int, at: int, span: Span) -> None:
        """Add the threads that `start` leads to without taking a character."""
        stack = [(start, span)]
        while stack:
            place, places = stack.pop()
            if place in threads:
                continue
            threads[place] = places
            step = self.program[place]
            if step.kind == "split":
                stack += [(place + step.second, places), (place + step.first, places)]
            elif step.kind == "save":
                stack.append((place + 1, (*places[: step.first], at, *places[step.first + 1 :])))
            elif step.kind not in ("char", "match") and _stands(step.kind, self.text, at):
                stack.append((place + 1, places))
        self.steps += len(threads)
        if self.steps > MAX_STEPS:
            raise EvaluationError("The regular expression costs more than its bound.")

    def run(self, start: int, *, anchored: bool) -> Span | None:
        """Return the first match at or after `start`; anchored: from there to the end of the text."""
        text, empty = self.text, (None,) * (2 * _MAX_GROUPS + 2)
        threads: dict[int, Span] = {}
        best: Span | None = None
        for at in range(start, len(text) + 1):
            if best is None and (at == start or not anchored):
                self.follow(threads, 0, at, empty)
            following: dict[int, Span] = {}
            for place, span in threads.items():
                step = self.program[place]
                if step.kind == "match" and (not anchored or at == len(text)):
                    best = span
                    break
                if step.kind == "char" and at < len(text) and step.test and step.test(text[at]):
                    self.follow(following, place + 1, at + 1, span)
            threads = following
            if not threads and (best is not None or anchored):
                break
        return best


def _machine(text: str, pattern: str) -> _Machine:
    if len(text) > MAX_TEXT:
        raise EvaluationError("The text is too long for a regular expression.")
    return _Machine(_program(pattern), text)


def found(text: str, pattern: str) -> bool:
    """Whether the pattern matches somewhere in the text; a dot matches line ends too."""
    simple = _simple(pattern) if len(text) <= _MAX_FOR_RE else None
    if simple is not None:
        return simple.search(text) is not None
    return _machine(text, pattern).run(0, anchored=False) is not None


def fits(text: str, pattern: str) -> bool:
    """Whether the pattern matches the whole text."""
    simple = _simple(pattern) if len(text) <= _MAX_FOR_RE else None
    if simple is not None:
        return simple.fullmatch(text) is not None
    return _machine(text, pattern).run(0, anchored=True) is not None


def replaced(text: str, pattern: str, new: str) -> str:
    """Return the text with each match replaced; `$1` stands for a group. An empty pattern replaces nothing."""
    if not pattern:
        return text
    machine = _machine(text, pattern)
    parts: list[str] = []
    length = at = 0
    while at <= len(text) and (span := machine.run(at, anchored=False)) is not None:
        begin, end = span[0] or 0, span[1] or 0
        parts += [text[at:begin], _substituted(new, text, span)]
        if end == begin:
            parts.append(text[end : end + 1])
        at = end + (end == begin)
        length += len(parts[-1]) + len(new)
        if length > MAX_TEXT * 10:
            raise EvaluationError("The expression makes a string that is too long.")
    return "".join(parts) + text[at:]


def _substituted(new: str, text: str, span: Span) -> str:
    def group(match: re.Match[str]) -> str:
        number = int(match[1] or match[2])
        begin, end = span[2 * number], span[2 * number + 1]
        return text[begin:end] if begin is not None and end is not None else ""

    return _SUBSTITUTE.sub(group, new)

"""How alike two texts are: names as people and machines misspell them.

Source: Damerau, A technique for computer detection and correction of spelling errors, CACM 7(3), 1964: most errors are
one wrong, missing, extra or swapped letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

MAX: Final = 64  # letters that are compared


def is_near(one: str, other: str) -> bool:
    """Whether one error turns a text into the other; texts of less than four letters are near only when equal."""
    if one == other:
        return True
    one, other = one[:MAX], other[:MAX]
    if min(len(one), len(other)) < 4 or abs(len(one) - len(other)) > 1:
        return False
    start = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    one, other = one[start:], other[start:]
    if len(one) == len(other):
        return one[1:] == other[1:] or (one[:2] == other[1::-1] and one[2:] == other[2:])
    return one[1:] == other if len(one) > len(other) else one == other[1:]


def any_near(ones: Sequence[str], others: Sequence[str]) -> bool:
    """Whether some text of the one is near some text of the other."""
    return any(is_near(one, other) for one in ones for other in others)

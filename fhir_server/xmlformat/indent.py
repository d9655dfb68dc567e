"""FHIR XML with line ends and indents, for people to read; narratives stay as they are."""

from __future__ import annotations

import re
from typing import Final

_TAG: Final = re.compile(r"""<(?:[^"'>]|"[^"]*"|'[^']*')*>""")
_STEP: Final = "  "


def laid_out(body: bytes) -> bytes:
    """Return what `write` wrote with each element on a line of its own.

    White space inside a narrative has a meaning, so nothing is added there.
    """
    lines: list[str] = []
    depth = inside = 0  # elements around; divs around, of a narrative
    text = body.decode()
    for found in _TAG.finditer(text):
        tag = found[0]
        if inside or tag.startswith("<div"):
            if not inside:
                start = found.start()
            inside += _opens(tag, "div")
            if not inside:
                lines.append(_STEP * depth + text[start : found.end()])
            continue
        if tag.startswith("</"):
            depth -= 1
        lines.append(_STEP * depth + tag)
        if not tag.startswith(("</", "<?")) and not tag.endswith("/>"):
            depth += 1
    return "\n".join(lines).encode()


def _opens(tag: str, name: str) -> int:
    """Return by how much a tag changes the depth of elements of one name."""
    if tag.startswith(f"</{name}"):
        return -1
    return int(re.match(rf"<{name}[\s/>]", tag) is not None and not tag.endswith("/>"))

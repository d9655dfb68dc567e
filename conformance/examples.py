"""Every example of the specification, stored and read back: equal, decimals to the digit.

Works against any FHIR R4 base that allows update as create.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

_RESOURCE = ',"resource":'


@dataclass(slots=True)
class Report:
    """What came of the examples."""

    equal: int = 0
    refused: dict[str, str] = field(default_factory=dict)  # Type/id -> status and first diagnostics
    different: dict[str, str] = field(default_factory=dict)  # Type/id -> where


def read_lines(path: Path) -> Iterator[str]:
    """Yield the text of each resource of a file with one a line, packed by xz or not.

    A line may also be `{"file": name, "resource": the resource}`, in this order.
    """
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = line.strip()
            if text.startswith('{"file":'):
                text = text[text.index(_RESOURCE) + len(_RESOURCE) : -1]
            if text:
                yield text


def exact(text: str) -> Any:
    """Read JSON with each number as it is written."""
    return json.loads(text, parse_float=str, parse_int=str)


def difference(sent: Any, got: Any, path: str) -> str:
    """Return the first place where two values differ, "" where they are equal."""
    if isinstance(sent, dict) and isinstance(got, dict):
        for name in sent.keys() | got.keys():
            if (name in sent) != (name in got):
                return f"{path}.{name}"
            if found := difference(sent[name], got[name], f"{path}.{name}"):
                return found
        return ""
    if isinstance(sent, list) and isinstance(got, list):
        if len(sent) != len(got):
            return path
        return next(
            (f for n, (a, b) in enumerate(zip(sent, got, strict=True)) if (f := difference(a, b, f"{path}[{n}]"))), ""
        )
    return "" if type(sent) is type(got) and sent == got else path


def run(client: httpx.Client, texts: Iterable[str]) -> Report:
    """Store each resource under its id, read it back, compare.

    Args:
        client: With the FHIR base as its base URL, and the token in its headers.
        texts: One resource each, as JSON with an id.
    """
    report = Report()
    for text in texts:
        resource = exact(text)
        name = f"{resource['resourceType']}/{resource['id']}"
        headers = {"Content-Type": "application/fhir+json", "Prefer": "return=minimal"}
        stored = client.put(name, content=text.strip().encode(), headers=headers)
        if stored.status_code not in (200, 201):
            report.refused[name] = f"{stored.status_code} {_first(stored)}"
            continue
        got = exact(client.get(name, headers={"Accept": "application/fhir+json"}).text)
        for known in (resource, got):
            _without_server_values(known)
        if place := difference(resource, got, resource["resourceType"]):
            report.different[name] = place
        else:
            report.equal += 1
    return report


def _without_server_values(resource: dict[str, Any]) -> None:
    meta = resource.get("meta", {})
    meta.pop("versionId", None)
    meta.pop("lastUpdated", None)
    if not meta:
        resource.pop("meta", None)


def _first(answer: httpx.Response) -> str:
    try:
        issue = answer.json()["issue"][0]
    except (ValueError, LookupError):
        return "no OperationOutcome"
    return f"{issue.get('expression', [''])[0]} {issue.get('diagnostics', issue.get('code', ''))}"

"""The 122 Synthea bundles load by `predmp load`; a search of each type counts what a plain scan counts."""

from __future__ import annotations

import bz2
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningHub

SYNTHEA = Path(__file__).resolve().parents[3] / "shared" / "data" / "synthea"


def entries() -> Iterator[dict[str, Any]]:
    """Yield every entry of every bundle."""
    for path in sorted(SYNTHEA.glob("*.bz2")):
        yield from json.loads(bz2.decompress(path.read_bytes()))["entry"]


def scanned() -> Counter[str]:
    """Count resources by type; a conditional create counts once for each condition."""
    counts: Counter[str] = Counter()
    conditions: set[tuple[str, str]] = set()
    for entry in entries():
        type, condition = entry["resource"]["resourceType"], entry["request"].get("ifNoneExist", "")
        if not condition or (type, condition) not in conditions:
            counts[type] += 1
            conditions.add((type, condition))
    return counts


@pytest.mark.skipif(not SYNTHEA.is_dir(), reason="the Synthea bundles are not beside this checkout")
def test_synthea_loads_whole_and_every_type_is_counted_right(own_hub: RunningHub) -> None:
    done = own_hub.run("load", "--store", own_hub.store, "--json", str(SYNTHEA), timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    report = json.loads(done.stdout)
    expected = scanned()
    assert (report["failed"], report["stored"]) == ([], dict(sorted(expected.items())))
    assert "100%" in done.stderr  # the progress bar
    found = {type: own_hub.search(f"{type}?_summary=count")["total"] for type in expected}
    assert found == dict(expected)
    assert own_hub.search("Flag?_summary=count")["total"] == 0  # history, not measurements

"""The table of features: each `yes` names a test that is there, each `no` stands among the limits' subjects."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (ROOT / "docs/reference/features.md").read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| capability", "| operation"))
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_feature_has_its_test(row: list[str]) -> None:
    _, here, test = row
    assert (here == "no") == (test == "-")
    if here != "no":
        path, _, name = test.partition("::")
        assert re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE), test

"""`predmp triage eval`, and that the manual's page on rules says what the code does."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from triage_hooks import state
from triage_hooks.command import TRIAGE
from triage_hooks.ranks import RANKS
from triage_hooks.rules.inputs import INPUTS
from triage_hooks.rules.judge import JUDGES
from triage_hooks.rules.news2 import NEWS2
from triage_hooks.vital_signs import CONSCIOUSNESS, PANELS

MANUAL = Path(__file__).parents[2] / "docs" / "reference" / "rules.md"


def run(path: Path) -> int:
    parser = argparse.ArgumentParser()
    TRIAGE.configure(parser)
    return TRIAGE.run(parser.parse_args(["eval", str(path)]))


def test_outputs_come_in_the_order_of_the_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [
        {"id": "a", "rule": "news2_subscore", "input": {"parameter": "resp_rate", "value": 8}},
        {"id": "b", "rule": "unheard-of", "input": {}},
        {"id": "c", "rule": "shock_index", "input": {"heart_rate": 70, "systolic_bp": 120}},
        "text",
    ]
    path = tmp_path / "items.json"
    path.write_text(json.dumps(items))
    assert run(path) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"id": "a", "output": {"points": 3}},
        {"id": "b", "error": "there is no such rule"},
        {"id": "c", "output": {"index": 0.583, "class": "normal"}},
        {"id": None, "error": "this is no object"},
    ]


@pytest.mark.parametrize(
    "text",
    [pytest.param("{", id="no JSON"), pytest.param("{}", id="no array"), pytest.param(None, id="no file")],
)
def test_a_file_that_cannot_be_read_is_said(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "items.json"
    if text is not None:
        path.write_text(text)
    assert run(path) == 2
    assert capsys.readouterr().err.startswith("predmp triage eval: ")


def test_the_manual_names_every_rule_version_code_and_state() -> None:
    text = MANUAL.read_text()
    codes = [code for item in INPUTS.values() for _, code in item.codes]
    answers = [code for _, code in CONSCIOUSNESS]
    wanted = [*JUDGES, NEWS2.version, *codes, *answers, *(code for _, code in PANELS), *state.STEPS]
    assert [word for word in wanted if word not in text] == []
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for rank in RANKS[:4]:
        assert any(
            f"| {rank.code} | {rank.priority} | {rank.sla_min} min | {rank.indicator} |" in row for row in rows
        ), rank


def test_the_manuals_example_gives_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = MANUAL.read_text().split("```")[1]
    given, shown = block.strip().splitlines()
    path = tmp_path / "items.json"
    path.write_text(given.split("'")[1])
    assert run(path) == 0
    assert capsys.readouterr().out.strip() == shown

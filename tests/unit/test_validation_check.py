"""`predmp check`: one line for each problem, and the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_server.cli_check import check_files


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_that_holds_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _file(tmp_path, "a.json", '{"resourceType":"Patient"}')
    assert check_files([path]) == 0
    assert capsys.readouterr().out == ""


def test_each_problem_is_a_line_with_its_file_and_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = _file(tmp_path, "a.json", '{"resourceType":"Patient"}')
    bad = _file(tmp_path, "b.json", '{"resourceType":"Patient","active":"yes","name":[]}')
    assert check_files([good, bad]) == 1
    assert capsys.readouterr().out == (
        f"{bad}: Patient.active: This must be a JSON boolean.\n{bad}: Patient.name: An empty array is not allowed.\n"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("{", "The body is not valid JSON.", id="no JSON"),
        pytest.param("[]", "A resource is a JSON object.", id="an array"),
        pytest.param('{"resourceType":"X"}', "R4 has no resource of this resourceType.", id="an unknown type"),
    ],
)
def test_what_is_no_resource_is_a_problem_of_the_whole_file(
    text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _file(tmp_path, "a.json", text)
    assert check_files([path]) == 1
    assert capsys.readouterr().out == f"{path}: (root): {problem}\n"


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = _file(tmp_path, "b.json", '{"resourceType":"Patient","name":[]}')
    assert check_files([tmp_path / "absent.json", bad]) == 2
    printed = capsys.readouterr()
    assert "absent.json: No such file" in printed.err
    assert printed.out.count("\n") == 1

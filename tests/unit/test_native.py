"""Compiled modules: used where they belong to their sources, and only then."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fhir_server import native
from tools.native import LIBRARY, chosen, compile_into

ROOT = Path(__file__).resolve().parents[2]

SOURCE = '''"""A module to compile."""


class Sum:
    """Adds."""

    def __init__(self, start: int) -> None:
        self.total = start

    def add(self, more: int) -> int:
        """Add and return the sum."""
        self.total += more
        return self.total
'''
USE = """
import sys
from pathlib import Path
from fhir_server import native
native.install(Path(sys.argv[1]), Path(sys.argv[2]))
import shelf.sums as sums
print(sums.Sum(4).add(3), type(sums.Sum.add).__name__, native.is_installed())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with one source that is said to be compiled."""
    monkeypatch.delenv(native.SWITCH, raising=False)
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "sums.py").write_text(SOURCE)
    write_manifest(tmp_path)
    return tmp_path


def write_manifest(folder: Path, suffix: str = native.SUFFIX) -> None:
    sources = {"shelf.sums": native.digest(folder / "shelf" / "sums.py")}
    told = {"suffix": suffix, "library": LIBRARY, "sources": sources}
    (folder / native.MANIFEST).write_text(json.dumps(told))


def test_modules_compiled_from_these_sources_are_used(folder: Path) -> None:
    assert native.refusal(folder, folder) == ""


def test_a_source_that_changed_has_all_run_as_python(folder: Path) -> None:
    (folder / "shelf" / "sums.py").write_text(SOURCE + "\n")
    assert native.refusal(folder, folder) == "shelf.sums changed since it was compiled"


def test_a_source_that_is_gone_has_all_run_as_python(folder: Path) -> None:
    (folder / "shelf" / "sums.py").unlink()
    assert native.refusal(folder, folder) == "shelf.sums changed since it was compiled"


def test_modules_of_another_python_are_not_used(folder: Path) -> None:
    write_manifest(folder, suffix=".cpython-399-x86_64-linux-gnu.so")
    assert native.refusal(folder, folder) == "it was compiled for another Python"


def test_the_switch_has_all_run_as_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.SWITCH, "0")
    assert native.refusal(folder, folder) == "PREDMP_NATIVE is 0"


def test_a_module_that_was_imported_before_is_not_mixed_with_compiled_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shelf.sums", native)
    assert native.refusal(folder, folder) == "shelf.sums was imported before"


@pytest.mark.parametrize("told", ["", "{", None], ids=["empty", "broken", "absent"])
def test_without_a_manifest_nothing_is_compiled(folder: Path, told: str | None) -> None:
    (folder / native.MANIFEST).unlink()
    if told is not None:
        (folder / native.MANIFEST).write_text(told)
    assert native.refusal(folder, folder) == "nothing is compiled"


def test_what_is_chosen_is_there_and_no_package_is_among_it() -> None:
    sources = chosen(ROOT)
    assert Path("fhir_server/gate.py") in sources
    assert not [source for source in sources if source.name == "__init__.py" or not (ROOT / source).exists()]


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler: nothing can be compiled")
def test_a_module_is_compiled_and_found_before_its_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "shelf" / "__init__.py").write_text("")
    (folder / "pyproject.toml").write_text("[tool.mypy]\nstrict = true\n")
    made = folder / "made"
    made.mkdir()
    monkeypatch.chdir(folder)
    compile_into(made, folder, [Path("shelf/sums.py")], folder / "work")
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    command = [sys.executable, "-c", USE, str(made), str(folder)]
    assert subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout == (
        "7 method_descriptor True\n"
    )
    (folder / "shelf" / "sums.py").write_text(SOURCE.replace("+= more", "-= more"))
    assert subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout == "1 function False\n"

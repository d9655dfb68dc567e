"""Compiled copies of hot modules, imported in place of their sources where they are there and belong to them.

`python -m tools.native` writes them here, with a manifest that names the sources by their SHA-256. One source that
changed since, another Python, or `PREDMP_NATIVE=0`, and the hub runs on the sources alone: all or none, since
compiled modules reach into each other without looking names up. Results are the same either way.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from hashlib import sha256
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

FOLDER: Final = Path(__file__).parent
MANIFEST: Final = "manifest.json"
SUFFIX: Final = EXTENSION_SUFFIXES[0]  # names the Python that an extension was compiled for
SWITCH: Final = "PREDMP_NATIVE"
_ROOT: Final = FOLDER.parents[1]  # of all packages


class Finder(MetaPathFinder):
    """Finds modules by name among files that were compiled for them."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a compiled module; None for any other."""
        file = self._files.get(fullname)
        if file is None:
            return None
        return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, str(file)))


def digest(source: Path) -> str:
    """Return what a manifest says of a source."""
    return sha256(source.read_bytes()).hexdigest()


def refusal(folder: Path = FOLDER, root: Path = _ROOT) -> str:
    """Return why the compiled modules of a folder are not to be used; "" where they are."""
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH} is 0"
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return "nothing is compiled"
    if manifest["suffix"] != SUFFIX:
        return "it was compiled for another Python"
    for module, expected in manifest["sources"].items():
        source = root.joinpath(*module.split(".")).with_suffix(".py")
        if not source.exists() or digest(source) != expected:
            return f"{module} changed since it was compiled"
        if module in sys.modules:
            return f"{module} was imported before"
    return ""


def install(folder: Path = FOLDER, root: Path = _ROOT) -> None:
    """Have the compiled modules of a folder found before their sources, where nothing speaks against it."""
    if is_installed() or refusal(folder, root):
        return
    manifest = json.loads((folder / MANIFEST).read_bytes())
    names = (*manifest["sources"], manifest["library"])
    sys.meta_path.insert(0, Finder({name: folder / f"{name}{SUFFIX}" for name in names}))


def is_installed() -> bool:
    """Whether this process runs compiled modules."""
    return any(isinstance(finder, Finder) for finder in sys.meta_path)


def state() -> str:
    """Return what this process runs, for people."""
    return "compiled modules" if is_installed() else f"sources ({refusal()})"

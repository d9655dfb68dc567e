"""Compile the hot modules into `fhir_server/native`: `python -m tools.native [--remove]`.

mypyc translates the modules that `[tool.native]` of pyproject.toml names into C, as one library, so that they call
each other without looking names up (https://mypyc.readthedocs.io). It takes about a minute and needs a C compiler
and Python's headers. Exit code 1 where that fails: the hub then runs on the sources.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from fhir_server.native import FOLDER, MANIFEST, SUFFIX, digest

ROOT: Final = Path(__file__).resolve().parents[1]
LIBRARY: Final = "predmp__mypyc"


def main() -> int:
    """Compile; return 0 where it was done, 1 where it could not be."""
    parser = argparse.ArgumentParser(prog="python -m tools.native", description="Compile the hot modules of the hub.")
    parser.add_argument("--remove", action="store_true", help="remove what is compiled: the hub runs on its sources")
    args = parser.parse_args()
    remove(FOLDER)
    if args.remove:
        return 0
    sources = chosen(ROOT)
    print(f"compiling {len(sources)} modules, a minute or two ...", flush=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            compile_into(FOLDER, ROOT, sources, Path(folder))
    except (OSError, subprocess.CalledProcessError, SystemExit) as error:
        print(f"not compiled, the hub runs on its sources: {error}", file=sys.stderr)
        return 1
    print(f"compiled into {FOLDER.relative_to(ROOT)}: the hub runs on them until a source changes")
    return 0


def chosen(root: Path) -> list[Path]:
    """Return the sources that are compiled, relative to the root, as its pyproject.toml tells them."""
    told = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["native"]
    named = {path.relative_to(root) for pattern in told["modules"] for path in root.glob(pattern)}
    return sorted(path for path in named - set(map(Path, told["except"])) if path.name != "__init__.py")


def name_of(source: Path) -> str:
    """Return the module of a source."""
    return ".".join(source.with_suffix("").parts)


def remove(target: Path) -> None:
    """Remove what was compiled before, the manifest first: without it nothing is used."""
    for path in (target / MANIFEST, *target.glob("*.so"), *target.glob("*.pyd")):
        path.unlink(missing_ok=True)


def compile_into(target: Path, root: Path, sources: list[Path], folder: Path) -> None:
    """Translate and compile sources of a root; the manifest comes last, so that what was interrupted is not used.

    Args:
        target: Where the extensions and the manifest go.
        root: What the sources are relative to.
        sources: Modules of Python.
        folder: For what is made on the way.
    """
    digests = {name_of(source): digest(root / source) for source in sources}
    for extension in translated(root, sources, folder):
        link(extension, built(extension, folder), folder)
    for made in folder.glob(f"*{SUFFIX}"):
        shutil.move(made, target / made.name)
    manifest = {"suffix": SUFFIX, "library": LIBRARY, "sources": digests}
    (target / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")


def translated(root: Path, sources: list[Path], folder: Path) -> list[Any]:
    """Return extensions (names, C files, flags) that mypyc made of the sources."""
    from mypyc.build import mypycify

    os.chdir(root)  # mypy names modules by their way from here
    made: list[Any] = mypycify(
        ["--config-file", "pyproject.toml", "--cache-dir", str(folder / "cache"), *map(str, sources)],
        opt_level="2",
        debug_level="0",
        multi_file=True,
        target_dir=str(folder / "c"),
        group_name=LIBRARY.removesuffix("__mypyc"),
    )
    return made


def built(extension: Any, folder: Path) -> list[str]:
    """Compile the C files of an extension, as many at once as there are cores; return the object files."""
    includes = [f"-I{path}" for path in {*extension.include_dirs, sysconfig.get_path("include")}]
    command = [*(os.environ.get("CC") or "cc").split(), "-fPIC", "-DNDEBUG", *extension.extra_compile_args, *includes]

    def one(source: str) -> str:
        made = str(folder / (source.replace(os.sep, "_").removesuffix(".c") + f".{extension.name}.o"))
        subprocess.run([*command, "-c", source, "-o", made], check=True, stdout=subprocess.DEVNULL)
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, extension.sources))


def link(extension: Any, objects: Iterable[str], folder: Path) -> None:
    """Make the extension of its object files."""
    linker = (sysconfig.get_config_var("LDSHARED") or "cc -shared").split()
    subprocess.run([*linker, *objects, "-o", str(folder / f"{extension.name}{SUFFIX}")], check=True)


if __name__ == "__main__":
    sys.exit(main())

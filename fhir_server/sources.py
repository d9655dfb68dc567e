"""Files of resources: found below paths, unpacked, read one ahead of the one that is loaded."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import tarfile
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from fhir_server.settings import SettingsError

SUFFIXES: Final = (".json", ".ndjson", ".jsonl", ".tgz")
PACKED: Final = (".gz", ".bz2")
MEMBERS: Final = (".json", ".ndjson", ".jsonl")
"""Of a packed folder: what is read of it."""
UNREADABLE: Final = (OSError, EOFError, tarfile.TarError, zlib.error)
"""What is raised where a file, packed or not, is damaged or cannot be read."""
CHUNK: Final = 262_144  # bytes
_CONDITIONAL: Final = tuple(
    f'"reference":"{type}?'.encode() for type in ("Practitioner", "Organization", "Location", "Patient")
)
_OVERLAP: Final = 64  # bytes: longer than a mark with its blanks


@dataclass(frozen=True, slots=True)
class Source:
    """One text to load: a file, or a member of a package."""

    name: str
    body: bytes


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Return every file to load below the paths; raise SettingsError for a path that is not there."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(item for item in path.rglob("*") if item.is_file() and _is_known(item))
        elif path.is_file():
            found.append(path)
        else:
            raise SettingsError(f"{path} is not there")
    return found


def count_others(paths: Sequence[Path]) -> Counter[str]:
    """Count the files below folders that `find_files` passes over, by suffix; hidden ones and a package's own aside."""
    files = (item for path in paths if path.is_dir() for item in path.rglob("*") if item.is_file())
    left = (item for item in files if not _is_known(item) and not item.name.startswith("."))
    return Counter(item.suffix or item.name[:40] for item in left if item.name != "package.json")


def _is_known(path: Path) -> bool:
    suffixes = [s for s in path.suffixes if s not in PACKED]
    return bool(suffixes) and suffixes[-1] in SUFFIXES and path.name not in ("package.json", ".index.json")


def is_archive(path: Path) -> bool:
    """Whether a file is a packed folder."""
    return path.suffix == ".tgz" or path.name.endswith(".tar.gz")


def read_file(path: Path) -> Iterator[Source]:
    """Yield the texts of a file, unpacked."""
    if is_archive(path):
        yield from _read_package(path)
        return
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    elif path.suffix == ".bz2":
        raw = bz2.decompress(raw)
    yield Source(path.name, raw)


def members_of(path: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield the members of a packed folder that are files.

    After the last one its checksum is looked at: to `tarfile` alone, a folder ends where it is damaged.
    """
    with gzip.open(path) as unpacked:
        with tarfile.open(fileobj=unpacked, mode="r:") as archive:
            for member in archive:
                if member.isfile():
                    yield archive, member
        while unpacked.read(CHUNK):
            continue


def _read_package(path: Path) -> Iterator[Source]:
    for package, member in members_of(path):
        name = member.name.rpartition("/")[2]
        if name.endswith(MEMBERS) and name not in ("package.json", ".index.json"):
            opened_member = package.extractfile(member)
            if opened_member is not None:
                yield Source(name, opened_member.read())


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path))
    return cast(IO[bytes], bz2.open(path)) if path.suffix == ".bz2" else path.open("rb")


def waits(path: Path) -> bool:
    """Whether a file refers to others by condition, so that these should be there first.

    It is read only as far as the first such reference. One that cannot be read waits for nothing.
    """
    try:
        if is_archive(path):
            return any(_has_condition(source.body) for source in read_file(path))
        with _opened(path) as file:
            tail = b""
            while chunk := file.read(CHUNK):
                if _has_condition(tail + chunk):
                    return True
                tail = chunk[-_OVERLAP:]
    except UNREADABLE:
        return False  # said when it is loaded
    return False


def _has_condition(text: bytes) -> bool:
    compact = text.replace(b'": "', b'":"')
    return any(mark in compact for mark in _CONDITIONAL)


async def read_ahead(
    paths: Sequence[Path], passes: Callable[[], bool]
) -> AsyncIterator[tuple[Path, list[Source] | Exception | None]]:
    """Yield the texts of each file, or why it cannot be read; the next is unpacked meanwhile, in a thread.

    Args:
        paths: Each once.
        passes: Whether files that wait for others are passed by: None is yielded for those.
    """
    reading = [asyncio.create_task(asyncio.to_thread(_read, path, passes())) for path in paths[:1]]
    for number, path in enumerate(paths):
        sources = await reading.pop()
        if number + 1 < len(paths):
            reading.append(asyncio.create_task(asyncio.to_thread(_read, paths[number + 1], passes())))
        yield path, sources


def _read(path: Path, passes: bool) -> list[Source] | Exception | None:
    if passes and waits(path):
        return None
    try:
        return list(read_file(path))
    except UNREADABLE as error:
        return error

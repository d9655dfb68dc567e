"""Files of the watched folder: taken once complete, answered, moved; never twice, never through a link."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.hl7.connection import HangUp
from adapters.hl7.faults import Fault
from adapters.hl7.folder import Folder
from adapters.hl7.framing import END, VT
from adapters.hl7.reception import Reply
from fhir_server.errors import Unavailable
from tests.hl7_messages import adt, header


@dataclass
class Box:
    """Answers with a code; notes what it was given."""

    code: str = "AA"
    state: str = "received"
    taken: list[bytes] = field(default_factory=list)

    async def take(self, raw: bytes, fault: Fault | None = None) -> Reply:
        self.taken.append(raw)
        if fault is not None:
            return Reply([fault.code.encode()], fault.answer, state="quarantined")
        if self.code == "close":
            raise HangUp
        if raw == b"poison":
            raise RuntimeError("never shown")
        return Reply([f"MSH|^~\\&|X\rMSA|{self.code}\r".encode()], self.code, state=self.state)


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def folder(tmp_path: Path, box: Box) -> Folder:
    made = Folder(tmp_path, box.take, max_file=5000)
    made.prepare()
    return made


def found(path: Path) -> list[str]:
    """Return the files below a folder."""
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if not file.is_dir())


async def looks(folder: Folder, times: int = 2) -> list[int]:
    return [await folder.look() for _ in range(times)]


@pytest.mark.parametrize(
    ("code", "state", "left"),
    [
        pytest.param("AA", "received", ["done/a.hl7", "done/a.hl7.ack"], id="accepted"),
        pytest.param("AE", "quarantined", ["failed/a.hl7", "failed/a.hl7.ack"], id="a fault of content"),
        pytest.param("AR", "quarantined", ["failed/a.hl7", "failed/a.hl7.ack"], id="rejected, and kept"),
        pytest.param("AR", "", ["a.hl7"], id="the store is down: it stays"),
        pytest.param("close", "", ["a.hl7"], id="the store is down, and its channel would hang up"),
    ],
)
async def test_a_file_is_answered_and_moved(
    folder: Folder, box: Box, tmp_path: Path, code: str, state: str, left: list[str]
) -> None:
    box.code, box.state = code, state
    (tmp_path / "a.hl7").write_bytes(adt().encode())
    assert await looks(folder) == [0, 1]  # at the second look it is the same
    assert (found(tmp_path), box.taken) == (left, [adt().encode()])


async def test_a_file_that_the_store_had_no_room_for_is_taken_later(folder: Folder, box: Box, tmp_path: Path) -> None:
    box.code, box.state = "AR", ""
    (tmp_path / "a.hl7").write_bytes(adt().encode())
    await looks(folder)
    box.code, box.state = "AA", "received"
    await looks(folder, 1)
    assert (found(tmp_path), len(box.taken)) == (["done/a.hl7", "done/a.hl7.ack"], 2)


async def test_a_file_that_is_still_written_is_left_until_it_is_not(folder: Folder, box: Box, tmp_path: Path) -> None:
    file = tmp_path / "a.hl7"
    file.write_bytes(b"MSH|^~")
    for size in range(3):
        await folder.look()
        file.write_bytes(adt().encode()[: 10 + size])
    assert box.taken == []
    file.write_bytes(adt().encode())
    await looks(folder)
    assert box.taken == [adt().encode()]


async def test_only_ordinary_files_with_the_right_name_are_taken(folder: Folder, box: Box, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("MSH|secret")
    (tmp_path / "link.hl7").symlink_to(secret)
    (tmp_path / "folder.hl7").mkdir()
    os.mkfifo(tmp_path / "pipe.hl7")
    (tmp_path / "a.txt").write_text("MSH|other")
    (tmp_path / ".hidden.hl7").write_text("MSH|hidden")
    (tmp_path / "empty.hl7").touch()
    (tmp_path / "B.HL7").write_bytes(adt().encode())
    await looks(folder, 3)
    assert box.taken == [adt().encode()]
    assert "done/B.HL7" in found(tmp_path)
    assert (tmp_path / "link.hl7").is_symlink()


async def test_a_file_that_became_a_link_after_the_look_is_not_followed(
    folder: Folder, box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, secret = tmp_path / "a.hl7", tmp_path / "secret"
    secret.write_text("MSH|secret")
    file.write_bytes(adt().encode())
    await folder.look()
    listed = {"a.hl7": folder._seen["a.hl7"]}
    monkeypatch.setattr("adapters.hl7.folder._listed", lambda path, stuck: listed)
    file.unlink()
    file.symlink_to(secret)
    await folder.look()
    assert box.taken == []


@pytest.mark.parametrize("linked", ["done", ".a.hl7.ack"])
async def test_no_link_leads_an_answer_out_of_the_folder(
    folder: Folder, box: Box, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, linked: str
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "kept").write_text("not for the sender")
    if linked == "done":
        (tmp_path / "done").rmdir()
        (tmp_path / "done").symlink_to(outside)
    else:
        (tmp_path / "done" / linked).symlink_to(outside / "kept")
    (tmp_path / "a.hl7").write_bytes(adt().encode())
    await looks(folder, 4)
    assert (found(outside), (outside / "kept").read_text()) == (["kept"], "not for the sender")
    assert (folder.counts["stuck"], (tmp_path / "a.hl7").exists()) == (1, True)


async def test_a_file_that_is_replaced_while_it_is_taken_stays_and_is_taken_too(
    folder: Folder, box: Box, tmp_path: Path
) -> None:
    first, second = (adt(control=control).encode() for control in ("C1", "C2"))
    take = box.take

    async def replacing(raw: bytes, fault: Fault | None) -> Reply:
        if raw == first:
            (tmp_path / "b.tmp").write_bytes(second)
            (tmp_path / "b.tmp").rename(tmp_path / "a.hl7")
        return await take(raw, fault)

    folder._take = replacing
    (tmp_path / "a.hl7").write_bytes(first)
    await looks(folder, 4)
    assert box.taken == [first, second]
    assert (tmp_path / "done" / "a.hl7").read_bytes() == second
    assert len([name for name in found(tmp_path) if name.endswith(".ack")]) == 2


async def test_a_file_that_cannot_be_read_is_told_of_once(
    folder: Folder, box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = os.open

    def refusing(path: object, *more: int, **most: int) -> int:
        if str(path).endswith("a.hl7"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *more, **most)  # type: ignore[arg-type]

    monkeypatch.setattr("adapters.hl7.folder.os.open", refusing)
    (tmp_path / "a.hl7").write_bytes(adt().encode())
    await looks(folder, 4)
    assert (box.taken, folder.counts["stuck"], caplog.text.count("Permission denied")) == ([], 1, 1)


async def test_files_that_are_stuck_or_empty_keep_no_other_waiting(
    folder: Folder, box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.hl7.folder.MOST", 2)
    for number in range(3):
        (tmp_path / f"empty{number}.hl7").touch()
        (tmp_path / f"poison{number}.hl7").write_bytes(b"poison")
    await looks(folder, 5)
    (tmp_path / "z.hl7").write_bytes(adt().encode())
    await looks(folder, 3)
    assert box.taken.count(adt().encode()) == 1


@pytest.mark.parametrize(
    ("written", "header"),
    [
        pytest.param(b"x" * 5001, b"", id="no message"),
        pytest.param(header().encode() + b"\r" + b"x" * 5000, header().encode() + b"\r", id="a message"),
        pytest.param(VT + header().encode() + b"\r" + b"x" * 5000, header().encode() + b"\r", id="a frame"),
    ],
)
async def test_of_a_file_that_is_too_long_the_header_is_answered(
    folder: Folder, box: Box, tmp_path: Path, written: bytes, header: bytes
) -> None:
    (tmp_path / "a.hl7").write_bytes(written)
    await looks(folder)
    assert (found(tmp_path), box.taken) == (["failed/a.hl7", "failed/a.hl7.ack"], [header])
    assert (tmp_path / "failed" / "a.hl7.ack").read_bytes() == b"207"


async def test_a_name_that_was_there_before_keeps_its_file(folder: Folder, box: Box, tmp_path: Path) -> None:
    for control in ("C1", "C2"):
        (tmp_path / "a.hl7").write_bytes(adt(control=control).encode())
        await looks(folder)
    names = found(tmp_path / "done")
    assert len(names) == 4
    assert {"a.hl7", "a.hl7.ack"} < set(names)
    assert (tmp_path / "done" / "a.hl7").read_bytes() == adt(control="C1").encode()


async def test_what_was_interrupted_after_its_answer_was_written_is_answered_again(
    folder: Folder, box: Box, tmp_path: Path
) -> None:
    (tmp_path / "done" / "a.hl7.ack").write_text("the answer before")
    (tmp_path / "a.hl7").write_bytes(adt().encode())
    await looks(folder)
    assert found(tmp_path) == ["done/a.hl7", "done/a.hl7.ack"]
    assert (tmp_path / "done" / "a.hl7.ack").read_text().startswith("MSH|")


async def test_a_file_that_cannot_be_moved_is_not_taken_again_and_again(
    folder: Folder, box: Box, tmp_path: Path
) -> None:
    (tmp_path / "done").rmdir()
    (tmp_path / "done").write_text("no folder")
    (tmp_path / "a.hl7").write_bytes(adt().encode())
    await looks(folder, 5)
    assert (len(box.taken), folder.counts["stuck"]) == (1, 1)


async def test_a_file_that_breaks_us_holds_back_no_other(
    folder: Folder, box: Box, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.hl7").write_bytes(b"poison")
    (tmp_path / "b.hl7").write_bytes(adt().encode())
    await looks(folder, 4)
    assert (found(tmp_path), len(box.taken)) == (["a.hl7", "done/b.hl7", "done/b.hl7.ack"], 2)
    assert "never shown" not in caplog.text


async def test_long_files_are_not_all_read_at_once(
    folder: Folder, box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.hl7.folder.AT_ONCE_BYTES", 2500)
    most: list[int] = []
    take_all = folder._take_all

    async def noted(names: list[str]) -> None:
        most.append(len(names))
        await take_all(names)

    monkeypatch.setattr(folder, "_take_all", noted)
    for number in range(5):
        (tmp_path / f"{number}.hl7").write_bytes(bytes([65 + number]) * 1000)
    await looks(folder)
    assert (most, len(box.taken)) == ([0, 2, 2, 1], 5)


async def test_frames_in_a_file_are_taken_one_by_one(folder: Folder, box: Box, tmp_path: Path) -> None:
    texts = [adt(control=f"C{n}").encode() for n in range(3)]
    (tmp_path / "a.hl7").write_bytes(b"".join(VT + text + END for text in texts))
    await looks(folder)
    assert box.taken == texts
    assert (tmp_path / "done" / "a.hl7.ack").read_bytes().count(b"MSA|AA") == 3


async def test_a_file_whose_last_frame_was_cut_off_is_not_accepted(folder: Folder, box: Box, tmp_path: Path) -> None:
    texts = [adt(control=f"C{n}").encode() for n in range(2)]
    (tmp_path / "a.hl7").write_bytes(VT + texts[0] + END + VT + texts[1])
    await looks(folder)
    assert box.taken == texts
    assert (tmp_path / "failed" / "a.hl7.ack").read_bytes().endswith(b"\r100")


async def test_files_are_taken_in_the_order_they_came(folder: Folder, box: Box, tmp_path: Path) -> None:
    for number in reversed(range(40)):
        file = tmp_path / f"{(number * 7) % 40}.hl7"
        file.write_bytes(str(number).encode())
        os.utime(file, ns=(number, number))
    await looks(folder)
    assert box.taken == [str(number).encode() for number in range(40)]


def test_a_folder_that_is_not_there_fails_the_start(tmp_path: Path, box: Box) -> None:
    with pytest.raises(Unavailable) as caught:
        Folder(tmp_path / "nowhere", box.take, max_file=1).prepare()
    assert "hl7_folder" in caught.value.text

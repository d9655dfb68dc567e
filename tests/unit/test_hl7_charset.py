"""Bytes become text by MSH-18; never by a guess that hides itself, never with replacement characters."""

from __future__ import annotations

import pytest

from adapters.hl7.charset import decode
from adapters.hl7.faults import Refused


def raw(charset: str, codec: str, name: str = "LEFÈVRE") -> bytes:
    return f"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5||||||{charset}\rPID|||1||{name}\r".encode(codec)


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        pytest.param("UNICODE UTF-8", "utf-8", id="UTF-8"),
        pytest.param("8859/1", "iso8859-1", id="Latin-1"),
        pytest.param("8859/15", "iso8859-15", id="Latin-9"),
        pytest.param("8859/1~UNICODE UTF-8", "iso8859-1", id="the first repetition counts"),
        pytest.param("UNICODE UTF-8", "utf-8-sig", id="UTF-8 with a byte order mark"),
        pytest.param("UNICODE", "utf-16", id="UTF-16 with a byte order mark"),
        pytest.param("UNICODE", "utf-16-le", id="UTF-16 without one"),
        pytest.param("UNICODE", "utf-16-be", id="UTF-16, big end first"),
        pytest.param("UNICODE UTF-16", "utf-16", id="UTF-16 by its full name"),
        pytest.param("UNICODE UTF-32", "utf-32", id="UTF-32 with a byte order mark"),
        pytest.param("UNICODE UTF-32", "utf-32-le", id="UTF-32 without one"),
        pytest.param("UNICODE UTF-32", "utf-32-be", id="UTF-32, big end first"),
        pytest.param("ISO-8859-15", "iso8859-15", id="a name that table 0211 does not have"),
        pytest.param("utf-8", "utf-8", id="another, in small letters"),
        pytest.param("windows-1252", "cp1252", id="a code page of Windows"),
    ],
)
def test_a_declared_character_set_is_used(charset: str, codec: str) -> None:
    found = decode(raw(charset, codec))
    assert found.text.startswith("MSH|")
    assert "LEFÈVRE" in found.text
    assert found.problems == ()


@pytest.mark.parametrize("charset", [pytest.param("", id="none declared"), pytest.param("ASCII", id="ASCII declared")])
@pytest.mark.parametrize("codec", ["utf-8", "cp1252"])
def test_text_that_is_not_ascii_is_read_and_the_guess_is_told(charset: str, codec: str) -> None:
    found = decode(raw(charset, codec))
    assert "LEFÈVRE" in found.text
    assert [(p.rule, p.code) for p in found.problems] == [("charset-guessed", codec)]


@pytest.mark.parametrize("charset", ["8859/1", "8859/15"])
def test_windows_text_under_the_name_of_a_western_set_is_read_as_it_was_meant(charset: str) -> None:
    found = decode(raw(charset, "cp1252", "L’ŒUVRE"))
    assert "L’ŒUVRE" in found.text
    assert (found.codec, [(p.rule, p.code) for p in found.problems]) == (
        f"iso{charset.replace('/', '-')}",
        [("charset-guessed", "cp1252")],
    )


@pytest.mark.parametrize("charset", ["8859/1", "8859/15"])
def test_utf_8_under_the_name_of_a_western_set_is_read_as_it_was_meant(charset: str) -> None:
    found = decode(raw(charset, "utf-8", "LEFÈVRE"))
    assert "LEFÈVRE" in found.text
    assert (found.codec, [(p.rule, p.code) for p in found.problems]) == ("utf-8", [("charset-guessed", "utf-8")])


@pytest.mark.parametrize(
    ("charset", "codec", "name", "told"),
    [
        pytest.param("ASCII~8859/15", "iso8859-15", "ZOÉ €", ["iso8859-15"], id="a set that is named second"),
        pytest.param("~8859/1", "cp1252", "L’ŒUVRE", ["iso8859-1"], id="Windows text under its name"),
        pytest.param("~8859/7", "utf-8", "LEFÈVRE", ["utf-8"], id="UTF-8 all the same"),
        pytest.param("~KLINGON", "cp1252", "LEFÈVRE", ["cp1252"], id="one that is not known"),
        pytest.param("~ISO IR87", "iso2022_jp", "山田", [], id="Japanese by ISO 2022"),
        pytest.param("ASCII~KLINGON~ISO IR159", "iso2022_jp_1", "山田", [], id="named third"),
    ],
)
def test_what_is_not_ascii_is_in_a_set_of_a_later_repetition(
    charset: str, codec: str, name: str, told: list[str]
) -> None:
    found = decode(raw(charset, codec, name))
    assert name in found.text
    assert [p.code for p in found.problems] == told


@pytest.mark.parametrize("part", [n for n in range(1, 17) if n != 12])
def test_every_part_of_8859_is_known(part: int) -> None:
    text = bytes(range(0xA1, 0x100)).decode(f"iso8859-{part}", "ignore")
    assert text in decode(raw(f"8859/{part}", f"iso8859-{part}", text)).text


@pytest.mark.parametrize(
    ("label", "codec", "name"),
    [
        pytest.param("GB 18030-2000", "gb18030", "王小明", id="GB 18030"),
        pytest.param("KS X 1001", "euc_kr", "김철수", id="KS X 1001"),
        pytest.param("BIG-5", "big5", "王小明", id="Big 5"),
        pytest.param("ISO IR87", "iso2022_jp", "山田", id="ISO IR87"),
        pytest.param("ISO IR159", "iso2022_jp_1", "山田", id="ISO IR159"),
        pytest.param("ISO IR14", "iso2022_jp_ext", "ﾔﾏﾀﾞ", id="ISO IR14, katakana by an escape"),
        pytest.param("ISO IR14", "shift_jis", "ﾔﾏﾀﾞ", id="ISO IR14, katakana in eight bits"),
        pytest.param("JIS X 0202", "iso2022_jp_ext", "山田", id="JIS X 0202"),
        pytest.param("JAS2020", "iso2022_jp_ext", "山田", id="JAS2020"),
        pytest.param("ISO IR6", "ascii", "DUPOND", id="ISO IR6 is ASCII"),
    ],
)
def test_sets_of_asia(label: str, codec: str, name: str) -> None:
    found = decode(raw(label, codec, name))
    assert (name in found.text, found.codec) == (True, codec)


def test_ascii_needs_no_guess() -> None:
    assert decode(raw("", "ascii", "DUPOND")).problems == ()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(raw("UNICODE UTF-8", "iso8859-1"), "102", id="Latin-1 bytes under the name of UTF-8"),
        pytest.param(raw("KLINGON", "utf-8"), "103", id="an unknown set"),
        pytest.param(raw("ISO IR14", "shift_jis", "山田"), "102", id="Shift JIS under the name of JIS X 0201"),
        pytest.param(raw("", "utf-8").replace(b"\xc3\x88", b"\x81\x8d"), "102", id="bytes that are in no set"),
    ],
)
def test_bytes_that_contradict_the_header_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(Refused) as caught:
        decode(data)
    assert caught.value.fault.code == code
    assert caught.value.fault.place.path == "MSH[1]-18"


def test_control_characters_are_left_out_and_told() -> None:
    found = decode(raw("UNICODE UTF-8", "utf-8", "DU\x00PO\x07ND"))
    assert "DUPOND" in found.text
    assert [p.rule for p in found.problems] == ["control-characters-left-out"]

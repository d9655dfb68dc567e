"""Escape sequences are decoded once, from left to right, and written so that nothing breaks a field."""

from __future__ import annotations

import pytest

from adapters.hl7.escapes import Delimiters, escape, is_kept_raw, unescape

USUAL = Delimiters()


@pytest.mark.parametrize(
    ("written", "text"),
    [
        pytest.param(r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f", id="each delimiter has its letter"),
        pytest.param(r"\E\T\E\ ", "\\T\\ ", id="an escaped escape character begins no sequence"),
        pytest.param(r"C:\temp\F\x", "C:\\temp|x", id="a lone backslash is data and the next sequence still counts"),
        pytest.param(r"a\.br\b", "a\nb", id="line break"),
        pytest.param(r"a\.sp3\b", "a\n\n\nb", id="vertical space of three lines"),
        pytest.param(r"a\.sk 2\b", "a  b", id="two blanks"),
        pytest.param(r"a\.sp99999999999\b", r"a\.sp99999999999\b", id="an absurd space stays as written"),
        pytest.param(r"\H\bold\N\ ", "bold ", id="highlighting is left out"),
        pytest.param(r"a\X0D0A\b", "a\r\nb", id="bytes, any even number of digits"),
        pytest.param(r"\XC3A9\ ", "é ", id="bytes in the message's character set"),
        pytest.param(r"\XFF\ ", r"\XFF\ ", id="bytes that are no text stay as written"),
        pytest.param(r"a\X00\b", r"a\X00\b", id="a control character stays as written"),
        pytest.param(r"\P\ ", "# ", id="truncation character"),
        pytest.param(r"\C2842\x\Zabc\ ", r"\C2842\x\Zabc\ ", id="other sets and local sequences stay as written"),
        pytest.param("\\", "\\", id="nothing but a backslash"),
        pytest.param(r"a\.ti-4\b\.in+2\c\.fi\d\.nf\e", "a b cde", id="indents are a blank, filling is nothing"),
        pytest.param(r"a\.BR\b\.ce\c", "a\nb\nc", id="a command in capitals; a centred line begins a line"),
        pytest.param("\\.sp" + "9" * 5000 + "\\", "\\.sp" + "9" * 5000 + "\\", id="a number of five thousand digits"),
        pytest.param(r"C:\N  \x", r"C:\N  \x", id="blanks end no sequence"),
    ],
)
def test_decoding(written: str, text: str) -> None:
    assert unescape(written, USUAL, "utf-8") == text


def test_the_message_names_its_own_escape_character() -> None:
    marks = Delimiters("!", "*", "%", "+", "@")
    assert unescape("a+F+b\\F\\c+T+", marks, "utf-8") == "a!b\\F\\c@"


def test_bytes_are_read_in_the_character_set_of_the_message() -> None:
    assert unescape(r"\XE9\ ", USUAL, "iso8859-1") == "é "
    assert unescape(r"\XC3A9\ \XE9\ ", USUAL, "ascii") == r"é \XE9\ "  # as bytes beside ASCII are read


def test_what_is_written_has_no_bare_delimiter_and_no_line_end() -> None:
    assert escape("A\rPID|1^&~\\\n", USUAL) == r"A\X0D\PID\F\1\S\\T\\R\\E\\X0A" + "\\"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        pytest.param(r"a\C2842\b", True, id="single-byte set switch"),
        pytest.param(r"a\Z12\b", True, id="local sequence"),
        pytest.param(r"a\F\b", False, id="an ordinary sequence"),
        pytest.param(r"a\F\b\S\C\T\d", False, id="a text between two sequences that looks like one"),
        pytest.param(r"a\XC3A\b", True, id="an odd number of digits"),
        pytest.param(r"a\XFF\b", True, id="bytes that are no text"),
        pytest.param(r"a\XC3A9\b", False, id="bytes that are text"),
        pytest.param(r"a\.sp 999\b", True, id="an absurd space"),
        pytest.param(r"C:\temp\new", False, id="a path"),
    ],
)
def test_sequences_that_are_kept_are_found(text: str, kept: bool) -> None:
    assert is_kept_raw(text, USUAL) is kept

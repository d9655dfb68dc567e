"""HL7 v2 transport and syntax on real sockets: points 1-7, 13-17, 36, 37 and 40 of the acceptance list."""

from __future__ import annotations

import re
import ssl
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.test_mllp import END, VT, Line, certificates, code, person, resources
from tests.hl7_messages import adt, header, message, pid, pv1
from tests.running import RunningHub, free_port

__all__ = ["certificates"]


@pytest.fixture
def one() -> str:
    """A number that no other test uses."""
    return uuid.uuid4().hex[:10].upper()


class Configured:
    """A hub with channels, a folder, and little patience."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder / "in", free_port()
        self.folder.mkdir()
        file = folder / "channels.toml"
        file.write_text(
            f"""
            [[channel]]
            name = "numbered"
            bind = "127.0.0.1:{self.port}"
            sequence = true
            batch = "batch"
            test = true
            [[channel]]
            name = "latin"
            senders = ["LATIN"]
            charset = "iso8859-15"
            [[channel]]
            name = "small"
            senders = ["SMALL"]
            max_message = 600
            [[channel]]
            name = "applied"
            senders = ["APPLIED"]
            ack_when = "applied"
            [[channel]]
            name = "plain"
            senders = ["PLAIN|CHU TEST"]
            enhanced = false
            """
        )
        flags = ("--hl7-channels", str(file), "--hl7-folder", str(self.folder), "--mllp-stall", "1")
        self.hub = RunningHub(*flags)


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configured]:
    made = Configured(tmp_path_factory.mktemp("configured"))
    with made.hub:
        yield made


class OtherLine(Line):
    """A connection to the channel with a port of its own."""

    def __init__(self, configured: Configured) -> None:
        port, configured.hub.mllp_port = configured.hub.mllp_port, configured.port
        try:
            super().__init__(configured.hub)
        finally:
            configured.hub.mllp_port = port


def family(hub: RunningHub, number: str) -> str:
    """Return the family name of the patient of this number."""
    (found,) = resources(hub.search(f"Patient?identifier={number}"))
    return str(found["name"][0]["family"])


def admitted(number: str, name: str = "DUPOND", control: str = "", **more: str) -> str:
    """Return an admission; `more` are fields of its header."""
    first = header(control=control or number, **more)
    return message(first, "EVN||20261120083000", person(number, name=f"{name}^Amélie"), pv1(f"V{number}"))


# --- framing -----------------------------------------------------------------------------------------------


def test_point_1_a_frame_split_at_every_byte_offset(hub: RunningHub, one: str) -> None:
    short = message(header(control=one), "EVN||2026", person(one), pv1(f"V{one}")).encode()
    data = VT + short + END
    with Line(hub) as line:
        for place in range(1, len(data)):
            line.sock.sendall(data[:place])
            line.sock.sendall(data[place:])
        answers = [line.receive() for _ in range(1, len(data))]
    assert {code(answer) for answer in answers} == {"AA"}
    assert len(set(answers)) == 1  # the same message: answered as the first time


def test_point_2_two_frames_in_one_packet_and_their_answers_in_order(hub: RunningHub, one: str) -> None:
    texts = [admitted(f"{one}{n}").encode() for n in range(2)]
    with Line(hub) as line:
        line.sock.sendall(b"".join(VT + text + END for text in texts))
        answers = [line.receive() for _ in texts]
    assert [re.search(r"MSA\|AA\|(\w+)", answer)[1] for answer in answers] == [f"{one}0", f"{one}1"]  # type: ignore[index]


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"\x00" * 50, id="NUL"),
        pytest.param(b"\r\n\r\n \t", id="line ends and blanks"),
        pytest.param(b"hello, who is there?\r\n", id="other text"),
        pytest.param(b"\x1c\r", id="another frame's end"),
    ],
)
def test_point_3_junk_between_frames(hub: RunningHub, one: str, junk: bytes) -> None:
    with Line(hub) as line:
        line.sock.sendall(
            junk + VT + admitted(f"{one}A").encode() + END + junk + VT + admitted(f"{one}B").encode() + END
        )
        assert [code(line.receive()), code(line.receive())] == ["AA", "AA"]


def test_point_3_a_frame_without_end_is_kept_aside_and_the_next_one_is_taken(own_hub: RunningHub) -> None:
    text = admitted("P3", control="CUT1").encode()
    with Line(own_hub) as line:
        line.sock.sendall(VT + text[:120] + VT + text + END)
        answer = line.receive()
        assert "MSA|AA|CUT1" in answer  # the whole one, though the same control id was cut before it
        assert line.send(admitted("P3B")) == "AA"
    log = own_hub.run("hl7", "log", "--store", own_hub.store, "--json", "--state", "quarantined").stdout
    assert (log.count('"CUT1"'), '"code":"100"' in log.replace(": ", ":")) == (1, True)


def test_point_4_fs_inside_embedded_data(hub: RunningHub, one: str) -> None:
    text = admitted(one).encode() + b"OBX|1|ED|PDF||^AP^PDF^A^%PDF\x1c-1.4\x1c\x1c\x0bdata\r"
    with Line(hub) as line:
        assert line.send(text) == "AA"
    assert family(hub, one) == "DUPOND"


def test_point_5_a_message_of_16_mib_and_one_byte_is_refused_and_the_connection_closed(
    hub: RunningHub, one: str
) -> None:
    start = admitted(one).encode() + b"NTE|1||"
    with Line(hub) as line:
        line.sock.sendall(VT + start)
        sent = len(start)
        try:
            while sent <= 16_777_216:
                sent += line.sock.send(b"x" * min(262_144, 16_777_217 - sent))
        except OSError:
            assert sent > 16_000_000
        answer = line.receive()
        assert f"MSA|AR|{one}" in answer
        assert "|207^" in answer
        with pytest.raises(OSError):
            line.receive()
    with Line(hub) as line:
        assert line.send(admitted(one)) == "AA"  # the refused one does not hide the whole one
    assert hub.request("GET", "/readyz").status_code == 200


def test_point_6_slow_loris_loses_its_connection_and_others_are_served(configured: Configured, one: str) -> None:
    with Line(configured.hub) as slow, Line(configured.hub) as idle:
        slow.sock.sendall(VT + b"MSH|^~\\&|")
        slow.sock.settimeout(0.3)
        closed = False
        for _ in range(40):
            try:
                slow.sock.sendall(b"x")
                closed = slow.sock.recv(1000) == b""
            except TimeoutError:
                continue
            except OSError:
                closed = True
            if closed:
                break
        assert closed
        assert idle.send(admitted(one)) == "AA"


def test_point_6_a_frame_that_lacks_only_its_cr_is_answered(configured: Configured, one: str) -> None:
    with Line(configured.hub) as line:
        line.sock.sendall(VT + admitted(one).encode() + b"\x1c")
        assert code(line.receive()) == "AA"
        assert line.send(admitted(f"{one}B")) == "AA"


@pytest.fixture(scope="module")
def tls_hub(certificates: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    file = tmp_path_factory.mktemp("tls-channels") / "channels.toml"
    file.write_text('[default]\nopen = false\n[[channel]]\nname = "lab"\ncertificates = ["client"]\n')
    flags = ("--mllp-tls-cert", str(certificates["server"]), "--mllp-tls-client-ca", str(certificates["ca"]))
    with RunningHub(*flags, "--hl7-channels", str(file)) as running:
        yield running


def context(certificates: dict[str, Path], shown: str = "") -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(certificates["ca"]))
    if shown:
        made.load_cert_chain(certificates[shown])
    return made


@pytest.mark.parametrize(
    ("shown", "tls"),
    [
        pytest.param("", True, id="no certificate"),
        pytest.param("", False, id="no TLS"),
        pytest.param("server", True, id="a certificate that no channel is for"),
    ],
)
def test_point_7_tls_without_the_right_client_certificate_is_refused(
    tls_hub: RunningHub, certificates: dict[str, Path], one: str, shown: str, tls: bool
) -> None:
    with pytest.raises(OSError), Line(tls_hub, context(certificates, shown) if tls else None) as line:
        line.send(admitted(one))
    assert tls_hub.search(f"Patient?identifier={one}").get("entry", []) == []


def test_point_7_the_right_certificate_is_served_and_old_protocols_are_not(
    tls_hub: RunningHub, certificates: dict[str, Path], one: str, tmp_path: Path
) -> None:
    file = tmp_path / "one.hl7"
    file.write_text(admitted(one), newline="")
    options = ("--ca", str(certificates["ca"]), "--cert", str(certificates["client"]), "--server-name", "localhost")
    done = tls_hub.run("hl7", "send", str(file), "--to", f"127.0.0.1:{tls_hub.mllp_port}", *options)
    assert (done.returncode, done.stdout.split()[1:]) == (0, [one, "AA"]), done.stderr
    old = context(certificates, "client")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        Line(tls_hub, old)
    assert 'predmp_mllp_certificate_ends_seconds{certificate="server"}' in tls_hub.request("GET", "/metrics").text


# --- syntax ------------------------------------------------------------------------------------------------


def test_point_13_five_encoding_characters_at_2_5(hub: RunningHub, one: str) -> None:
    text = admitted(one, "A\\P\\B").replace("MSH|^~\\&|", "MSH|^~\\&#|", 1)
    with Line(hub) as line:
        line.sock.sendall(VT + text.encode() + END)
        answer = line.receive()
    assert f"MSA|AA|{one}" in answer
    assert family(hub, one) == "A#B"


@pytest.mark.parametrize("marks", ["!*%+@", "#$:?;", "\x7f\x01"[:1] + "^~\\&"])
def test_point_14_custom_delimiters(hub: RunningHub, one: str, marks: str) -> None:
    text = admitted(one, "A|^&~B").translate(str.maketrans("|^~\\&", marks))
    text = text.replace(f"A{marks[0]}{marks[1]}{marks[4]}{marks[2]}B", "DU-PONT")
    with Line(hub) as line:
        assert line.send(text) == "AA"
    assert family(hub, one) == "DU-PONT"


@pytest.mark.parametrize("marks", ["|^^\\&", "|AB\\&", "|^~\\&#!"])
def test_point_14_delimiters_that_cannot_be_told_apart_are_refused(hub: RunningHub, one: str, marks: str) -> None:
    with Line(hub) as line:
        line.sock.sendall(VT + admitted(one).replace("|^~\\&", marks, 1).encode() + END)
        answer = line.receive()
    assert (code(answer), "|102^" in answer) == ("AR", True)


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        pytest.param("8859/15", "iso8859-15", id="8859/15"),
        pytest.param("8859/1", "iso8859-1", id="8859/1"),
        pytest.param("", "cp1252", id="cp1252 without MSH-18"),
        pytest.param("", "utf-8", id="UTF-8 without MSH-18"),
        pytest.param("UNICODE UTF-8", "utf-8-sig", id="UTF-8 with its mark"),
        pytest.param("", "utf-8-sig", id="UTF-8 with its mark, without MSH-18"),
        pytest.param("UNICODE", "utf-16", id="UTF-16 with its mark"),
        pytest.param("UNICODE UTF-16", "utf-16-le", id="UTF-16, little end first"),
        pytest.param("UNICODE UTF-16", "utf-16-be", id="UTF-16, big end first"),
        pytest.param("8859/1~8859/15", "iso8859-1", id="the first repetition counts"),
    ],
)
def test_point_15_character_sets(hub: RunningHub, one: str, declared: str, codec: str) -> None:
    name = "CŒUR-É€" if codec not in ("iso8859-1",) else "CÔUR-É"
    facility = "HÔPITAL"
    with Line(hub) as line:
        line.sock.sendall(VT + admitted(one, name, f18=declared, f4=facility).encode(codec) + END)
        while END not in line.buffer:
            line.buffer += line.sock.recv(65_536)
    answer = line.buffer.partition(END)[0].lstrip(VT).decode(codec.replace("utf-8-sig", "utf-8"))
    assert f"MSA|AA|{one}" in answer
    assert facility in answer  # MSH-6 of the answer, in the same set
    assert f"|{declared}\r" in answer if declared else answer.count("\r") == 2
    assert family(hub, one) == name


def test_point_15_a_channel_s_own_default(configured: Configured, one: str) -> None:
    text = admitted(one, "CŒUR€", f18="", f3="LATIN").encode("iso8859-15")
    with Line(configured.hub) as line:
        line.sock.sendall(VT + text + END)
        while END not in line.buffer:
            line.buffer += line.sock.recv(65_536)
    assert b"MSA|AA|" in line.buffer
    assert family(configured.hub, one) == "CŒUR€"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        pytest.param(r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f", id="every delimiter"),
        pytest.param(r"x\E\T\E\y", "x\\T\\y", id="an escaped escape begins nothing"),
        pytest.param(r"C:\DATA\x", "C:\\DATA\\x", id="lone backslashes are data"),
        pytest.param(r"caf\XC3A9\s", "cafés", id="bytes in the message's set"),
        pytest.param(r"\H\bold\N\x", "boldx", id="highlighting is left out"),
        pytest.param(r"a\Z12\b\C2842\c\M303\d", r"a\Z12\b\C2842\c\M303\d", id="local and other sets stay as written"),
    ],
)
def test_point_16_escapes_in_a_name(hub: RunningHub, one: str, written: str, text: str) -> None:
    with Line(hub) as line:
        assert line.send(admitted(one, written)) == "AA"
    assert family(hub, one) == text


def test_point_16_line_ends_in_a_text_result(hub: RunningHub, one: str) -> None:
    written = r"one\X0D0A\two\.br\three\.sp2\four\X0d0a0D0A\five"
    rows = f"OBR|1||{one}|T^Texte^L|||20261120\r" + f"OBX|1|ST|T^Texte^L||{written}||||||F\r"
    text = message(header("ORU^R01^ORU_R01", control=one), person(one)) + rows
    with Line(hub) as line:
        assert line.send(text) == "AA"
    (found,) = resources(hub.search(f"Observation?patient.identifier={one}"))
    assert found["valueString"].replace("\r\n", "\n") == "one\ntwo\nthree\n\nfour\n\nfive"


@pytest.mark.parametrize(
    "end", [pytest.param("\r\n", id="CRLF"), pytest.param("\n", id="LF"), pytest.param("\r", id="CR")]
)
def test_point_17_crlf_and_lf_part_segments(hub: RunningHub, one: str, end: str) -> None:
    with Line(hub) as line:
        assert line.send(admitted(one).replace("\r", end)) == "AA"
    assert family(hub, one) == "DUPOND"


def test_point_17_lf_is_data_where_cr_parts_segments(hub: RunningHub, one: str) -> None:
    with Line(hub) as line:
        assert line.send(admitted(one, "DU\nPONT")) == "AA"
    assert family(hub, one).split() == ["DU", "PONT"]


# --- batches, continuation, sequence -----------------------------------------------------------------------


def batch(messages: list[str], said: int | None = None, files: str = "1") -> str:
    count = len(messages) if said is None else said
    return (
        "FHS|^~\\&|DPI|CHU TEST|HUB|REGION|20261120||||F1\rBHS|^~\\&|DPI|CHU TEST|HUB|REGION|20261120||||B1\r"
        f"{''.join(messages)}BTS|{count}\rFTS|{files}\r"
    )


def test_point_36_a_batch_is_answered_message_by_message(hub: RunningHub, one: str) -> None:
    with Line(hub) as line:
        line.sock.sendall(VT + batch([admitted(f"{one}{n}") for n in range(3)]).encode() + END)
        answers = [line.receive() for _ in range(3)]
    assert [f"MSA|AA|{one}{n}" in answer for n, answer in enumerate(answers)] == [True] * 3
    assert [family(hub, f"{one}{n}") for n in range(3)] == ["DUPOND"] * 3


@pytest.mark.parametrize(
    ("said", "files", "place"),
    [
        pytest.param(5, "1", "BTS^1^1", id="BTS-1"),
        pytest.param(2, "3", "FTS^1^1", id="FTS-1"),
    ],
)
def test_point_36_fhs_bhs_with_a_wrong_count(hub: RunningHub, one: str, said: int, files: str, place: str) -> None:
    text = batch([admitted(f"{one}{n}") for n in range(2)], said, files)
    with Line(hub) as line:
        line.sock.sendall(VT + text.encode() + END)
        answer = line.receive()
        assert (code(answer), f"ERR||{place}|100^" in answer, "MSA|AE|F1" in answer) == ("AE", True, True)
        assert line.send(admitted(one)) == "AA"
    assert hub.search(f"Patient?identifier={one}0").get("entry", []) == []


def test_point_36_a_batch_over_http_and_messages_one_after_the_other(hub: RunningHub, one: str) -> None:
    texts = [admitted(f"{one}{n}") for n in range(4)]
    for sent in (batch(texts[:2]), "".join(texts[2:])):
        answer = hub.request("POST", "/hl7v2", content=sent.encode(), Content_Type="application/hl7-v2")
        assert (answer.status_code, answer.text.count("MSA|AA|")) == (200, 2)
    assert [family(hub, f"{one}{n}") for n in range(4)] == ["DUPOND"] * 4


def test_point_36_a_batch_is_answered_as_one_where_its_channel_says_so(configured: Configured, one: str) -> None:
    with OtherLine(configured) as line:
        line.sock.sendall(VT + batch([admitted(f"{one}{n}") for n in range(2)]).encode() + END)
        answer = line.receive()
    names = [segment[:3] for segment in answer.split("\r") if segment]
    assert names == ["FHS", "BHS", "MSH", "MSA", "MSH", "MSA", "BTS", "FTS"]
    assert "BTS|2\r" in answer


def test_point_36_a_continued_message_is_put_together(hub: RunningHub, one: str) -> None:
    first = message(header("ORU^R01^ORU_R01", control=f"{one}1"), person(one), f"OBR|1||{one}|T^Texte^L|||20261120")
    first += f"OBX|1|ST|T^Texte^L||begun \rADD|\rDSC|{one}P|F\r"
    last = header("ORU^R01^ORU_R01", control=f"{one}2", f14=f"{one}P") + "\rADD|and ended||||||F\r"
    with Line(hub) as line:
        line.sock.sendall(VT + first.encode() + END + VT + last.encode() + END)
        assert [f"MSA|AA|{one}{n}" in line.receive() for n in (1, 2)] == [True, True]
        assert line.send(last) == "AA"  # its answer was lost: answered as the first time
        line.sock.sendall(VT + last.replace(f"{one}P", "UNKNOWN").replace(f"{one}2", f"{one}3").encode() + END)
        assert "|204^" in line.receive()
    (found,) = resources(hub.search(f"Observation?patient.identifier={one}"))
    assert (found["valueString"], found["status"]) == ("begun and ended", "final")


def numbered(line: Line, number: str, patient: str) -> tuple[str, str]:
    """Send a message with this MSH-13; return MSA-1 and MSA-4."""
    line.sock.sendall(VT + admitted(patient, control=f"{patient}-{number}", f13=number).encode() + END)
    cells = next(segment for segment in line.receive().split("\r") if segment.startswith("MSA")).split("|")
    return cells[1], cells[4] if len(cells) > 4 else ""


def test_point_37_a_gap_of_msh_13(configured: Configured, one: str) -> None:
    with OtherLine(configured) as line:
        line.sock.sendall(VT + f"{header(kind='', control=one, f13='0')}\r".encode() + END)
        assert f"MSA|AA|{one}||1" in line.receive()
        assert numbered(line, "1", one) == ("AA", "2")
        assert numbered(line, "4", one) == ("AE", "2")  # a gap: not kept
        assert numbered(line, "2", one) == ("AA", "3")
        assert numbered(line, "2", one) == ("AA", "3")  # the same again: answered as the first time
        assert numbered(line, "1", f"{one}X") == ("AE", "3")  # another message with a number that was used
        assert numbered(line, "-1", f"{one}Y") == ("AA", "3")
        assert numbered(line, "x", f"{one}Z")[0] == "AE"
    configured.hub.stop()
    configured.hub.start()
    with OtherLine(configured) as line:
        assert numbered(line, "3", one) == ("AA", "4")  # what is expected is kept
        assert numbered(line, "0", f"{one}0") == ("AA", "1")
        assert numbered(line, "1", f"{one}1") == ("AA", "2")


# --- acknowledgements, channels, folder --------------------------------------------------------------------


def test_point_40_no_value_of_a_message_stands_in_its_answer(hub: RunningHub, one: str) -> None:
    marked = pid(id="", name="MARKEDNAME^MARKEDGIVEN", f7="MARKEDBIRTH", f11="MARKEDSTREET")
    for version in ("2.3", "2.4", "2.5", "2.6"):
        text = adt(control=f"{one}{version}", person=marked).replace("|P|2.5|", f"|P|{version}|")
        with Line(hub) as line:
            line.sock.sendall(VT + text.encode() + END)
            answer = line.receive()
        assert code(answer) == "AE"
        assert "MARKED" not in answer
    assert "MARKED" not in hub.logged()


@pytest.mark.parametrize(
    ("accept", "respond", "codes"),
    [
        pytest.param("AL", "NE", ["CA"], id="accept only"),
        pytest.param("AL", "AL", ["CA", "AA"], id="both"),
        pytest.param("NE", "AL", ["AA"], id="application only"),
        pytest.param("NE", "NE", [], id="none"),
        pytest.param("ER", "SU", ["AA"], id="errors, success"),
    ],
)
def test_enhanced_mode(hub: RunningHub, one: str, accept: str, respond: str, codes: list[str]) -> None:
    with Line(hub) as line:
        line.sock.sendall(VT + admitted(one, f15=accept, f16=respond).encode() + END)
        found = [line.receive() for _ in codes]
        assert [code(answer) for answer in found] == codes
        assert line.send(admitted(f"{one}N")) == "AA"  # nothing else came before it
    assert len({answer.split("|")[9] for answer in found}) == len(codes)  # each has a control id of its own


def test_an_acknowledgement_is_not_acknowledged(hub: RunningHub, one: str) -> None:
    with Line(hub) as line:
        line.sock.sendall(VT + message(header("ACK^A01^ACK", control=one), f"MSA|AA|{one}").encode() + END)
        line.sock.sendall(VT + message(header("ORA^R41^ORA_R41", control=one), f"MSA|AA|{one}").encode() + END)
        line.sock.sendall(VT + admitted(one).encode() + END)
        assert "ACK^A01^ACK" in line.receive()


def test_a_channel_says_how_its_sender_is_answered(configured: Configured, one: str) -> None:
    with Line(configured.hub) as line:
        line.sock.sendall(VT + admitted(one, f3="PLAIN", f15="AL", f16="AL").encode() + END)
        assert code(line.receive()) == "AA"
        assert line.send(admitted(f"{one}T", f11="T")) == "AR"  # no tests on this one
    with OtherLine(configured) as line:
        assert line.send(admitted(f"{one}T", f11="T")) == "AA"


def test_a_channel_may_take_only_short_messages(configured: Configured, one: str) -> None:
    with Line(configured.hub) as line:
        line.sock.sendall(VT + (admitted(one, f3="SMALL") + "NTE|1||" + "x" * 600 + "\r").encode() + END)
        answer = line.receive()
        assert (code(answer), f"|{one}" in answer, "|207^" in answer) == ("AR", True, True)
        assert line.send(admitted(one, f3="SMALL")) == "AA"


def test_a_channel_that_waits_for_the_effect_accepts_at_once_and_answers_again_when_it_is_there(
    configured: Configured, one: str
) -> None:
    with Line(configured.hub) as line:
        line.sock.sendall(VT + admitted(one, f3="APPLIED", f15="AL", f16="AL").encode() + END)
        assert [code(line.receive()), code(line.receive())] == ["CA", "AA"]
        assert line.send(admitted(f"{one}2", f3="APPLIED")) == "AA"
    assert family(configured.hub, one) == "DUPOND"


def test_files_of_the_watched_folder_are_answered_and_moved(configured: Configured, one: str) -> None:
    folder = configured.folder
    (folder / f"{one}-link.hl7").symlink_to("/etc/hostname")
    (folder / f"{one}-good.hl7.part").write_text(batch([admitted(f"{one}1"), admitted(f"{one}2")]), newline="")
    (folder / f"{one}-good.hl7.part").rename(folder / f"{one}-good.hl7")
    (folder / f"{one}-bad.hl7").write_text(adt(control=one, person=pid(id="")), newline="")
    good, bad = folder / "done" / f"{one}-good.hl7", folder / "failed" / f"{one}-bad.hl7"
    end = time.monotonic() + 20
    while not (good.exists() and bad.exists()):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert good.with_name(f"{good.name}.ack").read_text().count("MSA|AA|") == 2
    assert "|101^" in bad.with_name(f"{bad.name}.ack").read_text()
    assert (folder / f"{one}-link.hl7").is_symlink()
    assert [family(configured.hub, f"{one}{n}") for n in (1, 2)] == ["DUPOND"] * 2

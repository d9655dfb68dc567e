"""HL7 v2 transport on real sockets: points 1-7 and 40 of the acceptance list, answers, channels, the folder."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.test_mllp import END, VT, Line, certificates, code, person
from tests.hl7_messages import adt, header, message, pid, pv1
from tests.hl7_points import Configured, OtherLine, admitted, batch, configured, family, one
from tests.running import PATIENCE_S, RunningHub

__all__ = ["certificates", "configured", "one"]


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
        for _ in range(3 * PATIENCE_S):
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
    ("shown", "tls", "reason"),
    [
        pytest.param("", True, "peer did not return a certificate", id="no certificate"),
        pytest.param("", False, "wrong version number", id="no TLS"),
        pytest.param("expired", True, "certificate has expired", id="one that is over"),
        pytest.param("stranger", True, "certificate signature failure", id="one of another CA"),
        pytest.param("server", True, "refused", id="a certificate that no channel is for"),
    ],
)
def test_point_7_tls_without_the_right_client_certificate_is_refused(
    tls_hub: RunningHub, certificates: dict[str, Path], one: str, shown: str, tls: bool, reason: str
) -> None:
    with pytest.raises(OSError), Line(tls_hub, context(certificates, shown) if tls else None) as line:
        line.send(admitted(one))
    assert reason in tls_hub.log.read_text().rpartition("WARNING")[2]
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
        pytest.param("al", "never", ["CA"], id="in small letters, and a word of no table"),
        pytest.param("YES", "NO", ["AA"], id="words of no table"),
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
    end = time.monotonic() + PATIENCE_S
    while not (good.exists() and bad.exists()):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert good.with_name(f"{good.name}.ack").read_text().count("MSA|AA|") == 2
    assert "|101^" in bad.with_name(f"{bad.name}.ack").read_text()
    assert (folder / f"{one}-link.hl7").is_symlink()
    assert [family(configured.hub, f"{one}{n}") for n in (1, 2)] == ["DUPOND"] * 2

"""HL7 v2 from outside: a hub of its own process, real sockets, real commands."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.hl7_messages import adt, obx, oru, pid, pv1
from tests.running import PATIENCE_S, RunningHub, free_port

VT, END = b"\x0b", b"\x1c\r"


class Line:
    """One connection to the listener; a context manager."""

    def __init__(self, hub: RunningHub, tls: ssl.SSLContext | None = None) -> None:
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", hub.mllp_port), PATIENCE_S)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.buffer = b""

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, message: str | bytes) -> str:
        """Send one message and return MSA-1 of its answer."""
        self.sock.sendall(VT + (message if isinstance(message, bytes) else message.encode()) + END)
        return code(self.receive())

    def receive(self) -> str:
        while END not in self.buffer:
            part = self.sock.recv(65_536)
            if not part:
                raise ConnectionResetError
            self.buffer += part
        frame, _, self.buffer = self.buffer.partition(END)
        return frame.lstrip(VT).decode()


def code(answer: str) -> str:
    return answer.partition("\rMSA|")[2].split("|")[0]


@pytest.fixture
def one() -> str:
    """A number that no other test uses."""
    return uuid.uuid4().hex[:10].upper()


def admission(number: str, control: str) -> str:
    """Return an admission of a patient of this number, to a stay of this number."""
    return adt(control=control, person=person(number), stay=pv1(f"V{number}"))


def person(number: str, **more: str) -> str:
    return pid(id=f"{number}^^^CHU&1.2.250.1.999.1&ISO^PI", **more)


def resources(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in bundle.get("entry", [])]


def test_an_admission_and_results_can_be_read_as_soon_as_they_are_acknowledged(hub: RunningHub, one: str) -> None:
    with Line(hub) as line:
        assert line.send(admission(one, f"{one}1")) == "AA"
        (patient,) = resources(hub.search(f"Patient?identifier={one}"))
        rows = obx("8480-6^^LN", "140", "mmHg"), obx("8462-4^^LN", "85", "mmHg"), obx("718-7^^LN", "12.40", "g/dL")
        assert line.send(oru(*rows, control=f"{one}2", person=person(one))) == "AA"
    found = hub.request("GET", f"/fhir/Observation?patient={patient['id']}").text
    assert hub.search(f"Observation?patient={patient['id']}&code=http://loinc.org|85354-9")["total"] == 1
    assert '"value":12.40' in found.replace(": ", ":")
    assert hub.search(f"DiagnosticReport?patient={patient['id']}")["total"] == 1
    assert hub.search(f"Encounter?patient={patient['id']}&status=in-progress")["total"] == 1


def test_one_connection_takes_frames_split_and_joined_anywhere_in_order(hub: RunningHub, one: str) -> None:
    texts = [
        oru(obx(value=str(60 + n)), control=f"{one}-{n}", person=person(one), order=f"OBR|1||{n}") for n in range(40)
    ]
    data = b"".join(VT + text.encode() + END for text in texts)
    with Line(hub) as line:
        for start in range(0, len(data), 997):
            line.sock.sendall(data[start : start + 997])
        answers = [line.receive() for _ in texts]
    hub.settle()
    assert [a.rstrip("\r").rpartition("MSA|AA|")[2] for a in answers] == [f"{one}-{n}" for n in range(40)]
    (patient,) = resources(hub.search(f"Patient?identifier={one}"))
    assert hub.search(f"Observation?patient={patient['id']}")["total"] == 40


@pytest.mark.parametrize(
    ("text", "answer", "error"),
    [
        pytest.param("hello", "AR", "100", id="no message"),
        pytest.param("MSH|^~\\&|A", "AE", "101", id="a header's beginning"),
        pytest.param("MSH|^~\\&|A|B|C|D|2026||ZZZ^Z99|ID1|P|2.5\rPID|1", "AR", "200", id="an unknown type"),
        pytest.param("PID|1||x", "AR", "100", id="no header"),
        pytest.param(adt(control="X1", person=pid(id="")), "AE", "101", id="nobody"),
    ],
)
def test_what_cannot_be_taken_is_told_and_the_connection_goes_on(
    hub: RunningHub, one: str, text: str, answer: str, error: str
) -> None:
    with Line(hub) as line:
        line.sock.sendall(VT + text.encode() + END)
        got = line.receive()
        assert code(got) == answer
        assert f"|{error}^" in got
        assert line.send(admission(one, one)) == "AA"


def test_the_log_tells_what_was_not_used_and_no_value_is_in_the_server_s_log(own_hub: RunningHub) -> None:
    marked = person("MARKEDID", name="MARKEDNAME^X", f10="MARKEDRACE")
    with Line(own_hub) as line:
        assert line.send(adt(control="C1", person=marked) + "ZZZ|1|MARKEDSECRET\r") == "AA"
        assert line.send(oru(obx(value="MARKEDVALUE"), control="C2", person=pid(id="", name="MARKEDNAME"))) == "AE"
    own_hub.settle()
    done = own_hub.run("hl7", "log", "--store", own_hub.store, "--json")
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["control_id"], first["state"], first["type"]) == ("C1", "applied", "ADT^A01")
    assert {"ZZZ", "PID-10"} <= set(first["unused"])
    assert [r.partition("/")[0] for r in first["resources"]] == ["Patient", "Encounter"]
    assert (second["state"], second["error"]["code"], second["error"]["path"]) == ("quarantined", "101", "PID[1]-3")
    assert "MARKED" not in done.stdout.replace("MARKEDID", "")
    assert "MARKED" not in own_hub.logged()
    metrics = own_hub.request("GET", "/metrics").text
    assert 'predmp_hl7_messages_total{answer="AA",state="applied"} 1' in metrics
    assert "MARKED" not in metrics
    only = own_hub.run("hl7", "log", "--store", own_hub.store, "--control-id", "C2")
    assert (only.returncode, len(only.stdout.splitlines())) == (0, 1)
    assert own_hub.run("hl7", "log", "--store", own_hub.store, "--control-id", "C9").returncode == 1


def test_a_stored_message_is_replayed_by_command_and_changes_nothing(own_hub: RunningHub) -> None:
    with Line(own_hub) as line:
        assert line.send(oru(control="C1")) == "AA"
    own_hub.settle()
    done = own_hub.run("hl7", "replay", "C1", "--store", own_hub.store)
    words = done.stdout.split()
    assert (done.returncode, words[:3], set(words[3::2])) == (0, ["C1", "AA", "applied"], {"unchanged"})
    (made,) = resources(own_hub.search("Observation"))
    assert made["meta"]["versionId"] == "1"
    assert own_hub.run("hl7", "replay", "C9", "--store", own_hub.store).returncode == 2


def test_messages_are_sent_by_command(hub: RunningHub, one: str, tmp_path: Path) -> None:
    file = tmp_path / "two.hl7"
    both = admission(one, f"{one}1") + oru(control=f"{one}2", person=person(one))
    file.write_text(both.replace("\r", "\n"), "utf-8")
    done = hub.run("hl7", "send", str(file), "--to", f"127.0.0.1:{hub.mllp_port}")
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["AA", "AA"]


def test_over_http_one_message_is_answered_with_its_acknowledgement(hub: RunningHub, one: str) -> None:
    text = admission(one, one).encode()
    answer = hub.request("POST", "/hl7v2", content=text, Content_Type="application/hl7-v2; charset=utf-8")
    assert (answer.status_code, code(answer.text)) == (200, "AA")
    assert answer.headers["content-type"].startswith("application/hl7-v2")
    assert hub.search(f"Patient?identifier={one}")["total"] == 1


@pytest.mark.parametrize(
    ("token", "content", "kind", "status"),
    [
        pytest.param(None, b"MSH", "application/hl7-v2", 401, id="no token"),
        pytest.param("small", b"MSH", "application/hl7-v2", 403, id="too small a scope"),
        pytest.param("own", b"MSH", "application/hl7-v2", 403, id="a patient's own token"),
        pytest.param("", b"MSH", "application/json", 415, id="another type"),
        pytest.param("", b"MSH", "text/plain; charset=klingon", 415, id="an unknown charset"),
        pytest.param("", b"", "text/plain", 400, id="nothing"),
    ],
)
def test_over_http_what_is_refused_says_why(
    hub: RunningHub, token: str | None, content: bytes, kind: str, status: int
) -> None:
    given = hub.token("system/Patient.r") if token == "small" else token
    given = hub.token("patient/*.cruds", patient="p1") if token == "own" else given
    answer = hub.request("POST", "/hl7v2", token=given, content=content, Content_Type=kind)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_a_taken_port_fails_the_start_and_is_named(hub: RunningHub, tmp_path: Path) -> None:
    done = hub.run(
        "serve", "--http", f"127.0.0.1:{free_port()}", "--mllp", f"127.0.0.1:{hub.mllp_port}",
        "--store", f"sqlite:///{tmp_path}/other.db",
    )  # fmt: skip
    assert done.returncode == 2
    assert str(hub.mllp_port) in done.stderr
    assert "Traceback" not in done.stderr


def test_every_acknowledged_message_has_its_effect_once_after_kill_9(own_hub: RunningHub) -> None:
    acknowledged: list[str] = []
    enough = threading.Event()

    def send(number: int) -> None:
        try:
            with Line(own_hub) as line:
                for n in range(10_000):
                    control = f"{number}-{n}"
                    if (
                        line.send(oru(control=control, person=person(f"K{number}"), order=f"OBR|1||{control}|X^Y^L"))
                        == "AA"
                    ):
                        acknowledged.append(control)
                    if len(acknowledged) >= 100:
                        enough.set()
        except OSError:
            return

    threads = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    assert enough.wait(PATIENCE_S)
    own_hub.stop(signal.SIGKILL)
    for thread in threads:
        thread.join(PATIENCE_S)
    own_hub.start()
    with Line(own_hub) as line:
        for control in acknowledged[-20:]:
            again = oru(control=control, person=person(f"K{control[0]}"), order=f"OBR|1||{control}|X^Y^L")
            assert line.send(again) == "AA"
    assert hub_controls(own_hub) >= set(acknowledged)
    versions = set()
    url = "Observation?_count=500"
    while url:
        page = own_hub.search(url)
        versions |= {r["meta"]["versionId"] for r in resources(page)}
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        url = following[0].partition("/fhir/")[2] if following else ""
    assert versions == {"1"}


def hub_controls(hub: RunningHub) -> set[str]:
    """Return the control ids of all applied messages, once what was acknowledged is applied."""
    hub.settle()
    done = hub.run("hl7", "log", "--store", hub.store, "--json", "--state", "applied")
    return {json.loads(line)["control_id"] for line in done.stdout.splitlines()}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A CA; certificates of a server and a client that it signed, of one that is over, and of a client of another CA."""
    folder = tmp_path_factory.mktemp("tls")
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = certificate("ca", ca_key, "ca", ca_key, authority=True)
    made = {"ca": folder / "ca.pem"}
    made["ca"].write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for name in ("server", "client", "expired", "stranger"):
        key = ec.generate_private_key(ec.SECP256R1())
        signer = ec.generate_private_key(ec.SECP256R1()) if name == "stranger" else ca_key
        days = 30 if name == "expired" else 36_500
        made[name] = folder / f"{name}.pem"
        made[name].write_bytes(
            certificate(name, key, "ca", signer, authority=False, days=days).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return made


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
    days: int = 36_500,
) -> x509.Certificate:
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(signer, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def tls_hub(certificates: dict[str, Path]) -> Iterator[RunningHub]:
    flags = ("--mllp-tls-cert", str(certificates["server"]), "--mllp-tls-client-ca", str(certificates["ca"]))
    with RunningHub(*flags) as running:
        yield running


def test_a_client_with_a_certificate_is_served_over_tls(
    tls_hub: RunningHub, certificates: dict[str, Path], one: str
) -> None:
    context = ssl.create_default_context(cafile=str(certificates["ca"]))
    context.load_cert_chain(certificates["client"])
    with Line(tls_hub, context) as line:
        assert line.send(admission(one, one)) == "AA"


@pytest.mark.parametrize("encrypted", [pytest.param(True, id="TLS"), pytest.param(False, id="plain TCP")])
def test_a_client_without_one_is_not(
    tls_hub: RunningHub, certificates: dict[str, Path], encrypted: bool, one: str
) -> None:
    context = ssl.create_default_context(cafile=str(certificates["ca"])) if encrypted else None
    with pytest.raises(OSError), Line(tls_hub, context) as line:
        line.send(admission(one, one))
    assert tls_hub.request("GET", "/readyz").status_code == 200

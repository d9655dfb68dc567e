"""Acceptance points 41 to 46: what devices do wrong, over real sockets."""

from __future__ import annotations

import concurrent.futures
import http.server
import queue
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bedside import SYSTEM, Bedside, ago, seconds_ago
from tests.blackbox.test_mllp import END, VT, Line, code, resources
from tests.hl7_messages import header, message, pid, segment
from tests.running import PATIENCE_S, RunningHub

REFERENCE = "http://hl7.org/fhir/uv/phd/StructureDefinition/CoincidentTimeStampReference"
SPO2 = {"system": "mdc", "code": "150456", "unit": "262688"}


def point(text: str) -> pytest.MarkDecorator:
    """Give a test the id of an acceptance point."""
    return pytest.mark.parametrize("point", [pytest.param("", id=text)])


def gateway(name: str) -> dict[str, str]:
    return {"system": "urn:example:gateway", "value": name}


@pytest.mark.parametrize(
    "ids",
    [
        pytest.param(("", ""), id="point 41: the same reading through two gateways is stored once, without ids"),
        pytest.param(
            ("7", "7"), id="point 41: the same reading through two gateways is stored once, by the device's id"
        ),
        pytest.param(
            ("a-1", "b-9"), id="point 41: the same reading through two gateways is stored once, each its own id"
        ),
    ],
)
def test_point_41(hub: RunningHub, ids: tuple[str, str]) -> None:
    bed, at = Bedside(hub), ago(60)
    readings = [{**SPO2, "value": "97", "at": at, **({"id": id} if id else {})} for id in ids]
    results = [bed.send(reading, gateway=gateway(name))[0] for reading, name in zip(readings, "AB", strict=True)]
    assert [result["status"] for result in results] == ["stored", "duplicate"]
    assert results[0]["reference"] == results[1]["reference"]
    assert len(bed.found(f"Observation?patient={bed.patient}")) == 1


@point("point 41: two gateways that bring the same fifty readings at once")
def test_point_41_races(hub: RunningHub, point: str) -> None:
    bed = Bedside(hub)
    hub.operator  # noqa: B018  # made before threads ask for it
    readings = [{**SPO2, "value": str(90 + n % 9), "at": ago(600 + n)} for n in range(50)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(bed.send, *readings, gateway=gateway(name)) for name in "ABCD"]
        results = [one.result() for one in sent]
    for of_reading in zip(*results, strict=True):
        assert sorted(result["status"] for result in of_reading) == ["duplicate"] * 3 + ["stored"]
        assert len({result["reference"] for result in of_reading}) == 1


@point("point 42: a device clock that is one year off is corrected, and the correction traced, once")
def test_point_42(hub: RunningHub, point: str) -> None:
    bed, year = Bedside(hub), 365 * 86_400
    clock = {"device": ago(year), "gateway": ago(), "sync": "532234"}
    reading = {**SPO2, "value": "97", "at": ago(year + 3_600)}
    first = bed.stored(reading, clock=clock)
    second = bed.stored({**SPO2, "value": "96", "at": ago(year + 1_800)}, clock=clock)
    assert abs(seconds_ago(first["effectiveDateTime"]) - 3_600) < 120
    (trace,) = {
        extension["valueReference"]["reference"]
        for observation in (first, second)
        for extension in observation["extension"]
        if extension["url"] == REFERENCE
    }
    told = bed.get(trace)
    assert [told["code"]["coding"][0]["code"], told["component"][0]["code"]["coding"][0]["code"]] == ["67975", "68220"]
    assert (told["valueDateTime"], told["effectiveDateTime"]) == (clock["device"], clock["gateway"])
    # The same reading by another gateway, whose clock differs by some seconds, is still the same.
    later = {"device": clock["device"], "gateway": ago(-4)}
    (again,) = bed.send(reading, clock=later, gateway=gateway("B"))
    assert again == {"status": "duplicate", "reference": f"Observation/{first['id']}"}


@point("point 42: a time in the future, or of a clock never set, is not believed")
def test_point_42_no_correction_known(hub: RunningHub, point: str) -> None:
    bed = Bedside(hub)
    future, never = bed.send(
        {**SPO2, "value": 97, "at": ago(-3_600)}, {**SPO2, "value": 97, "at": "2000-01-01T00:04:00Z"}
    )
    assert [future["reason"], never["reason"]] == ["time-future", "time-implausible"]


@pytest.mark.parametrize(
    ("given", "absent"),
    [
        pytest.param({"sfloat": "07FF"}, "not-a-number", id="point 43: SFLOAT NaN"),
        pytest.param({"sfloat": "0x07fe"}, "positive-infinity", id="point 43: SFLOAT plus infinity"),
        pytest.param({"sfloat": 0x0802}, "negative-infinity", id="point 43: SFLOAT minus infinity"),
        pytest.param({"sfloat": "0800"}, "error", id="point 43: SFLOAT not at this resolution"),
        pytest.param({"float": "007FFFFF"}, "not-a-number", id="point 43: FLOAT NaN"),
        pytest.param({"value": "NaN"}, "not-a-number", id="point 43: NaN as a word"),
    ],
)
def test_point_43(hub: RunningHub, given: dict[str, Any], absent: str) -> None:
    bed = Bedside(hub)
    made = bed.stored({**SPO2, **given, "at": ago(60)})
    assert made["dataAbsentReason"]["coding"][0]["code"] == absent
    assert "valueQuantity" not in made
    scores = bed.found(f"Observation?patient={bed.patient}&category=survey")
    assert scores == [], "what is missing is not scored"


@point("point 43: an SFLOAT that is a number keeps its digits")
def test_point_43_a_number(hub: RunningHub, point: str) -> None:
    bed = Bedside(hub)
    (result,) = bed.send({**SPO2, "sfloat": "F3CC", "at": ago(60)})
    answer = hub.request("GET", f"/fhir/{result['reference']}")
    assert '"value":97.2,' in answer.text


@pytest.mark.parametrize(
    ("code", "value", "unit", "expected"),
    [
        pytest.param("150021", "16.0", "265987", '"value":120.0,', id="point 44: kilopascal by MDC unit code"),
        pytest.param("150021", "16.0", "kPa", '"value":120.0,', id="point 44: kilopascal by name"),
        pytest.param("150021", "12.5", "cmHg", '"value":125.0,', id="point 44: centimetres of mercury"),
        pytest.param("150021", "120.00", "mmHg", '"value":120.00,', id="point 44: millimetres keep their digits"),
    ],
)
def test_point_44(hub: RunningHub, code: str, value: str, unit: str, expected: str) -> None:
    bed = Bedside(hub)
    (result,) = bed.send({"system": "mdc", "code": code, "value": value, "unit": unit, "at": ago(60)})
    assert result["status"] == "stored", result
    text = hub.request("GET", f"/fhir/{result['reference']}").text
    assert expected in text and '"code":"mm[Hg]"' in text and f'"value":{value}' in text


@point("point 44: a pressure that is kilopascal and says millimetres of mercury is not believed")
def test_point_44_wrong_unit(hub: RunningHub, point: str) -> None:
    bed = Bedside(hub)
    (result,) = bed.send({"code": "8480-6", "value": "16.0", "unit": "mm[Hg]", "at": ago(60)})
    assert (result["status"], result["reason"]) == ("quarantined", "value-implausible")


@point("point 45: a reading while nobody is assigned is kept aside, and taken when an assignment covers its time")
def test_point_45(hub: RunningHub, point: str) -> None:
    bed = Bedside(hub, is_assigned=False)
    early, inside = ({**SPO2, "value": "95", "at": ago(seconds)} for seconds in (7_200, 1_800))
    assert {result["reason"] for result in bed.send(early, inside)} == {"patient-unassigned"}
    assert bed.found(f"Observation?patient={bed.patient}") == []
    use = {
        "resourceType": "DeviceUseStatement",
        "status": "active",
        "subject": {"reference": bed.patient},
        "device": {"reference": bed.device},
        "timingPeriod": {"start": ago(3_600)},
    }
    hub.create(use)
    end = time.monotonic() + PATIENCE_S
    while not (found := bed.found(f"Observation?patient={bed.patient}&code=59408-5")) and time.monotonic() < end:
        time.sleep(0.05)
    assert [observation["effectiveDateTime"] for observation in found] == [inside["at"]]
    assert bed.send(early)[0]["reason"] == "patient-unassigned"


class Subscriber:
    """An HTTP server that keeps what it is sent."""

    def __init__(self) -> None:
        self.got: queue.Queue[bytes] = queue.Queue()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                outer.got.put(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    made = Subscriber()
    yield made
    made.server.shutdown()
    made.server.server_close()


@point("point 46: a fall among many readings reaches its subscriber, once; `python -m bench.alerts` says how fast")
def test_point_46(hub: RunningHub, subscriber: Subscriber, point: str) -> None:
    bed = Bedside(hub)
    channel = {"type": "rest-hook", "endpoint": subscriber.url, "payload": "application/fhir+json"}
    criteria = f"Task?patient={bed.patient}&code=urn:predmp:triage:family|fall"
    hub.create(
        {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "falls",
            "criteria": criteria,
            "channel": channel,
        }
    )
    flood = [{**SPO2, "value": str(96 + n % 3), "at": ago(900 + n)} for n in range(80)]
    fall = {"system": "mdc", "code": "8519681", "at": ago(5)}
    results = bed.send(*flood, fall)
    assert results[-1]["status"] == "stored"
    assert b"alert-review" in subscriber.got.get(timeout=PATIENCE_S)
    (task,) = bed.found(f"Task?patient={bed.patient}&code=urn:predmp:triage:family|fall")
    (flag,) = bed.found(f"Flag?patient={bed.patient}&status=active")
    assert (task["status"], task["priority"]) == ("requested", "stat")
    assert task["focus"]["reference"] == results[-1]["reference"]
    assert task["reasonReference"]["reference"] == f"Flag/{flag['id']}"
    assert SYSTEM not in task["description"] and bed.serial not in task["description"]
    # A copy raises nothing; a second fall adds to the open alert.
    assert bed.send(fall)[0]["status"] == "duplicate"
    bed.send({**fall, "at": ago(1)})
    assert len(bed.found(f"Task?patient={bed.patient}&code=urn:predmp:triage:family|fall")) == 1


@point("section 6.4: an alarm of a device is a Flag that ends with it, answered ORA^R41, its value judged")
def test_an_alarm_over_mllp(hub: RunningHub, point: str) -> None:
    number, at = uuid.uuid4().hex[:12], ago().replace("-", "").replace(":", "").replace("T", "")[:14] + "+0000"

    def notice(control: str, phase: str, **parent: str) -> str:
        kind = "ORU^R40^ORU_R40"
        start = header(kind, f"{number}{control}", at, f12="2.6", f15="NE", f16="AL", f21="IHE_PCD_ACM_001^IHE PCD")
        about = {"f1": "1", "f3": f"{number}{control}^GW", "f4": "196616^MDC_EVT_ALARM^MDC", "f7": at, **parent}
        return message(
            start,
            pid(id=f"{number}^^^CHU&1.2.250.1.999.1&ISO^PI"),
            segment("OBR", **about),
            "OBX|1|CWE|196670^MDC_EVT_LO^MDC|1.1.1.1.1|150456^MDC_PULS_OXIM_SAT_O2^MDC|||L~PH~SP|||R",
            "OBX|2|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.1.1.1.2|82|262688^MDC_DIM_PERCENT^MDC|||||R",
            f"OBX|3|ST|68481^MDC_ATTR_EVENT_PHASE^MDC|1.1.1.1.3|{phase}||||||R",
        )

    with Line(hub) as line:
        line.sock.sendall(VT + notice("a", "start").encode() + END)
        answer = line.receive()
        assert "|ORA^R41^ORA_R41|" in answer and code(answer) == "AA"
        (patient,) = resources(hub.search(f"Patient?identifier={number}"))
        (flag,) = resources(hub.search(f"Flag?patient={patient['id']}&identifier={number}a"))
        assert flag["status"] == "active" and "end" not in flag["period"]
        assert hub.search(f"Task?patient={patient['id']}&code=alert-review")["total"] == 1
        assert line.send(notice("b", "end", f29=f"^{number}a&GW")) == "AA"
    ended = hub.request("GET", f"/fhir/Flag/{flag['id']}").json()
    assert ended["status"] == "inactive" and ended["period"]["start"] == flag["period"]["start"]
    assert ended["period"]["end"] >= ended["period"]["start"]

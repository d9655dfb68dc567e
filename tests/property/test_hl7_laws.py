"""Laws of the HL7 v2 adapter: what is written is read back, nothing is lost, no input breaks it."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7 import charset, tokens
from adapters.hl7.arrival import read
from adapters.hl7.escapes import Delimiters, escape, unescape
from adapters.hl7.faults import Refused
from adapters.hl7.framing import END, VT, Deframer, Frame
from adapters.hl7.grammar import structure
from adapters.hl7.group import group
from adapters.hl7.numbers import decimal
from adapters.hl7.times import Zone
from adapters.hl7.times import read as read_time
from fhir_server import gate
from fhir_server.validation import validate
from tests.hl7_messages import CHANNEL, adt, obx, oru, pid, pv1, resources

MARKS = st.permutations(list("|^~\\&#!$%*+@/:;<=>?_`{}")).flatmap(
    lambda marks: st.sampled_from([Delimiters(*marks[:5]), Delimiters(*marks[:6])])
)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\r\n\t"), max_size=12)
LEAVES = st.lists(TEXT, min_size=1, max_size=3)
PARTS = st.lists(LEAVES, min_size=1, max_size=3)
FIELD = st.lists(PARTS, min_size=1, max_size=3)
CODECS = st.sampled_from(["utf-8", "utf-16-le", "iso8859-1", "gb18030"])
NAMES = st.sampled_from(["PID", "PD1", "PV1", "ORC", "OBR", "OBX", "NTE", "SPM", "ZZZ", "PRT", "DSC", "x", "MSA"])


@given(TEXT, MARKS)
def test_what_is_escaped_is_read_back_and_breaks_nothing(text: str, marks: Delimiters) -> None:
    written = escape(text, marks)
    assert not set(written) & set(marks.field + marks.component + marks.repetition + marks.subcomponent + "\r\n")
    assert unescape(written, marks, "utf-8") == text


@given(FIELD, MARKS)
def test_a_field_of_any_shape_is_read_back(field: list[tokens.Parts], marks: Delimiters) -> None:
    written = tokens.write_field(field, marks)
    found = tokens.tokenize(f"MSH{marks.field}{marks.encoding}\rZZZ{marks.field}{written}")
    assert [s.name for s in found.segments] == ["MSH", "ZZZ"]
    assert (found.segments[1].repetitions(1) or [[[""]]]) == field


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30), CODECS)
def test_every_declared_character_set_is_read_back(name: str, codec: str) -> None:
    labels = {"utf-8": "UNICODE UTF-8", "utf-16-le": "", "iso8859-1": "8859/1", "gb18030": "GB 18030-2000"}
    text = f"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5||||||{labels[codec]}\rPID|||1||{escape(name, Delimiters())}\r"
    try:
        raw = text.encode(codec)
    except UnicodeEncodeError:
        return
    found = charset.decode(raw)
    assert found.text == text


@given(st.lists(NAMES, max_size=40), st.sampled_from(["ORU_R01", "ADT_A01", "ADT_A39"]))
def test_every_segment_is_in_the_tree_in_its_order(names: list[str], kind: str) -> None:
    segments = tokens.tokenize("\r".join(["MSH|^~\\&|A", *(f"{name}|1" for name in names)])).segments
    grammar = structure(kind, "2.5")
    assert grammar is not None
    found = group(segments, grammar)
    assert list(found.root.walk()) == segments
    assert {id(s) for s in found.strays} <= {id(s) for s in segments}


@given(st.lists(st.sampled_from(["PID", "OBR", "OBX", "NTE", "ZZZ"]), max_size=30))
def test_a_result_stands_below_the_patient_that_came_last_before_it(names: list[str]) -> None:
    segments = tokens.tokenize("\r".join(["MSH|^~\\&|A", "PID|0", *(f"{name}|1" for name in names)])).segments
    grammar = structure("ORU_R01", "2.5")
    assert grammar is not None
    expected: list[tuple[int, int]] = []
    last = 0
    for segment in segments:
        last = segment.number if segment.name == "PID" else last
        if segment.name == "OBX":
            expected.append((last, segment.number))
    found = []
    for part in group(segments, grammar).root.groups("PATIENT_RESULT"):
        patients = [s.number for s in part.walk() if s.name == "PID"]
        assert len(patients) == 1
        found += [(patients[0], s.number) for s in part.walk() if s.name == "OBX"]
    assert found == expected


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut data at these places."""
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(ends)]


def frames(chunks: list[bytes]) -> list[Frame]:
    deframer = Deframer(1000, 1000)
    found = [frame for chunk in chunks for frame in deframer.feed(chunk)]
    last = deframer.close()
    return [*found, last] if last else found


STREAM = st.lists(
    st.sampled_from([VT, END, b"\x1c", b"\r", b"\n", b"\x00", b"MSH|^~\\&|A", b"PID|1", b"x"]), max_size=30
).map(b"".join)


@given(STREAM, st.lists(st.integers(0, 400), max_size=8))
def test_frames_do_not_depend_on_how_the_bytes_arrive(data: bytes, places: list[int]) -> None:
    whole = frames([data])
    assert frames(cut(data, places)) == whole
    assert frames([bytes([byte]) for byte in data]) == whole


@given(
    st.lists(
        st.binary(max_size=20).filter(lambda b: VT not in b and END not in b and not b.endswith(b"\x1c")), max_size=6
    )
)
def test_framed_messages_come_out_as_they_were(messages: list[bytes]) -> None:
    data = b"".join(VT + message + END for message in messages)
    assert frames([data]) == [Frame(message) for message in messages]


def test_a_message_split_at_every_place_is_one_message() -> None:
    data = VT + adt().encode() + END
    for place in range(len(data) + 1):
        assert frames([data[:place], data[place:]]) == [Frame(adt().encode())]


@given(st.binary(max_size=200))
def test_no_bytes_break_reading(raw: bytes) -> None:
    found = read(CHANNEL, raw)
    assert (found.draft is None) != (found.fault is None)


SEEDS = (
    adt(person=pid(f11="1 RUE A^^BOURGES^^^^H", f13="^PRN^PH^^^^^^^^^02", f29="20261119"), stay=pv1(f45="20261121")),
    oru(
        obx(f7="50-90", f8="H"),
        obx("8480-6^^LN", "120", "mmHg"),
        obx("8462-4^^LN", "70", "mmHg"),
        obx(kind="SN", value=">^1^-^3"),
    ),
)
CHANGES = st.lists(st.tuples(st.integers(0, 500), st.sampled_from([*"|^~\\&\r\"'<-0AZé", ""])), max_size=12)


@given(st.sampled_from(SEEDS), CHANGES)
def test_whatever_is_made_of_a_damaged_message_is_valid(seed: str, changes: list[tuple[int, str]]) -> None:
    text = list(seed)
    for place, char in changes:
        text[place % len(text)] = char
    found = read(CHANNEL, "".join(text).encode())
    assert (found.draft is None) != (found.fault is None)
    for resource in resources(found):
        assert [i for i in validate(resource) if i.severity in ("error", "fatal")] == []


@given(st.text(max_size=25))
def test_no_text_breaks_the_header(text: str) -> None:
    try:
        assert tokens.tokenize(text).header.name == "MSH"
    except Refused as refused:
        assert refused.fault.answer == "AR"


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9))
def test_a_plain_number_is_written_as_it_came(number: Decimal) -> None:
    text = f"{number:f}"
    found = decimal(text)
    assert found is not None
    assert gate.write(found).decode() == text


@given(st.text("0123456789.+-", max_size=26))
def test_no_digits_break_a_time_or_a_number(text: str) -> None:
    moment = read_time(text, Zone(CHANNEL.zone))
    assert moment is None or moment.text[:4] == text.strip()[:4]
    assert decimal(text) is None or gate.parse(gate.write({"v": decimal(text)}))["v"] == Decimal(text)

"""Laws of transport and syntax: any tree, delimiters, character set, framing and batch comes out as it went in."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adapters.hl7 import ack, batch, charset, continuation, tokens
from adapters.hl7.channels import sender_of
from adapters.hl7.escapes import Delimiters, escape, unescape
from adapters.hl7.faults import TEXTS, Fault, Place, Refused
from adapters.hl7.framing import VT, Deframer, Frame, TooLong, whole
from tests.hl7_messages import CHANNEL

MARKS = st.permutations(list("|^~\\&#!$%*+@/:;<=>?_`{}")).flatmap(
    lambda marks: st.sampled_from([Delimiters(*marks[:5]), Delimiters(*marks[:6])])
)
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\r\n\t") | st.sampled_from("|^~\\&#éŒ€"),
    max_size=12,
)
LEAVES = st.lists(TEXT, min_size=1, max_size=3)
PARTS = st.lists(LEAVES, min_size=1, max_size=3)
FIELD = st.lists(PARTS, min_size=1, max_size=3)
SEGMENTS = st.lists(
    st.tuples(st.sampled_from(["PID", "OBX", "NTE", "ZZZ", "PRT", "ZBE"]), st.lists(FIELD, max_size=4)), max_size=6
)
LABELS = st.sampled_from(sorted(charset.CODECS))
ENDS = st.sampled_from(["\r", "\n", "\r\n"])


def shown(label: str) -> tuple[str, str]:
    """Return (what MSH-18 says, the codec that a sender writes in)."""
    return label, charset.CODECS[label]


def normal(field: list[tokens.Parts]) -> list[tokens.Parts]:
    """Return a field as it is read back: one that is empty has no repetition."""
    return [] if field == [[[""]]] else field


@settings(max_examples=60)
@given(SEGMENTS, MARKS, LABELS, ENDS)
def test_a_tree_is_read_back_from_its_bytes(
    segments: list[tuple[str, list[list[tokens.Parts]]]], marks: Delimiters, label: str, end: str
) -> None:
    said, codec = shown(label)
    assume("/" not in marks or not said.startswith("8859"))  # MSH-18 would be cut by the delimiters
    assume(not set(marks) & set(said))
    head = marks.field.join(["MSH", marks.encoding, *[""] * 15, said])
    lines = [
        marks.field.join([name, *(tokens.write_field(field, marks) for field in fields)]) for name, fields in segments
    ]
    try:
        raw = (end.join([head, *lines]) + end).encode(codec)
    except UnicodeEncodeError:
        assume(False)
    decoded = charset.decode(raw)
    found = tokens.tokenize(decoded.text, decoded.codec)
    assert [segment.name for segment in found.segments] == ["MSH", *(name for name, _ in segments)]
    assert found.syntax.delimiters == marks
    for segment, (_, fields) in zip(found.segments[1:], segments, strict=True):
        assert [segment.repetitions(n + 1) for n in range(len(fields))] == [normal(field) for field in fields]


@given(st.text(max_size=40), MARKS)
def test_no_text_breaks_decoding_and_one_without_escapes_stays(text: str, marks: Delimiters) -> None:
    made = unescape(text, marks, "utf-8")
    if marks.escape not in text:
        assert made == text


@given(st.lists(st.sampled_from(["\\E\\", "\\T\\", "\\F\\", "T", "F", "E", " ", "C:"]), max_size=12))
def test_escapes_are_decoded_once_from_left_to_right(pieces: list[str]) -> None:
    values = {"\\E\\": "\\", "\\T\\": "&", "\\F\\": "|"}
    assert unescape("".join(pieces), Delimiters(), "utf-8") == "".join(values.get(piece, piece) for piece in pieces)


@given(TEXT, st.sampled_from(["utf-8", "iso8859-15", "gb18030", "euc_kr"]))
def test_a_text_written_as_hexadecimal_bytes_is_read_back(text: str, codec: str) -> None:
    try:
        digits = text.encode(codec).hex().upper()
    except UnicodeEncodeError:
        assume(False)
    assume(digits != "")
    assert unescape(f"\\X{digits}\\", Delimiters(), codec) == text


BYTES = st.lists(
    st.sampled_from(
        [VT, b"\x1c", b"\r", b"\n", b"\x00", b"MSH|^~\\&|A", b"BHS", b"\xff\xfe", b"M\x00S\x00", b"x", b"yy"]
    ),
    max_size=24,
).map(b"".join)


@given(BYTES, st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_frames_are_the_same_however_their_bytes_arrive(data: bytes, sizes: list[int]) -> None:
    def frames(chunks: list[bytes]) -> tuple[list[Frame], bool]:
        deframer, found = Deframer(60, 60), list[Frame]()
        try:
            for chunk in chunks:
                for frame in deframer.feed(chunk):
                    found.append(frame)
        except TooLong:
            return found, True
        last = deframer.close()
        return [*found, *([last] if last else [])], False

    chunks, at = list[bytes](), 0
    while at < len(data):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(data[at : at + size])
        at += size
    assert frames(chunks) == frames([data]) == frames([bytes([byte]) for byte in data])


@given(BYTES)
def test_what_is_seen_at_a_glance_is_what_the_deframer_finds(data: bytes) -> None:
    if (message := whole(data)) is not None:
        deframer = Deframer(1000, 1000)
        assert (list(deframer.feed(data)), deframer.is_idle) == ([Frame(message)], True)


BODY = st.lists(st.sampled_from(["PID|1||x", "OBX|1|TX|||MSH|y", "NTE|1||BTS", "ZZZ|é", "BTSX|1"]), max_size=4)


@given(st.lists(BODY, min_size=1, max_size=5), ENDS, st.booleans(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_a_batch_parts_into_the_messages_it_was_made_of(
    bodies: list[list[str]], end: str, has_head: bool, codec: str
) -> None:
    messages = [["MSH|^~\\&|A|B|C|D|||ADT^A01|1", *body] for body in bodies]
    lines = [line for message in messages for line in message]
    if has_head:
        lines = ["FHS|^~\\&|A", "BHS|^~\\&|A", *lines, f"BTS|{len(messages)}", "FTS|1"]
    raw = (end.join(lines) + end).encode(codec)
    assert batch.is_batch(raw) is (has_head or len(messages) > 1)
    if batch.is_batch(raw):
        found = [message.decode("utf-16" if codec == "utf-16" else "utf-8") for message in batch.split(raw).messages]
        assert [message.split() for message in found] == [" ".join(message).split() for message in messages]


@given(st.binary(max_size=200) | BYTES)
def test_no_bytes_break_what_looks_at_a_message_first(raw: bytes) -> None:
    assert isinstance(ack.sender_of(raw), ack.Sender)
    assert len(sender_of(raw)) == 2
    assert continuation.concerns(raw) in (True, False)
    assert continuation.read(CHANNEL, raw) is None or raw
    if batch.is_batch(raw):
        try:
            assert len(batch.split(raw).messages) <= len(raw)
        except Refused as refused:
            assert refused.fault.code in ("100", "207")


SENDERS = st.builds(
    ack.Sender,
    application=st.text("AB^&~\\ ", max_size=5),
    facility=st.text("AB", max_size=5),
    receiving_application=st.text("AB^ é", max_size=5),
    receiving_facility=st.text("AB", max_size=5),
    charset=st.sampled_from(["", "8859/1", "UNICODE UTF-8~ISO IR87"]),
    processing=st.sampled_from(["P", "T^A", ""]),
    trigger=st.sampled_from(["", "A01", "R01", "R40", "x|y"]),
    control_id=st.text("0123456789", max_size=20),
    version=st.sampled_from(["", "2.1", "2.3", "2.4", "2.5", "2.8.2", "2.5^FRA^2.11", "x"]),
    accept=st.sampled_from(["", "AL", "NE", "ER", "SU"]),
    respond=st.sampled_from(["", "AL", "NE", "ER", "SU"]),
)
FAULTS = st.lists(
    st.builds(
        Fault,
        code=st.sampled_from(sorted(TEXTS)),
        place=st.builds(Place, st.sampled_from(["MSH", "PID", "Z|1"]), st.integers(1, 9), st.integers(0, 9)),
        detail=st.text(max_size=9),
    ),
    max_size=3,
)


@given(SENDERS, st.sampled_from(["AA", "AE", "AR", "CA", "CE", "CR"]), FAULTS)
def test_an_answer_is_always_a_message_that_names_what_it_answers(
    to: ack.Sender, code: str, faults: list[Fault]
) -> None:
    text = ack.write(to, code, at="20261120083000", own_id="X", faults=faults)
    found = tokens.tokenize(text)
    assert [segment.name for segment in found.segments[:2]] == ["MSH", "MSA"]
    assert (found.segments[1].raw(1), found.segments[1].raw(2)) == (code, to.control_id)
    errors = [segment for segment in found.segments if segment.name == "ERR"]
    counted = len(errors[0].repetitions(1)) if errors and to.is_of(ack.SHORT_ERR) else len(errors)
    assert counted == len(faults)


@given(TEXT)
def test_what_is_escaped_is_one_leaf(text: str) -> None:
    assert tokens.tokenize(f"MSH|^~\\&|{escape(text, Delimiters())}\r").header.text(3) in (text, "")

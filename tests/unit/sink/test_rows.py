"""Rows as published messages, against a small parser of PUB and HPUB and a model of headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nats_spark_common.errors import PublishError
from nats_spark_common.rows.compression import compress, decompress
from nats_spark_common.rows.messages import Messages
from nats_spark_common.sink.columns import MessageColumns
from nats_spark_common.sink.encode import encode
from nats_spark_common.sink.headers import BATCH_HEADERS, EXPECTED_STREAM, MSG_ID, add_lines
from nats_spark_common.sink.rows import RowMaker, Rows, check_sizes, concat_rows

LAYOUT = MessageColumns(subject=0, payload=1, headers=2, msg_id=3)
STRING, LARGE = pa.string(), pa.large_string()
ONE, MANY = pa.map_(STRING, STRING), pa.map_(STRING, pa.list_(STRING))
HEADER_TYPES = [ONE, MANY, pa.map_(LARGE, LARGE), pa.map_(LARGE, pa.list_(LARGE))]
Values = str | None | list[str | None]


@dataclass(frozen=True)
class Row:
    """A row of the user."""

    subject: str | None = "a"
    content: bytes | str | None = b""
    headers: Sequence[tuple[str, Values]] | None = None
    msg_id: str | None = None


@dataclass(frozen=True)
class Sent:
    """A publish as the server reads it; ``headers`` is ``None`` for PUB."""

    subject: str
    reply: str
    headers: list[tuple[str, str]] | None
    payload: bytes


def publishes(data: bytes) -> list[Sent]:
    """Parse bytes, and assert that they are complete publishes and nothing else."""
    found = []
    while data:
        line, _, rest = data.partition(b"\r\n")
        operation, subject, *args = line.decode().split(" ")
        assert operation in ("PUB", "HPUB")
        sizes = [int(args.pop()) for _ in range(1 if operation == "PUB" else 2)]
        total, block = sizes[0], rest[: sum(sizes[1:])]
        assert rest[total : total + 2] == b"\r\n"
        assert len(args) < 2
        reply = args[0] if args else ""
        pairs = pairs_of(block) if operation == "HPUB" else None
        found.append(Sent(subject, reply, pairs, rest[len(block) : total]))
        data = rest[total + 2 :]
    return found


def pairs_of(block: bytes) -> list[tuple[str, str]]:
    first, *lines, last, end = block.split(b"\r\n")
    assert (first, last, end) == (b"NATS/1.0", b"", b"")
    pairs = [line.decode().partition(": ") for line in lines]
    assert all(colon == ": " for _, colon, _ in pairs)
    return [(name, value) for name, _, value in pairs]


def batch(rows: Sequence[Row], kind: Any = MANY, text: Any = STRING) -> pa.RecordBatch:
    columns = [
        pa.array([row.subject for row in rows], text),
        pa.array([row.content for row in rows], text if is_text(rows) else pa.binary()),
        pa.array([row.headers for row in rows], kind),
        pa.array([row.msg_id for row in rows], text),
    ]
    return pa.RecordBatch.from_arrays(columns, names=["subject", "content", "headers", "msgId"])


def is_text(rows: Sequence[Row]) -> bool:
    return any(isinstance(row.content, str) for row in rows)


def made(
    *rows: Row, kind: Any = MANY, text: Any = STRING, default: str | None = None, ids: Any = None
) -> Rows:
    return RowMaker(LAYOUT, default, "none", ids).rows(batch(rows, kind, text))


def sent(rows: Rows, replies: Any = None) -> list[Sent]:
    frames = encode(rows, replies)
    return publishes(bytes(frames.part(0, len(frames))))


def headers_sent(*rows: Row, kind: Any = MANY, ids: Any = None) -> list[Any]:
    return [each.headers for each in sent(made(*rows, kind=kind, ids=ids))]


def expected(row: Row, number: int, default: str | None, prefix: str | None) -> Sent:
    """Return the publish of a row, built one header at a time."""
    own = (row.msg_id or "").strip(" \t\v\f") or (prefix and f"{prefix}{number}")
    pairs: list[tuple[str, str]] = []
    for name, values in row.headers or ():
        if name not in (*BATCH_HEADERS, MSG_ID):
            several = values if isinstance(values, list) else [values]
            pairs += [(name, value) for value in several if value is not None]
    pairs += [(MSG_ID, own)] if own else []
    content = row.content.encode() if isinstance(row.content, str) else row.content
    return Sent(row.subject or default or "", "", pairs or None, content or b"")


NAME_SIGNS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != ":")
NAMES = st.text(NAME_SIGNS, min_size=1, max_size=5) | st.sampled_from(
    [MSG_ID, *BATCH_HEADERS, MSG_ID.lower(), "NATS/1.0", "Nats-Batch-Id2"]
)
VALUES = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=6)
TOKEN_SIGNS = st.characters(codec="utf-8", min_codepoint=0x21, exclude_characters=".\x7f")
TOKENS = st.text(TOKEN_SIGNS, min_size=1, max_size=4).filter(lambda token: token not in ("*", ">"))
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=3).map(".".join)
BYTES = st.none() | st.binary(max_size=20) | st.just(b"\r\nPUB a 1\r\nx\r\n")


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Row], pa.RecordBatch, str | None]:
    """Rows, a batch of them that may be a slice of a larger one, and the default subject."""
    kind, text = draw(st.sampled_from(HEADER_TYPES)), draw(st.sampled_from([STRING, LARGE]))
    single = kind.item_type in (STRING, LARGE)
    values: st.SearchStrategy[Any] = VALUES if single else st.none() | st.lists(VALUES, max_size=3)
    default = draw(st.none() | SUBJECTS)
    one = st.builds(
        Row,
        SUBJECTS if default is None else st.none() | SUBJECTS,
        st.none() | st.text(max_size=8) if draw(st.booleans()) else BYTES,
        st.none() | st.lists(st.tuples(NAMES, values), max_size=4),
        VALUES,
    )
    rows = draw(st.lists(one, max_size=8))
    start = draw(st.integers(0, len(rows)))
    stop = draw(st.integers(start, len(rows)))
    return rows[start:stop], batch(rows, kind, text).slice(start, stop - start), default


@given(batches(), st.none() | st.just("query/3/0/"))
@settings(max_examples=400)
def test_what_is_encoded_is_what_the_rows_say(
    drawn: tuple[list[Row], pa.RecordBatch, str | None], prefix: str | None
) -> None:
    rows, columns, default = drawn
    maker = RowMaker(LAYOUT, default, "none", prefix)
    assert sent(maker.rows(columns)) == [
        expected(row, number, default, prefix) for number, row in enumerate(rows)
    ]


@given(batches(), st.data())
@settings(max_examples=150)
def test_each_row_can_be_sent_by_itself(
    drawn: tuple[list[Row], pa.RecordBatch, str | None], data: st.DataObject
) -> None:
    rows = RowMaker(LAYOUT, drawn[2], "none", None).rows(drawn[1])
    answered = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    replies = [f"_INBOX.x.{i} " if answered[i] else "" for i in range(len(rows))]
    frames = encode(rows, pa.array(replies, STRING))
    alone = [publishes(bytes(frames.part(i, i + 1))) for i in range(len(frames))]
    assert [[each.reply for each in some] for some in alone] == [[r.strip()] for r in replies]


@given(batches(), st.data())
@settings(max_examples=150)
def test_slicing_masking_and_concatenating_keep_the_rows(
    drawn: tuple[list[Row], pa.RecordBatch, str | None], data: st.DataObject
) -> None:
    rows = RowMaker(LAYOUT, drawn[2], "none", None).rows(drawn[1])
    cut = data.draw(st.integers(0, len(rows)))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=cut, max_size=cut)), bool)
    parts = concat_rows([rows.slice(0, cut).where(mask), rows.slice(cut, len(rows))])
    kept = [*np.flatnonzero(mask).tolist(), *range(cut, len(rows))]
    every = sent(rows)
    assert (parts.numbers.tolist(), sent(parts)) == (kept, [every[i] for i in kept])


@given(batches(), st.integers(1, 5), st.integers(1, 120))
@settings(max_examples=200)
def test_chunks_are_all_rows_in_order_within_their_limits(
    drawn: tuple[list[Row], pa.RecordBatch, str | None], max_rows: int, max_bytes: int
) -> None:
    rows = RowMaker(LAYOUT, drawn[2], "none", None).rows(drawn[1])
    chunks = list(rows.chunks(max_rows, max_bytes))
    assert [number for each in chunks for number in each.numbers] == rows.numbers.tolist()
    for each in chunks:
        subjects = sum(len(subject.as_py().encode()) for subject in each.subjects)
        assert 1 <= len(each) <= max_rows
        assert len(each) == 1 or each.sizes().sum() + subjects <= max_bytes


@pytest.mark.parametrize(
    ("max_bytes", "counts"), [(30, [3, 3, 1]), (29, [2, 2, 2, 1]), (1, [1] * 7)]
)
def test_a_chunk_holds_as_many_rows_as_fit(max_bytes: int, counts: list[int]) -> None:
    rows = made(*[Row("ab", b"12345678")] * 7)
    assert [len(each) for each in rows.chunks(100, max_bytes)] == counts


def test_rows_are_numbered_on_from_batch_to_batch() -> None:
    maker = RowMaker(LAYOUT, None, "none", "q/")
    columns = batch([Row(), Row()])
    ids = [maker.rows(columns).ids.to_pylist() for _ in range(2)]
    assert (ids, maker.count) == ([["q/0", "q/1"], ["q/2", "q/3"]], 4)


def test_a_row_without_headers_is_published_without_a_block() -> None:
    one = Row(content=b"x", headers=[("A", ["1"])])
    frames = encode(made(one, Row(content=b"y")), None)
    assert bytes(frames.part(1, 2)) == b"PUB a 1\r\ny\r\n"


@pytest.mark.parametrize("kind", HEADER_TYPES)
def test_names_may_repeat_and_keep_their_order(kind: Any) -> None:
    pairs = [("B", "1"), ("A", "2"), ("B", "")]
    listed = [(n, v if kind.item_type in (STRING, LARGE) else [v]) for n, v in pairs]
    assert headers_sent(Row(headers=listed), kind=kind) == [pairs]


@pytest.mark.parametrize("kind", HEADER_TYPES)
def test_headers_of_a_slice_are_those_of_its_rows(kind: Any) -> None:
    single = kind.item_type in (STRING, LARGE)
    rows = [Row(headers=[("A", value if single else [value, "x"])]) for value in "1234"]
    found = sent(RowMaker(LAYOUT, None, "none", None).rows(batch(rows, kind).slice(2, 1)))
    assert [each.headers for each in found] == [
        [("A", "3")] if single else [("A", "3"), ("A", "x")]
    ]


def test_values_masked_by_a_null_are_not_published() -> None:
    hidden = pa.array([True, False])
    items = pa.ListArray.from_arrays([0, 1, 2], pa.array(["1", "2"]), mask=hidden)
    maps = pa.MapArray.from_arrays([0, 1, 2], pa.array(["A", "B"]), items)
    masked = pa.MapArray.from_arrays([0, 1, 2], maps.keys, maps.items, mask=pa.array([False, True]))
    columns = [pa.array(["a", "a"]), pa.array(["", ""])]
    maker = RowMaker(MessageColumns(0, 1, 2, None), None, "none", None)
    names = ["subject", "content", "headers"]
    found = [
        [
            each.headers
            for each in sent(maker.rows(pa.RecordBatch.from_arrays([*columns, h], names)))
        ]
        for h in (maps, masked)
    ]
    assert found == [[None, [("B", "2")]], [None, None]]


@pytest.mark.parametrize("name", BATCH_HEADERS)
def test_headers_of_an_atomic_batch_are_not_copied(name: str) -> None:
    rows = [Row(headers=[(name, ["1"]), ("A", ["1"])]), Row(headers=[(name, ["1"])])]
    assert headers_sent(*rows) == [[("A", "1")], None]


@pytest.mark.parametrize("msg_id", [None, ""])
def test_an_id_among_the_headers_is_not_sent(msg_id: str | None) -> None:
    pair = (MSG_ID, "copied")
    rows = [Row(headers=[pair, ("A", "1")], msg_id=msg_id), Row(headers=[pair], msg_id="new")]
    assert headers_sent(*rows, kind=ONE) == [[("A", "1")], [(MSG_ID, "new")]]


@given(stream=st.none() | st.sampled_from(["ORDERS", "é"]), drawn=batches())
def test_rows_name_the_one_stream_that_may_store_them(stream: str | None, drawn: Any) -> None:
    rows = RowMaker(LAYOUT, drawn[2], "none", None, stream).rows(drawn[1])
    for each in sent(rows):
        named = [value for name, value in each.headers or () if name == EXPECTED_STREAM]
        assert stream is None or named == [stream]


def test_an_id_of_the_task_replaces_a_copied_one() -> None:
    assert headers_sent(Row(headers=[(MSG_ID, "old")]), kind=ONE, ids="q/") == [[(MSG_ID, "q/0")]]


@pytest.mark.parametrize("break_", ["\r", "\n", "\0", "\r\n"])
@pytest.mark.parametrize("place", ["x{}", "{}x", "x{}y", "{}"])
@pytest.mark.parametrize("what", ["subject", "header name", "header value", "list", "msgId"])
def test_line_breaks_in_any_text_are_rejected(what: str, place: str, break_: str) -> None:
    bad = place.format(break_)
    rows = {
        "subject": Row(bad),
        "header name": Row(headers=[("Fine", ["1"]), (bad, ["1"])]),
        "header value": Row(headers=[("A", [bad])]),
        "list": Row(headers=[("A", ["fine", bad])]),
        "msgId": Row(msg_id=bad),
    }
    with pytest.raises(PublishError):
        made(Row(), rows[what])


@pytest.mark.parametrize("name", ["", "A B", "A:", ":A", "Ä", "A\t", "A\x7f", " A"])
def test_a_header_name_is_printable_ascii(name: str) -> None:
    with pytest.raises(PublishError, match="subject 'b': header name"):
        made(Row("a", headers=[("A", ["1", "2"])]), Row("b", headers=[(name, ["1"])]))


@pytest.mark.parametrize("bad", ["", ".", ".a", "a.", "a..b", "*", ">", "a.*", "a.>", "*.a", ">.a"])
@pytest.mark.parametrize("default", [None, "fine"])
def test_subjects_with_empty_tokens_or_wildcards_are_rejected(
    bad: str, default: str | None
) -> None:
    with pytest.raises(PublishError, match="cannot be published to"):
        made(Row("a"), Row(bad), default=default)


@pytest.mark.parametrize("bad", ["a b", "a\tb", " a", "a ", "a\x01", "a\x7f", "x" * 3801])
def test_subjects_that_the_protocol_cannot_carry_are_rejected(bad: str) -> None:
    with pytest.raises(PublishError, match="cannot be published to"):
        made(Row(bad))


@pytest.mark.parametrize("subject", ["a*", "a.b>", "**", "日本.ä", "$JS.x", "x" * 3800])
def test_unusual_subjects_are_published_to(subject: str) -> None:
    assert sent(made(Row(subject))) == [Sent(subject, "", None, b"")]


def test_an_invalid_subject_of_the_options_is_rejected() -> None:
    with pytest.raises(PublishError, match=r"subject 'a\.\*'"):
        RowMaker(MessageColumns(None, 1, None, None), "a.*", "none", None).rows(batch([Row()]))


def test_a_null_subject_without_another_names_its_row() -> None:
    maker = RowMaker(LAYOUT, None, "none", None)
    maker.rows(batch([Row(), Row()]))
    with pytest.raises(PublishError, match="row 3 of its task has no subject"):
        maker.rows(batch([Row(), Row(None)]))


def test_a_null_subject_is_replaced_by_that_of_the_options() -> None:
    assert [each.subject for each in sent(made(Row(None), Row("b"), default="d"))] == ["d", "b"]


def test_without_a_subject_column_all_rows_go_to_one_subject() -> None:
    rows = RowMaker(MessageColumns(None, 1, None, None), "d", "none", None).rows(
        batch([Row(), Row("b")])
    )
    assert [each.subject for each in sent(rows)] == ["d", "d"]


def test_no_rows_are_no_publishes() -> None:
    assert sent(made(ids="q/")) == []


def test_lines_are_inserted_before_existing_lines() -> None:
    rows = made(Row(headers=[("A", ["1"])]), Row())
    more = rows.with_blocks(add_lines(rows.blocks, ["X: 1\r\nY: 2\r\n", "X: 2\r\n"]))
    assert [each.headers for each in sent(more)] == [
        [("X", "1"), ("Y", "2"), ("A", "1")],
        [("X", "2")],
    ]


def test_lines_are_added_to_rows_without_headers() -> None:
    rows = made(Row())
    assert sent(rows.with_blocks(add_lines(None, ["X: 1\r\n"])))[0].headers == [("X", "1")]


def test_a_message_above_max_payload_is_rejected_with_its_headers_counted() -> None:
    rows = made(Row("small"), Row("large", b"x" * 10, [("A", ["1"])]))
    check_sizes(rows, 28)
    with pytest.raises(PublishError, match="subject 'large': the message has 28 bytes"):
        check_sizes(rows, 27)


@pytest.mark.parametrize("kind", ["none", "zlib", "gzip", "zstd"])
@given(payloads=st.lists(st.binary(max_size=50)))
@settings(max_examples=50)
def test_compressed_payloads_can_be_decompressed(kind: str, payloads: list[bytes]) -> None:
    closed = compress(pa.array(payloads, pa.binary()), kind)
    messages = Messages(np.arange(len(payloads)), {"content": closed})
    (opened,) = decompress(messages, kind, "fail", "ORDERS")
    assert opened.columns["content"].to_pylist() == payloads


@pytest.mark.parametrize("kind", ["zlib", "gzip", "zstd"])
def test_an_empty_or_null_payload_stays_empty_when_compressed(kind: str) -> None:
    rows = RowMaker(LAYOUT, None, kind, None).rows(batch([Row(content=None), Row(content=b"")]))
    assert rows.payloads.to_pylist() == [b"", b""]

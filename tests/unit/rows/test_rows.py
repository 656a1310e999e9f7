"""Errors, schema, columns and payloads."""

from __future__ import annotations

import gzip
import pickle
import random
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import (
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
)

import nats_spark_common
from nats_spark_common import NatsSparkError, OptionError, PayloadError, ServerError
from nats_spark_common.jetstream.api import parse_json
from nats_spark_common.rows.compression import MAX_BLOCK, decompress
from nats_spark_common.rows.messages import (
    HEADERS_TYPE,
    MESSAGE_COLUMNS,
    TIMESTAMP_TYPE,
    Message,
    Messages,
    from_messages,
    headers_array,
)
from nats_spark_common.rows.schema import _UTC, SCHEMA, Projection

ITEMS = [Message(i, b"a", i * 1000, b"", b"x" * i) for i in (3, 5, 6, 9)]


def errors() -> list[type[NatsSparkError]]:
    exported = (getattr(nats_spark_common, name) for name in nats_spark_common.__all__)
    return [e for e in exported if isinstance(e, type) and issubclass(e, NatsSparkError)]


@pytest.mark.parametrize("kind", errors())
def test_errors_cross_process_boundaries(kind: type[NatsSparkError]) -> None:
    copied = pickle.loads(pickle.dumps(kind("what happened")))
    assert type(copied) is kind
    assert str(copied) == "what happened"


def test_a_server_error_keeps_its_codes() -> None:
    copied = pickle.loads(pickle.dumps(ServerError("words", 400, 10052, "bad")))
    assert (str(copied), copied.code, copied.err_code, copied.description) == (
        "words",
        400,
        10052,
        "bad",
    )


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("$JS.API.STREAM.INFO.ORDERS", "ORDERS"),
        ("$JS.hub.API.STREAM.MSG.GET.ORDERS", "ORDERS"),
        ("$JS.API.CONSUMER.CREATE.ORDERS.c1.a.b", "ORDERS"),
    ],
)
def test_a_missing_stream_is_named(subject: str, name: str) -> None:
    answer = b'{"error":{"code":404,"err_code":10059,"description":"stream not found"}}'
    with pytest.raises(nats_spark_common.StreamNotFoundError, match=f"'{name}' does not exist"):
        parse_json(answer, subject)


def test_rows_have_the_schema_that_spark_expects() -> None:
    projection = Projection(SCHEMA)
    batch = projection.batch(from_messages(ITEMS, MESSAGE_COLUMNS), {"stream": "S"})
    assert batch.schema.equals(to_arrow_schema(SCHEMA, **_UTC))
    assert batch.column("stream").to_pylist() == ["S"] * 4
    assert batch.column("consumer").null_count == 4


@pytest.mark.parametrize("name", SCHEMA.fieldNames())
def test_every_column_can_be_requested_alone(name: str) -> None:
    schema = StructType([SCHEMA[name]])
    projection = Projection(schema)
    batch = projection.batch(from_messages(ITEMS, projection.fields), {})
    assert batch.schema.equals(to_arrow_schema(schema, **_UTC))
    assert batch.num_rows == len(ITEMS)


@given(st.lists(st.sampled_from(list(SCHEMA)), unique_by=lambda f: f.name))
def test_any_selection_in_any_order_has_the_schema_that_spark_expects(
    selected: list[StructField],
) -> None:
    projection = Projection(StructType(selected))
    batch = projection.batch(from_messages([], projection.fields), {"stream": "S"})
    assert batch.schema.equals(to_arrow_schema(StructType(selected), **_UTC))


@pytest.mark.parametrize("name", ["stream", "domain", "consumer", "replyTo"])
def test_a_constant_is_in_every_row(name: str) -> None:
    projection = Projection(StructType([SCHEMA[name]]))
    batch = projection.batch(from_messages(ITEMS, frozenset()), {name: "x"})
    assert batch.column(name).to_pylist() == ["x"] * len(ITEMS)


def test_a_constant_that_is_not_known_is_null() -> None:
    projection = Projection(StructType([SCHEMA["domain"]]))
    batch = projection.batch(from_messages(ITEMS, frozenset()), {"domain": None})
    assert batch.column("domain").null_count == len(ITEMS)


def test_a_projection_keeps_the_users_order_and_decodes_only_what_it_names() -> None:
    projection = Projection(StructType().add("subject", StringType()).add("streamSeq", LongType()))
    assert projection.fields == {"subject"}
    batch = projection.batch(from_messages(ITEMS, projection.fields), {})
    assert batch.schema.names == ["subject", "streamSeq"]
    assert batch.column("streamSeq").to_pylist() == [3, 5, 6, 9]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("offset", LongType(), "no column 'offset'"),
        ("subject", LongType(), "is string, not bigint"),
        ("content", StringType(), "is binary, not string"),
        ("timestamp", TimestampNTZType(), "is timestamp, not timestamp_ntz"),
        ("streamSeq", IntegerType(), "is bigint, not int"),
        ("headers", MapType(StringType(), StringType()), "not map<string,string>"),
        ("subjects", StringType(), "no column 'subjects'; the columns are subject, content"),
    ],
)
def test_a_schema_that_does_not_fit_is_rejected(name: str, kind: object, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Projection(StructType().add(name, kind))  # type: ignore[call-overload]


@given(st.integers(0, 12), st.integers(0, 12))
def test_between_keeps_both_ends(first: int, last: int) -> None:
    kept = from_messages(ITEMS, MESSAGE_COLUMNS).between(first, last)
    assert kept.seqs.tolist() == [m.seq for m in ITEMS if first <= m.seq <= last]
    assert len(kept.columns["content"]) == len(kept)


def test_a_slice_takes_rows_of_every_column() -> None:
    part = from_messages(ITEMS, MESSAGE_COLUMNS).slice(1, 3)
    assert part.seqs.tolist() == [5, 6]
    assert part.columns["content"].to_pylist() == [b"x" * 5, b"x" * 6]


def test_messages_without_columns_can_be_sliced() -> None:
    assert from_messages(ITEMS, frozenset()).between(5, 6).seqs.tolist() == [5, 6]


def test_between_reaches_the_largest_sequence() -> None:
    last = (1 << 63) - 1
    messages = from_messages([Message(last, b"a", 0, b"", b"")], frozenset())
    assert messages.between(1, last).seqs.tolist() == [last]


@pytest.mark.parametrize("items", [[], ITEMS])
def test_columns_have_their_types_whatever_the_messages(items: list[Message]) -> None:
    columns = from_messages(items, MESSAGE_COLUMNS).columns
    assert {name: array.type for name, array in columns.items()} == {
        "subject": pa.string(),
        "content": pa.binary(),
        "headers": HEADERS_TYPE,
        "timestamp": TIMESTAMP_TYPE,
    }


def test_headers_keep_all_values_of_a_name_in_the_order_of_the_first() -> None:
    block = b"NATS/1.0\r\nB: 1\r\nA: 2\r\nB: 3\r\n\r\n"
    assert headers_array(1, [(0, block)]).to_pylist() == [[("B", ["1", "3"]), ("A", ["2"])]]


def test_rows_without_headers_have_an_empty_map_and_no_null() -> None:
    array = headers_array(3, [(1, b"NATS/1.0\r\nA: 1\r\n\r\n")])
    assert array.to_pylist() == [[], [("A", ["1"])], []]


@pytest.mark.parametrize("blocks", [[], [(0, b"")], [(1, b"NATS/1.0\r\n\r\n")]])
def test_no_headers_at_all_are_empty_maps_and_no_nulls(blocks: list[tuple[int, bytes]]) -> None:
    array = headers_array(2, blocks)
    assert (array.type, array.null_count, array.to_pylist()) == (HEADERS_TYPE, 0, [[], []])


def test_times_are_truncated_to_microseconds() -> None:
    messages = from_messages([Message(1, b"a", 1_999, b"", b"")], MESSAGE_COLUMNS)
    assert messages.columns["timestamp"].cast(pa.int64()).to_pylist() == [1]


def test_a_subject_that_is_not_utf_8_is_shown_with_replacements() -> None:
    messages = from_messages([Message(1, b"a.\xff", 0, b"", b"")], MESSAGE_COLUMNS)
    assert messages.columns["subject"].to_pylist() == ["a.\ufffd"]


def payloads(*values: bytes) -> Messages:
    seqs = np.arange(1, len(values) + 1)
    return Messages(seqs, {"content": pa.array(values, pa.binary())})


@pytest.mark.parametrize(
    ("kind", "pack"),
    [("zlib", zlib.compress), ("gzip", gzip.compress), ("zstd", zstandard.compress)],
)
@given(data=st.binary(max_size=200))
def test_payloads_are_decompressed(kind: str, pack: object, data: bytes) -> None:
    packed = pack(data)  # type: ignore[operator]
    (opened,) = decompress(payloads(packed, b""), kind, "fail", "S")
    assert opened.columns["content"].to_pylist() == [data, b""]


@pytest.mark.parametrize(
    ("policy", "expected"), [("raw", [b"plain", b"ok"]), ("null", [None, b"ok"])]
)
def test_a_payload_that_cannot_be_decompressed_is_kept_or_null(
    policy: str, expected: list[object]
) -> None:
    (opened,) = decompress(payloads(b"plain", zlib.compress(b"ok")), "zlib", policy, "S")
    assert opened.columns["content"].to_pylist() == expected


@pytest.mark.parametrize("kind", ["zlib", "gzip", "zstd"])
def test_a_truncated_payload_cannot_be_decompressed(kind: str) -> None:
    pack = {"zlib": zlib.compress, "gzip": gzip.compress, "zstd": zstandard.compress}[kind]
    with pytest.raises(PayloadError, match=f"'S', sequence 1: the payload is not {kind}"):
        list(decompress(payloads(pack(b"text" * 50)[:-5]), kind, "fail", "S"))


def test_a_zstd_frame_without_its_size_is_decompressed() -> None:
    packer = zstandard.ZstdCompressor(write_content_size=False)
    (opened,) = decompress(payloads(packer.compress(b"text" * 50)), "zstd", "fail", "S")
    assert opened.columns["content"].to_pylist() == [b"text" * 50]


PACK: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}
SKIPPED = b"\x50\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"comment"


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@given(parts=st.lists(st.binary(max_size=40), min_size=1, max_size=4), padding=st.integers(0, 9))
def test_every_part_of_a_payload_is_decompressed(
    kind: str, parts: list[bytes], padding: int
) -> None:
    """Members of gzip, padded with zeros; frames of zstd, with such among them as are skipped."""
    end = SKIPPED * padding if kind == "zstd" else b"\0" * padding
    (opened,) = decompress(payloads(end.join(map(PACK[kind], parts)) + end), kind, "fail", "S")
    assert opened.columns["content"].to_pylist() == [b"".join(parts)]


@pytest.mark.parametrize("size", [1_023, 1_024, 1_025, 100_000])
def test_frames_of_any_length_are_decompressed(size: int) -> None:
    noise = [random.Random(each).randbytes(size) for each in range(3)]
    (opened,) = decompress(payloads(b"".join(map(zstandard.compress, noise))), "zstd", "fail", "S")
    assert opened.columns["content"].to_pylist() == [b"".join(noise)]


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("behind", [b"x", b"more text", b"\0x", zlib.compress(b"y")])
def test_trailing_bytes_are_not_dropped(kind: str, behind: bytes) -> None:
    packed = PACK[kind](b"text" * 50) + behind
    with pytest.raises(PayloadError, match=f"'S', sequence 1: the payload is not {kind}"):
        list(decompress(payloads(packed), kind, "fail", "S"))
    (kept,) = decompress(payloads(packed), kind, "raw", "S")
    assert kept.columns["content"][0].as_py() == packed


@pytest.mark.parametrize("kind", PACK)
def test_the_decompressed_size_is_bounded(kind: str) -> None:
    fits, bomb = PACK[kind](b"\0" * 9_999), PACK[kind](b"\0" * 10_000)
    (opened,) = decompress(payloads(fits, bomb), kind, "null", "S", 9_999)
    assert opened.columns["content"].to_pylist() == [b"\0" * 9_999, None]
    with pytest.raises(PayloadError, match=r"1: .*nats\.payload\.max\.decompressed=9999 "):
        list(decompress(payloads(bomb), kind, "fail", "S", 9_999))
    whole = bomb if kind == "zlib" else bomb + bomb
    with pytest.raises(PayloadError, match=r"max\.decompressed"):  # of all parts together
        list(decompress(payloads(whole), kind, "fail", "S", 9_999))


@pytest.mark.parametrize("kind", PACK)
def test_a_decompression_bomb_takes_little_memory(kind: str) -> None:
    """A gigabyte of zeros, of which no more is opened than is allowed, or soon after."""
    zeros = b"\0" * (1 << 24)
    packer: Any = {
        "zlib": zlib.compressobj(1),
        "gzip": zlib.compressobj(1, wbits=31),
        "zstd": zstandard.ZstdCompressor().compressobj(),
    }[kind]
    bomb = b"".join([packer.compress(zeros) for _ in range(64)]) + packer.flush()
    tracemalloc.start()
    (opened,) = decompress(payloads(bomb), kind, "null", "S", 1 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert opened.columns["content"].to_pylist() == [None]
    assert peak < 128 << 20


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("policy", ["fail", "null", "raw"])
def test_many_payloads_that_expand_take_little_memory(kind: str, policy: str) -> None:
    """They are 160 MiB in all, from a few kilobytes."""
    size, count, bad = 4 << 20, 40, b"plain"
    packed = [PACK[kind](bytes(size))] * count
    if policy != "fail":
        packed[20] = bad
    arrow = pa.total_allocated_bytes()
    lengths: list[int | None] = []
    seqs: list[int] = []
    tracemalloc.start()
    for block in decompress(payloads(*packed), kind, policy, "S"):
        content = block.columns["content"]
        lengths += pc.binary_length(content).to_pylist()
        seqs += block.seqs.tolist()
        assert content.nbytes < MAX_BLOCK + 1_000
        assert pa.total_allocated_bytes() - arrow < 2 * MAX_BLOCK + 10_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * MAX_BLOCK
    assert seqs == list(range(1, count + 1))
    middle = {"fail": size, "null": None, "raw": len(bad)}[policy]
    assert lengths == [size] * 20 + [middle] + [size] * 19


def test_a_payload_above_the_size_of_a_block_has_one_of_its_own() -> None:
    sizes = [1, MAX_BLOCK + 1, 1, 1]
    blocks = decompress(payloads(*(zlib.compress(bytes(n)) for n in sizes)), "zlib", "fail", "S")
    assert [block.seqs.tolist() for block in blocks] == [[1], [2], [3, 4]]


@pytest.mark.parametrize("kind", ["zlib", "gzip", "zstd"])
@pytest.mark.parametrize("policy", ["fail", "null", "raw"])
def test_an_empty_payload_stays_empty_under_every_policy(kind: str, policy: str) -> None:
    (opened,) = decompress(payloads(b""), kind, policy, "S")
    assert opened.columns["content"].to_pylist() == [b""]


@pytest.mark.parametrize("kind", ["zlib", "gzip", "zstd"])
@given(data=st.binary(min_size=1, max_size=40))
def test_a_payload_that_is_not_compressed_is_kept_with_the_policy_raw(
    kind: str, data: bytes
) -> None:
    plain = b"plain " + data
    (opened,) = decompress(payloads(plain), kind, "raw", "S")
    assert opened.columns["content"].to_pylist() == [plain]


def test_the_error_of_a_payload_names_its_sequence_and_the_options() -> None:
    words = r"'S', sequence 2: .*nats\.payload\.compression.*nats\.payload\.on\.error"
    with pytest.raises(PayloadError, match=words):
        list(decompress(payloads(zlib.compress(b"ok"), b"plain"), "zlib", "fail", "S"))


def test_without_compression_payloads_stay_as_they_are() -> None:
    messages = payloads(zlib.compress(b"x"))
    (same,) = decompress(messages, "none", "fail", "S")
    assert same is messages


def test_payloads_that_were_not_requested_are_not_decompressed() -> None:
    messages = from_messages(ITEMS, frozenset({"subject"}))
    (same,) = decompress(messages, "zlib", "fail", "S")
    assert same is messages


def test_other_columns_stay_as_they_are() -> None:
    packed = [Message(1, b"a", 0, b"", zlib.compress(b"x"))]
    messages = from_messages(packed, MESSAGE_COLUMNS)
    (opened,) = decompress(messages, "zlib", "fail", "S")
    for name in ("subject", "headers", "timestamp"):
        assert opened.columns[name] is messages.columns[name]

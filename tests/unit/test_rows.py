"""Errors, schema, columns and payloads."""

from __future__ import annotations

import gzip
import pickle
import zlib

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import LongType, StringType, StructType

import nats_spark_common
from nats_spark_common import NatsSparkError, OptionError, PayloadError, ServerError
from nats_spark_common.compression import decompress
from nats_spark_common.jetstream import parse_json
from nats_spark_common.messages import MESSAGE_COLUMNS, Message, Messages, from_messages
from nats_spark_common.schema import SCHEMA, Projection

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
    assert batch.schema.equals(to_arrow_schema(SCHEMA, timezone="UTC"))
    assert batch.column("stream").to_pylist() == ["S"] * 4
    assert batch.column("consumer").null_count == 4


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
    ],
)
def test_a_schema_that_does_not_fit_is_refused(name: str, kind: object, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Projection(StructType().add(name, kind))  # type: ignore[call-overload]


@given(st.integers(0, 12), st.integers(0, 12))
def test_between_keeps_both_ends(first: int, last: int) -> None:
    kept = from_messages(ITEMS, MESSAGE_COLUMNS).between(first, last)
    assert kept.seqs.tolist() == [m.seq for m in ITEMS if first <= m.seq <= last]
    assert len(kept.columns["content"]) == len(kept)


def payloads(*values: bytes) -> Messages:
    seqs = np.arange(1, len(values) + 1)
    return Messages(seqs, {"content": pa.array(values, pa.binary())})


@pytest.mark.parametrize(
    ("kind", "pack"),
    [("zlib", zlib.compress), ("gzip", gzip.compress), ("zstd", zstandard.compress)],
)
@given(data=st.binary(max_size=200))
def test_payloads_are_opened(kind: str, pack: object, data: bytes) -> None:
    packed = pack(data)  # type: ignore[operator]
    opened = decompress(payloads(packed, b""), kind, "fail", "S")
    assert opened.columns["content"].to_pylist() == [data, b""]


@pytest.mark.parametrize(
    ("policy", "expected"), [("raw", [b"plain", b"ok"]), ("null", [None, b"ok"])]
)
def test_a_payload_that_does_not_open_is_kept_or_null(policy: str, expected: list[object]) -> None:
    opened = decompress(payloads(b"plain", zlib.compress(b"ok")), "zlib", policy, "S")
    assert opened.columns["content"].to_pylist() == expected


@pytest.mark.parametrize("kind", ["zlib", "gzip", "zstd"])
def test_a_payload_that_is_cut_does_not_open(kind: str) -> None:
    pack = {"zlib": zlib.compress, "gzip": gzip.compress, "zstd": zstandard.compress}[kind]
    with pytest.raises(PayloadError, match=f"'S', sequence 1: the payload is not {kind}"):
        decompress(payloads(pack(b"text" * 50)[:-5]), kind, "fail", "S")

"""Batch reads: a fixed range, and filters that Spark pushes down."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession, datasource
from pyspark.sql import functions as f

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.protocol.timestamps import ns_to_rfc3339

from .._support.admin import Admin

PUSHDOWN = "spark.sql.python.filterPushdown.enabled"
COUNT = 2_000

since_4_1 = pytest.mark.skipif(
    not hasattr(datasource, "Filter"),
    reason="Spark 4.0 has no push-down, and plans a batch read again for each use",
)


def load(spark: SparkSession, url: str, stream: str, **options: str) -> DataFrame:
    named = {f"nats.{name}": value for name, value in options.items()}
    reader = spark.read.format("nats-v2").options(**named)
    return reader.option("nats.url", url).option("nats.stream.name", stream).load()


def seqs(frame: DataFrame) -> list[int]:
    return sorted(row.streamSeq for row in frame.select("streamSeq").collect())


@pytest.fixture
def filled(server_admin: Admin, stream: str) -> str:
    server_admin.create_stream(stream)
    server_admin.fill(stream, COUNT)
    return stream


@pytest.fixture
def pushdown(spark: SparkSession) -> Iterator[None]:
    spark.conf.set(PUSHDOWN, "true")
    yield
    spark.conf.unset(PUSHDOWN)


def test_everything_is_read_by_default(
    spark: SparkSession, server: EmbeddedServer, filled: str
) -> None:
    assert seqs(load(spark, server.url, filled)) == list(range(1, COUNT + 1))


def test_start_and_end_are_included(
    spark: SparkSession, server: EmbeddedServer, filled: str
) -> None:
    frame = load(spark, server.url, filled, start="10", end="12")
    assert seqs(frame) == [10, 11, 12]


def test_an_end_time_is_excluded(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, filled: str
) -> None:
    times = [m.timestamp_ns for m in server_admin.read_all(filled)]
    frame = load(spark, server.url, filled, start="5", end=ns_to_rfc3339(times[100]))
    assert seqs(frame) == list(range(5, 101))


@since_4_1
def test_times_before_now_are_those_of_the_first_use(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, filled: str
) -> None:
    past = time.time()
    time.sleep(3)
    server_admin.fill(filled, 3)
    ago = f"-{time.time() - past:.3f}s"
    after, before = (load(spark, server.url, filled, **{end: ago}) for end in ("start", "end"))
    found = list(range(COUNT + 1, COUNT + 4))
    assert (seqs(after), seqs(before)) == (found, list(range(1, COUNT + 1)))
    time.sleep(3)
    assert (seqs(after), seqs(before)) == (found, list(range(1, COUNT + 1)))


def test_an_end_beyond_the_stream_is_refused(
    spark: SparkSession, server: EmbeddedServer, filled: str
) -> None:
    with pytest.raises(AnalysisException, match=rf"nats\.end=2001 .*{filled}.*2000"):
        load(spark, server.url, filled, end="2001").collect()


def test_a_start_behind_the_end_is_refused(
    spark: SparkSession, server: EmbeddedServer, filled: str
) -> None:
    words = rf"nats\.start .* is after nats\.end .* in stream .{filled}"
    with pytest.raises(AnalysisException, match=words):
        load(spark, server.url, filled, start="20", end="10").collect()


def test_an_empty_stream_gives_no_rows(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    assert seqs(load(spark, server.url, stream)) == []


@since_4_1
def test_filters_work_where_push_down_is_off(
    spark: SparkSession, server: EmbeddedServer, filled: str
) -> None:
    assert spark.conf.get(PUSHDOWN) == "false"
    frame = load(spark, server.url, filled).where(f.col("subject") == f"{filled}.3")
    assert seqs(frame) == list(range(4, COUNT + 1, 10))


PUSHED = {
    "subject equality": (lambda s, _: f.col("subject") == f"{s}.3", range(4, COUNT + 1, 10)),
    "subject prefix": (lambda s, _: f.col("subject").startswith(f"{s}.x."), [COUNT + 1]),
    "sequence equality": (lambda *_: f.col("streamSeq") == 7, [7]),
    "sequence above": (lambda *_: f.col("streamSeq") > 1990, range(1991, COUNT + 2)),
    "sequence from": (lambda *_: f.col("streamSeq") >= 1990, range(1990, COUNT + 2)),
    "sequence below": (lambda *_: f.col("streamSeq") < 5, range(1, 5)),
    "sequence to": (lambda *_: f.col("streamSeq") <= 5, range(1, 6)),
    "time from": (lambda _, t: f.col("timestamp") >= t(1990), None),
    "time above": (lambda _, t: f.col("timestamp") > t(1990), None),
    "time below": (lambda _, t: f.col("timestamp") < t(10), None),
    "time to": (lambda _, t: f.col("timestamp") <= t(10), None),
    "time equality": (lambda _, t: f.col("timestamp") == t(10), None),
}


@pytest.mark.usefixtures("pushdown")
@since_4_1
@pytest.mark.parametrize("name", PUSHED)
def test_a_pushed_filter_reads_fewer_messages_and_gives_the_same_rows(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, name: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    admin.publish(f"{stream}.x.y")
    stored = {m.seq: m.timestamp_ns for m in admin.read_all(stream)}
    micros = {seq: ns // 1000 for seq, ns in stored.items()}

    def at(seq: int) -> object:
        return f.timestamp_micros(f.lit(micros[seq]))

    condition, expected = PUSHED[name]
    if expected is None:
        edge = micros[1990 if name in ("time from", "time above") else 10]
        keeps = {
            "time from": lambda m: m >= edge,
            "time above": lambda m: m > edge,
            "time below": lambda m: m < edge,
            "time to": lambda m: m <= edge,
            "time equality": lambda m: m == edge,
        }[name]
        expected = [seq for seq, m in micros.items() if keeps(m)]
    frame = load(spark, nats_server.url, stream).where(condition(stream, at))
    before = nats_server.statistics()["out_msgs"]
    assert seqs(frame) == list(expected)
    sent = nats_server.statistics()["out_msgs"] - before
    assert sent < COUNT / 2


@pytest.mark.usefixtures("pushdown")
def test_a_filter_outside_the_configured_subjects_gives_nothing(
    spark: SparkSession, server: EmbeddedServer, filled: str
) -> None:
    frame = load(spark, server.url, filled, **{"stream.subjects": f"{filled}.4"})
    assert seqs(frame.where(f.col("subject") == f"{filled}.3")) == []


@pytest.mark.usefixtures("pushdown")
def test_filters_that_cannot_be_pushed_are_left_to_spark(
    spark: SparkSession, server: EmbeddedServer, filled: str
) -> None:
    frame = load(spark, server.url, filled)
    wanted = frame.where((f.length("content") > 0) & (f.col("subject") != f"{filled}.3"))
    assert len(seqs(wanted)) == COUNT * 9 // 10


#: What no time of a message reaches: past 64 bits of nanoseconds, the calendar's ends, and between.
FAR = [
    "0001-01-01 00:00:00",
    "1600-01-01 00:00:00",
    "1677-09-21 00:12:43.145224",
    "1677-09-21 00:12:43.145225",
    "1969-12-31 23:59:59.999999",
    "1970-01-01 00:00:00",
    "2262-04-11 23:47:16.854775",
    "2262-04-11 23:47:16.854776",
    "2300-01-01 00:00:00",
    "9999-12-31 23:59:59.999999",
]
COMPARE: dict[str, Callable[[Column, Column], Column]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}
FEW = 60


@pytest.mark.usefixtures("pushdown")
@pytest.mark.parametrize("time", FAR)
def test_a_pushed_time_may_lie_anywhere(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, stream: str, time: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, FEW)
    everything, nothing = list(range(1, FEW + 1)), list[int]()
    past = time < "2000"
    frame, edge = load(spark, server.url, stream), f.lit(time).cast("timestamp")
    for name, compare in COMPARE.items():
        keeps = past if name in (">", ">=") else not past and name in ("<", "<=")
        found = seqs(frame.where(compare(f.col("timestamp"), edge)))
        assert found == (everything if keeps else nothing), name


@pytest.fixture
def varied(nats_server: EmbeddedServer, admin: Admin, stream: str) -> str:
    """A stream with gaps, on subjects that are prefixes of each other, a moment apart."""
    admin.create_stream(stream)
    for number in range(FEW):
        subject = [f"{stream}.a", f"{stream}.ab", f"{stream}.a.b", f"{stream}.é", f"{stream}.B"]
        admin.publish(subject[number % 5], b"")
    for seq in (1, 7, 8, 30, FEW):
        admin.delete_message(stream, seq)
    return stream


@pytest.mark.usefixtures("pushdown")
def test_whatever_is_pushed_the_rows_are_those_that_spark_finds(
    spark: SparkSession, nats_server: EmbeddedServer, varied: str
) -> None:
    """Conjunctions of filters of every kind, evaluated by Spark alone and with push-down."""
    pushed = load(spark, nats_server.url, varied).select("subject", "streamSeq", "timestamp")
    rows = pushed.collect()
    alone = spark.createDataFrame(rows, pushed.schema).cache()
    micros = [row[0] for row in alone.select(f.unix_micros("timestamp")).collect()]
    edges = [m + change for m in micros for change in (-1, 0, 1)]
    times = st.sampled_from(edges) | st.integers(-(10**15), 10**16)
    far = st.sampled_from(FAR).map(lambda time: f"timestamp'{time}'")
    time = times.map(lambda micros: f"timestamp_micros({micros})") | far
    seq = (st.integers(-2, FEW + 2) | st.sampled_from([-(1 << 63), (1 << 63) - 1])).map(str)
    tokens = st.sampled_from(["a", "ab", "é", "b", "*", ">", "", "\N{REPLACEMENT CHARACTER}", "%"])
    subject = st.lists(tokens, max_size=3).map(lambda tail: ".".join([varied, *tail]))
    conditions = st.one_of(
        st.builds("timestamp {} {}".format, st.sampled_from([*COMPARE, "<=>"]), time),
        st.builds("streamSeq {} {}".format, st.sampled_from([*COMPARE, "<=>"]), seq),
        st.builds("subject {} '{}'".format, st.sampled_from([*COMPARE, "<=>"]), subject),
        st.builds("{}(subject, '{}')".format, st.sampled_from(["startswith", "endswith"]), subject),
        st.builds("streamSeq in ({}, {})".format, seq, seq),
        st.builds("not (streamSeq {} {})".format, st.sampled_from([*COMPARE]), seq),
    )

    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(st.lists(conditions, min_size=1, max_size=2))
    def same(conjunction: list[str]) -> None:
        condition = " and ".join(conjunction)
        assert seqs(pushed.where(condition)) == seqs(alone.where(condition)), condition

    same()

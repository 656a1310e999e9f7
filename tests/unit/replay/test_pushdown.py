"""Filters that Spark pushes down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql.datasource import (
    EqualTo,
    Filter,
    GreaterThan,
    GreaterThanOrEqual,
    In,
    IsNull,
    LessThan,
    LessThanOrEqual,
    Not,
    StringEndsWith,
    StringStartsWith,
)

from nats_spark_common.protocol.subjects import matches
from nats_spark_common.replay.pushdown import Bounds, bounds_of
from nats_spark_common.rows.messages import text as text_of

BASE_US = 1_700_000_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COMPARE = {
    EqualTo: lambda a, b: a == b,
    GreaterThan: lambda a, b: a > b,
    GreaterThanOrEqual: lambda a, b: a >= b,
    LessThan: lambda a, b: a < b,
    LessThanOrEqual: lambda a, b: a <= b,
}


@given(
    st.lists(st.tuples(st.sampled_from(list(COMPARE)), st.integers(0, 20)), max_size=3),
    st.lists(st.tuples(st.sampled_from(list(COMPARE)), st.integers(0, 5)), max_size=3),
    st.integers(1, 20),
    st.integers(0, 5_999) | st.integers(0, 5).map(lambda us: us * 1000),
)
@settings(max_examples=500)
def test_a_row_that_passes_the_filters_lies_within_the_bounds(
    by_seq: list[tuple[type[Any], int]], by_time: list[tuple[type[Any], int]], seq: int, nanos: int
) -> None:
    time_ns = BASE_US * 1000 + nanos
    column_us = time_ns // 1000
    filters: list[Filter] = [kind(("streamSeq",), value) for kind, value in by_seq]
    passes = all(COMPARE[kind](seq, value) for kind, value in by_seq)
    for kind, value in by_time:
        edge = BASE_US + value
        filters.append(kind(("timestamp",), EPOCH + timedelta(microseconds=edge)))
        passes = passes and COMPARE[kind](column_us, edge)
    bounds = bounds_of(filters)
    within = (
        bounds.first_seq <= seq <= bounds.last_seq
        and (bounds.since_ns is None or bounds.since_ns <= time_ns)
        and (bounds.until_ns is None or time_ns < bounds.until_ns)
    )
    assert within or not passes
    if not by_seq or not by_time:
        assert within == passes  # on one column the bounds are exact


def test_filters_on_the_subject_become_filter_subjects() -> None:
    filters = [EqualTo(("subject",), "a.b"), StringStartsWith(("subject",), "a.b.c")]
    assert bounds_of(filters).subjects == ("a.b", "a.b.>")


@pytest.mark.parametrize("subject", ["a.*", "a.>", "", "a b", "a..b"])
def test_an_invalid_subject_is_not_pushed(subject: str) -> None:
    assert bounds_of([EqualTo(("subject",), subject)]).subjects == ()


@pytest.mark.parametrize("kind", list(COMPARE))
@pytest.mark.parametrize("nanos", [0, 1, 999, 1000, 1001, 1999, 2000, 2001, 2999, 3000])
def test_a_bound_in_time_is_exact_to_the_nanosecond(kind: type[Any], nanos: int) -> None:
    edge = EPOCH + timedelta(microseconds=BASE_US + 1)
    bounds = bounds_of([kind(("timestamp",), edge)])
    time_ns = BASE_US * 1000 + nanos
    since = time_ns if bounds.since_ns is None else bounds.since_ns
    until = time_ns + 1 if bounds.until_ns is None else bounds.until_ns
    assert (since <= time_ns < until) == COMPARE[kind](nanos // 1000, 1)


RAW_SUBJECTS = [b"a", b"a.b", b"a.b.c", b"b.a", b"a.\xff", b"a.\xff.c", "ä.b".encode()]
WRITTEN = ["a", "a.b", "a.", "a.b.", "a.\ufffd", "a.\ufffd.", "a.\ufffd.c", "ä.", "ä.b", "b", ""]


@pytest.mark.parametrize("raw", RAW_SUBJECTS)
@pytest.mark.parametrize("written", WRITTEN)
def test_a_subject_that_passes_a_filter_matches_the_filter_subject(
    raw: bytes, written: str
) -> None:
    column = text_of(raw)
    stored = raw.decode("utf-8", "surrogateescape")  # the server compares bytes
    if column == written:
        pushed = bounds_of([EqualTo(("subject",), written)]).subjects
        assert all(matches(each, stored) for each in pushed)
    if column.startswith(written):
        pushed = bounds_of([StringStartsWith(("subject",), written)]).subjects
        assert all(matches(each, stored) for each in pushed)


@pytest.mark.parametrize(
    "unknown",
    [
        IsNull(("streamSeq",)),
        In(("streamSeq",), (1, 2)),
        Not(EqualTo(("streamSeq",), 5)),
        EqualTo(("content",), b"x"),
        EqualTo(("headers", "streamSeq"), 5),
        EqualTo(("streamSeq",), None),
        GreaterThan(("timestamp",), None),
        GreaterThan(("timestamp",), datetime(2024, 5, 1)),  # without a zone
        StringEndsWith(("subject",), "a.b"),
        GreaterThan(("subject",), "a.b"),
    ],
)
def test_an_unsupported_filter_sets_no_bounds(unknown: Filter) -> None:
    assert bounds_of([unknown]) == Bounds()


@pytest.mark.parametrize("kind", list(COMPARE))
def test_a_time_in_another_zone_is_the_same_moment(kind: type[Any]) -> None:
    there = datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    here = datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert bounds_of([kind(("timestamp",), there)]) == bounds_of([kind(("timestamp",), here)])

"""The pure parts of planning: ranges, admission, offsets, loss, subjects, push-down, times."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql.datasource import (
    EqualTo,
    Filter,
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
    StringStartsWith,
)

from nats_spark_common import OptionError, ProtocolError
from nats_spark_common.admission import Available, Pace, admit, worth_a_batch
from nats_spark_common.jetstream import StreamInfo
from nats_spark_common.loss import lost_messages
from nats_spark_common.offsets import Offset, StreamOffset
from nats_spark_common.ranges import StreamRange, split
from nats_spark_common.subjects import matches, matches_any, narrow, overlap, prefix_filter
from nats_spark_common.timestamps import ns_to_rfc3339, rfc3339_to_ns
from pyspark_nats_v2.pushdown import bounds_of

SPANS = st.lists(
    st.tuples(st.integers(1, 1000), st.integers(0, 100_000)).map(
        lambda t: StreamRange(f"S{t[0]}", "now", t[0], t[0] + t[1] - 1)
    ),
    max_size=6,
)


@given(SPANS, st.integers(1, 16), st.integers(1, 20_000))
def test_pieces_cover_every_range_in_order_without_overlap(
    spans: list[StreamRange], tasks: int, smallest: int
) -> None:
    pieces = split(spans, tasks, smallest)
    covered = [(p.stream, seq) for p in pieces for seq in (p.first, p.last)]
    expected = []
    for span in spans:
        own = [p for p in pieces if (p.stream, p.created) == (span.stream, span.created)]
        assert all(len(p) > 0 for p in own)
        if len(span):
            expected.append(span)
    assert sum(map(len, pieces)) == sum(map(len, expected))
    assert len(covered) == 2 * len(pieces)


@given(st.integers(1, 10**9), st.integers(1, 64), st.integers(1, 10**6))
def test_the_pieces_of_one_stream_join_up_and_are_about_even(
    length: int, tasks: int, smallest: int
) -> None:
    pieces = split([StreamRange("S", "now", 5, 4 + length)], tasks, smallest)
    assert (pieces[0].first, pieces[-1].last) == (5, 4 + length)
    assert all(a.last + 1 == b.first for a, b in itertools.pairwise(pieces))
    assert len(pieces) <= tasks
    sizes = [len(p) for p in pieces]
    assert max(sizes) - min(sizes) <= 1
    assert len(pieces) == 1 or min(sizes) >= smallest * 2 // 3


AVAILABLE = st.dictionaries(
    st.sampled_from("ABCDEF"),
    st.builds(Available, st.integers(0, 10**6), st.floats(1, 10**5)),
    max_size=6,
)


@given(AVAILABLE, st.integers(1, 10**6))
def test_never_more_messages_are_admitted_than_allowed_nor_than_there_are(
    available: dict[str, Available], limit: int
) -> None:
    taken = admit(available, limit, None)
    assert sum(taken.values()) <= limit
    assert all(0 <= taken[name] <= each.count for name, each in available.items())


@given(AVAILABLE, st.integers(1, 10**6), st.integers(1, 10**9))
def test_something_is_always_admitted_where_something_is_there(
    available: dict[str, Available], messages: int, size: int
) -> None:
    taken = admit(available, messages, size)
    assert any(taken.values()) == any(each.count for each in available.values())


@given(AVAILABLE, st.integers(6, 10**6))
def test_no_stream_is_starved_where_the_limit_allows_one_of_each(
    available: dict[str, Available], limit: int
) -> None:
    taken = admit(available, limit, None)
    assert all(taken[name] for name, each in available.items() if each.count)


@given(AVAILABLE, st.integers(10**6, 10**9))
def test_the_estimated_bytes_stay_within_the_limit(
    available: dict[str, Available], size: int
) -> None:
    taken = admit(available, None, size)
    estimate = sum(taken[name] * each.size for name, each in available.items())
    one_of_each = sum(each.size for each in available.values())
    assert estimate <= size + one_of_each


@pytest.mark.parametrize(
    ("count", "least", "waited", "worth"),
    [(0, 0, 99, False), (1, 0, 0, True), (4, 5, 1, False), (5, 5, 0, True), (4, 5, 10, True)],
)
def test_worth_a_batch(count: int, least: int, waited: float, worth: bool) -> None:
    assert worth_a_batch(count, least, waited, max_delay=10) is worth


def test_the_pace_halves_when_a_batch_takes_twice_as_long() -> None:
    pace = Pace(target=1.0)
    pace.begin(pace.limit, now=0.0)
    first = pace.limit
    pace.finish(now=2.0)
    assert pace.limit == first // 2


def test_the_pace_grows_by_a_bounded_factor() -> None:
    pace = Pace(target=10.0)
    first = pace.limit
    pace.begin(first, now=0.0)
    pace.finish(now=0.001)
    assert pace.limit == first * 4


def test_a_small_quick_batch_does_not_slow_the_pace() -> None:
    pace = Pace(target=1.0)
    first = pace.limit
    pace.begin(10, now=0.0)
    pace.finish(now=0.1)
    assert pace.limit == first


OFFSETS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.builds(StreamOffset, st.integers(0, (1 << 63) - 1), st.text(max_size=12)),
    max_size=4,
).map(Offset)


@given(OFFSETS)
def test_an_offset_survives_the_checkpoint(offset: Offset) -> None:
    assert Offset.from_json(json.loads(json.dumps(offset.to_json()))) == offset


@pytest.mark.parametrize(
    "foreign",
    [
        {},
        {"topic": {"0": 5}},
        {"v": 2, "streams": {}},
        {"v": 1, "streams": {"S": 5}},
        {"v": 1, "streams": {"S": {"seq": "x", "created": ""}}},
    ],
)
def test_a_foreign_offset_is_refused(foreign: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="was not written by this source"):
        Offset.from_json(foreign)


def info(first: int, last: int, messages: int = 1) -> StreamInfo:
    return StreamInfo("S", "now", first, last, messages, 100, "limits", True, ("S.>",))


@pytest.mark.parametrize(
    ("first_seq", "wanted", "lost"),
    [(1, (1, 9), None), (5, (5, 9), None), (5, (1, 9), "1 to 4"), (20, (1, 9), "1 to 9")],
)
def test_only_what_left_the_head_is_lost(
    first_seq: int, wanted: tuple[int, int], lost: str | None
) -> None:
    words = lost_messages(info(first_seq, 30), *wanted)
    assert (words is None) if lost is None else (lost in str(words))


def test_an_empty_stream_reports_its_head_behind_its_end() -> None:
    state = {"first_seq": 0, "last_seq": 7, "messages": 0, "bytes": 0}
    raw = {"config": {"name": "S"}, "created": "now", "state": state}
    assert StreamInfo.from_json(raw).first_seq == 8


TOKENS = st.sampled_from(["a", "b"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=3).map(".".join)
FILTERS = st.builds(
    lambda tokens, full: ".".join([*tokens, ">"]) if full else ".".join(tokens),
    st.lists(TOKENS | st.just("*"), min_size=1, max_size=3),
    st.booleans(),
)
EVERY_SUBJECT = [".".join(t) for n in (1, 2, 3, 4) for t in itertools.product("ab", repeat=n)]


def taken_by(filter_subject: str) -> set[str]:
    """A model: matching by walking the tokens of concrete subjects."""
    found = set()
    for subject in EVERY_SUBJECT:
        given_tokens, wanted = subject.split("."), filter_subject.split(".")
        if wanted[-1] == ">":
            fits = len(given_tokens) >= len(wanted)
            wanted, given_tokens = wanted[:-1], given_tokens[: len(wanted) - 1]
        else:
            fits = len(given_tokens) == len(wanted)
        if fits and all(w in ("*", g) for w, g in zip(wanted, given_tokens, strict=True)):
            found.add(subject)
    return found


@given(FILTERS)
def test_a_filter_takes_what_its_tokens_say(filter_subject: str) -> None:
    assert {s for s in EVERY_SUBJECT if matches(filter_subject, s)} == taken_by(filter_subject)


@given(FILTERS, FILTERS)
def test_a_filter_lies_within_another_only_if_its_subjects_do(one: str, other: str) -> None:
    if matches(one, other):
        assert taken_by(other) <= taken_by(one)


@given(FILTERS, FILTERS)
def test_filters_overlap_if_a_subject_fits_both(one: str, other: str) -> None:
    if taken_by(one) & taken_by(other):
        assert overlap(one, other)


@given(st.lists(FILTERS, max_size=3).map(tuple), FILTERS)
def test_narrowing_keeps_everything_that_fits_both(filters: tuple[str, ...], extra: str) -> None:
    wanted = {s for s in taken_by(extra) if matches_any(filters, s)}
    narrowed = narrow(filters, extra)
    kept = set() if narrowed is None else {s for s in EVERY_SUBJECT if matches_any(narrowed, s)}
    assert wanted <= kept


@given(st.text(alphabet="ab.", max_size=5))
def test_a_prefix_filter_takes_every_subject_with_the_prefix(prefix: str) -> None:
    found = prefix_filter(prefix)
    fitting = {s for s in EVERY_SUBJECT if s.startswith(prefix)}
    assert found is None or fitting <= {s for s in EVERY_SUBJECT if matches(found, s)}


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
    st.integers(0, 5_999),
)
@settings(max_examples=500)
def test_a_row_that_passes_the_filters_lies_within_the_bounds(
    by_seq: list[tuple[type, int]], by_time: list[tuple[type, int]], seq: int, nanos: int
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
def test_what_is_no_subject_is_not_pushed(subject: str) -> None:
    assert bounds_of([EqualTo(("subject",), subject)]).subjects == ()


@given(st.integers(0, (1 << 63) - 1))
def test_times_survive_their_text(ns: int) -> None:
    assert rfc3339_to_ns(ns_to_rfc3339(ns)) == ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T02:00:00.5+02:00", 5 * 10**8),
        ("1970-01-01t00:00:00.123456789z", 123_456_789),
    ],
)
def test_times_in_other_spellings(text: str, ns: int) -> None:
    assert rfc3339_to_ns(text) == ns


@pytest.mark.parametrize(
    "text", ["", "now", "2024-01-01", "2024-01-01T00:00:00", "2024-13-01T00:00:00Z"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="not an RFC 3339 time"):
        rfc3339_to_ns(text)

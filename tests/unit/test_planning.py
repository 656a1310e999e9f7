"""The pure parts of planning: ranges, admission, offsets, loss, subjects, push-down, times."""

from __future__ import annotations

import itertools
import json
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

from nats_spark_common import OptionError, ProtocolError
from nats_spark_common.admission import Available, Pace, admit, worth_a_batch
from nats_spark_common.jetstream import StreamInfo
from nats_spark_common.loss import lost_messages, recreated, truncated, vanished
from nats_spark_common.messages import text as text_of
from nats_spark_common.ranges import StreamRange, shares, split
from nats_spark_common.replay.offsets import Offset, StreamOffset
from nats_spark_common.replay.pushdown import Bounds, bounds_of
from nats_spark_common.subjects import (
    is_literal,
    matches,
    matches_any,
    narrow,
    overlap,
    prefix_filter,
)
from nats_spark_common.timestamps import ns_to_rfc3339, rfc3339_to_ns

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


@given(SPANS, st.integers(1, 16), st.integers(1, 20_000))
def test_shares_hold_every_piece_once_and_in_order(
    spans: list[StreamRange], tasks: int, smallest: int
) -> None:
    pieces, found = split(spans, tasks, smallest), shares(spans, tasks, smallest)
    assert [piece for share in found for piece in share] == pieces
    most = max(smallest, -(-sum(map(len, spans)) // tasks))
    assert all(len(share) == 1 or sum(map(len, share)) <= most for share in found)


@pytest.mark.parametrize(("count", "length"), [(1_000, 100), (1_000, 1), (300, 9_999), (16, 3)])
@pytest.mark.parametrize("tasks", [1, 2, 7])
def test_small_streams_share_tasks(count: int, length: int, tasks: int) -> None:
    spans = [StreamRange(f"S{i}", "now", 1, length) for i in range(count)]
    found = shares(spans, tasks, 10_000)
    assert tasks - 1 <= len(found) <= 2 * tasks
    sizes = [len(share) for share in found]
    assert max(sizes) <= -(-count // tasks)


def test_large_streams_do_not_share_a_task() -> None:
    spans = [StreamRange(name, "now", 1, 50_000) for name in "ABC"]
    assert shares(spans, 2, 10_000) == [(span,) for span in spans]


def test_a_thousand_streams_are_admitted_in_no_time() -> None:
    available = {f"S{i}": Available(i + 1, 100.0) for i in range(5_000)}
    taken = admit(available, 100, None)
    assert sum(taken.values()) == 100


AVAILABLE = st.dictionaries(
    st.sampled_from("ABCDEF"),
    st.builds(Available, st.integers(0, 10**6), st.floats(1, 10**5)),
    max_size=6,
)


@given(AVAILABLE, st.integers(1, 6) | st.integers(1, 10**6))
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


@given(AVAILABLE, st.integers(1, 10**6))
def test_a_limit_is_used_up_but_for_what_does_not_divide(
    available: dict[str, Available], limit: int
) -> None:
    total = sum(each.count for each in available.values())
    unused = min(limit, total) - sum(admit(available, limit, None).values())
    assert 0 <= unused <= len(available)


@given(AVAILABLE)
def test_without_limits_all_is_admitted(available: dict[str, Available]) -> None:
    assert admit(available, None, None) == {n: each.count for n, each in available.items()}


@given(AVAILABLE, st.integers(1, 10**6), st.integers(1, 10**9))
def test_a_second_limit_never_admits_more(
    available: dict[str, Available], messages: int, size: int
) -> None:
    both = sum(admit(available, messages, size).values())
    assert both <= sum(admit(available, messages, None).values())


def test_a_limit_is_shared_in_proportion_to_the_backlogs() -> None:
    available = {"A": Available(900, 1), "B": Available(100, 1)}
    assert admit(available, 100, None) == {"A": 90, "B": 10}


def test_a_limit_of_bytes_is_shared_in_proportion_to_the_backlogs() -> None:
    available = {"A": Available(900, 10), "B": Available(100, 10)}
    assert admit(available, None, 1000) == {"A": 90, "B": 10}


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


def test_the_pace_keeps_a_smallest_batch() -> None:
    pace = Pace(target=1.0)
    pace.begin(1, now=0.0)
    pace.finish(now=1e9)
    assert pace.limit == 100


def test_an_end_without_a_beginning_leaves_the_pace() -> None:
    pace = Pace(target=1.0)
    first = pace.limit
    pace.finish(now=5.0)
    assert pace.limit == first


def test_a_batch_sets_the_pace_once() -> None:
    pace = Pace(target=1.0)
    pace.begin(pace.limit, now=0.0)
    pace.finish(now=2.0)
    after = pace.limit
    pace.finish(now=200.0)
    assert pace.limit == after


@given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(0, 10**6)), max_size=20))
def test_the_pace_always_allows_something(batches: list[tuple[int, float]]) -> None:
    pace, now = Pace(target=0.5), 0.0
    for count, took in batches:
        pace.begin(min(count, pace.limit), now)
        now += took
        pace.finish(now)
    assert pace.limit >= 100


@given(st.floats(1.0, 10**5))
def test_the_pace_settles_where_a_batch_takes_as_long_as_it_should(rate: float) -> None:
    pace, now = Pace(target=2.0), 0.0
    for _ in range(30):
        count = pace.limit
        pace.begin(count, now)
        now += count / rate
        pace.finish(now)
    assert pace.limit == pytest.approx(max(100, 2.0 * rate), rel=0.02)


_STREAMS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.builds(
        StreamOffset,
        st.integers(0, (1 << 63) - 1),
        st.text(max_size=12),
        st.none() | st.integers(0, (1 << 63) - 1),
    ),
    max_size=4,
)
OFFSETS = st.builds(Offset, _STREAMS, st.integers(0, 9))


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
        {"v": 1, "streams": {"S": {"seq": None, "created": ""}}},
        {"v": 1, "streams": {"S": {"seq": 5}}},
        {"v": 1, "streams": []},
        {"v": 1},
        {"v": "1", "streams": {}},
        [],
        "0",
        5,
        None,
    ],
)
def test_a_foreign_offset_is_refused(foreign: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=r"checkpointLocation: .* was not written by this source"):
        Offset.from_json(foreign)


def test_a_stream_goes_on_entering_until_something_of_it_is_in_a_batch() -> None:
    entering = StreamOffset(4, "now", after=4)
    assert entering.advanced(0) == entering
    assert entering.advanced(3) == StreamOffset(7, "now", after=4)
    assert entering.advanced(3).advanced(2) == StreamOffset(9, "now")
    assert entering.advanced(3).advanced(0) == StreamOffset(7, "now")


def test_equal_offsets_look_alike() -> None:
    one, two = StreamOffset(1, "x"), StreamOffset(2, "y")
    texts = [json.dumps(Offset(o).to_json()) for o in ({"A": one, "B": two}, {"B": two, "A": one})]
    assert texts[0] == texts[1]


def test_an_offset_knows_only_its_streams() -> None:
    offset = Offset({"A": StreamOffset(1, "x")})
    assert (offset.get("A"), offset.get("B")) == (StreamOffset(1, "x"), None)


def test_the_end_of_a_stream_is_behind_its_last_message() -> None:
    assert StreamOffset.end_of(info(3, 9)) == StreamOffset(9, "now")


def test_the_head_of_a_stream_is_before_its_first_message() -> None:
    assert StreamOffset.head_of(info(3, 9)) == StreamOffset(2, "now", after=2)


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


def test_of_an_empty_range_nothing_is_lost() -> None:
    assert lost_messages(info(20, 30), 9, 8) is None


@pytest.mark.parametrize(
    "words",
    [
        str(lost_messages(info(5, 30), 1, 9)),
        recreated("S", "then", "now"),
        vanished("S"),
        truncated(info(1, 30), 40),
    ],
)
def test_every_loss_names_the_stream_and_the_option_that_governs_it(words: str) -> None:
    assert "stream 'S'" in words
    assert "nats.fail.on.data.loss=false" in words


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
def test_filters_overlap_where_a_subject_fits_both_and_nowhere_else(one: str, other: str) -> None:
    assert overlap(one, other) == bool(taken_by(one) & taken_by(other))


@given(st.lists(FILTERS, max_size=3).map(tuple), FILTERS)
def test_narrowing_keeps_everything_that_fits_both(filters: tuple[str, ...], extra: str) -> None:
    wanted = {s for s in taken_by(extra) if matches_any(filters, s)}
    narrowed = narrow(filters, extra)
    kept = set() if narrowed is None else {s for s in EVERY_SUBJECT if matches_any(narrowed, s)}
    assert wanted <= kept


@given(st.lists(FILTERS, max_size=3).map(tuple), FILTERS)
def test_narrowing_takes_nothing_that_neither_asks_for(
    filters: tuple[str, ...], extra: str
) -> None:
    assert set(narrow(filters, extra) or ()) <= {*filters, extra}


def test_filters_that_exclude_each_other_narrow_to_nothing() -> None:
    assert narrow(("a.*",), "b.>") is None


def test_no_filters_take_every_subject() -> None:
    assert matches_any((), "any.thing")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("orders", None),
        ("", None),
        ("orders.", "orders.>"),
        ("orders.eu", "orders.>"),
        ("orders.eu.b", "orders.eu.>"),
        ("orders..x", None),
        (".x", None),
        ("a.*.x", None),
        ("a.>.x", None),
        ("a b.x", None),
    ],
)
def test_a_prefix_becomes_the_narrowest_filter_or_none(prefix: str, expected: str | None) -> None:
    assert prefix_filter(prefix) == expected


@pytest.mark.parametrize("subject", ["a", "a.b", "$JS.API", "a*b.c>", "grün.日本"])
def test_a_subject_of_a_message_is_literal(subject: str) -> None:
    assert is_literal(subject)


@pytest.mark.parametrize("subject", ["", ".", "a.", ".a", "a..b", "*", "a.>", "a b", "a\tb", "a\0"])
def test_what_no_message_can_have_as_subject_is_not_literal(subject: str) -> None:
    assert not is_literal(subject)


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
def test_what_is_no_subject_is_not_pushed(subject: str) -> None:
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
def test_a_subject_that_passes_a_filter_is_taken_by_the_filter_subject(
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
def test_a_filter_that_is_not_understood_sets_no_bounds(unknown: Filter) -> None:
    assert bounds_of([unknown]) == Bounds()


@pytest.mark.parametrize("kind", list(COMPARE))
def test_a_time_in_another_zone_is_the_same_moment(kind: type[Any]) -> None:
    there = datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    here = datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert bounds_of([kind(("timestamp",), there)]) == bounds_of([kind(("timestamp",), here)])


@given(st.integers(0, (1 << 63) - 1))
def test_times_survive_their_text(ns: int) -> None:
    assert rfc3339_to_ns(ns_to_rfc3339(ns)) == ns


@pytest.mark.parametrize("digits", range(10))
def test_fractions_have_up_to_nine_digits(digits: int) -> None:
    fraction = "987654321"[:digits]
    text = f"1970-01-01T00:00:00{'.' if digits else ''}{fraction}Z"
    assert rfc3339_to_ns(text) == int(fraction.ljust(9, "0"))


@pytest.mark.parametrize("text", ["2262-04-11T23:47:16.854775808Z", "9999-12-31T23:59:59Z"])
def test_a_time_past_64_bits_of_nanoseconds_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="64 bits"):
        rfc3339_to_ns(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T02:00:00.5+02:00", 5 * 10**8),
        ("1970-01-01t00:00:00.123456789z", 123_456_789),
        ("1970-01-01 00:00:00Z", 0),
        ("1970-01-01T00:00:00.1234567899Z", 123_456_789),
        ("1969-12-31T23:59:59.5Z", -5 * 10**8),
        ("1970-01-01T00:00:00-00:30", 1800 * 10**9),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * 10**9),
        ("2262-04-11T23:47:16.854775807Z", (1 << 63) - 1),
    ],
)
def test_times_in_other_spellings(text: str, ns: int) -> None:
    assert rfc3339_to_ns(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-01-01T00:00:60Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00Z ",
        "2024-01-01T00:00:00+25:00",
        "24-01-01T00:00:00Z",
        "\u0662024-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="not an RFC 3339 time"):
        rfc3339_to_ns(text)

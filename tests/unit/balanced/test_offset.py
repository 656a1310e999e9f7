"""The contents of a checkpoint of nats-balanced: packed numbers, sequences, deliveries."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nats_spark_common import OptionError
from nats_spark_common.rows.messages import Int64s
from pyspark_nats_balanced.deliveries import Deliveries
from pyspark_nats_balanced.intervals import Intervals
from pyspark_nats_balanced.offset import HISTORY, Offset
from pyspark_nats_balanced.packed_columns import pack, unpack, unzigzag, zigzag

HUGE = 1 << 62


def int64s(values: Iterable[int]) -> Int64s:
    return np.array(list(values), np.int64)


# Packed columns.

NUMBERS = st.integers(0, 300) | st.integers(0, HUGE)
COLUMNS = st.lists(st.lists(NUMBERS, max_size=20), max_size=7)


def packed(columns: list[list[int]]) -> str:
    return pack([int64s(column) for column in columns])


def unpacked(text: str, count: int) -> list[list[int]]:
    return [column.tolist() for column in unpack(text, count)]


def text_of(data: bytes) -> str:
    """Return the text that `pack` returns for these bytes."""
    return base64.b85encode(zlib.compress(data)).decode()


@given(COLUMNS)
def test_packed_columns_come_back(columns: list[list[int]]) -> None:
    assert unpacked(packed(columns), len(columns)) == columns


@pytest.mark.parametrize("bits", [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 62])
@pytest.mark.parametrize("beyond", [-1, 0])
def test_the_largest_number_of_a_width_comes_back(bits: int, beyond: int) -> None:
    column = [0, (1 << bits) + beyond, 1]
    assert unpacked(packed([column]), 1) == [column]


@pytest.mark.parametrize("column", [[], [0], [255], [1 << 15], [1 << 40]])
def test_columns_come_back_as_64_bits(column: list[int]) -> None:
    assert unpack(packed([column]), 1)[0].dtype == np.int64


@given(COLUMNS)
def test_equal_columns_have_one_text(columns: list[list[int]]) -> None:
    text = packed(columns)
    assert packed([column.tolist() for column in unpack(text, len(columns))]) == text


def test_other_columns_have_another_text() -> None:
    texts = {packed(each) for each in ([[1, 2], []], [[1], [2]], [[], [1, 2]], [[2, 1], []])}
    assert len(texts) == 4


@given(COLUMNS)
def test_packed_columns_need_no_escapes_in_json(columns: list[list[int]]) -> None:
    text = packed(columns)
    assert json.dumps(text) == f'"{text}"'


def test_one_large_number_among_small_ones_costs_next_to_nothing() -> None:
    small = [5] * 10_000
    assert len(packed([[*small, HUGE]])) < len(packed([small])) + 100


@given(COLUMNS.filter(len))
def test_a_text_that_is_cut_short_is_rejected(columns: list[list[int]]) -> None:
    text = packed(columns)
    for length in range(len(text)):
        with pytest.raises(ValueError):
            unpack(text[:length], len(columns))


@pytest.mark.parametrize("more", ["00000", "0000000000"])
def test_a_text_that_goes_on_is_rejected(more: str) -> None:
    for text in (packed([[1] * count]) for count in range(20)):
        with pytest.raises(ValueError):
            unpack(text + more, 1)


@given(COLUMNS.filter(len), st.data())
@settings(max_examples=300)
def test_a_changed_letter_never_makes_other_numbers(
    columns: list[list[int]], data: st.DataObject
) -> None:
    text = packed(columns)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.characters()) + text[at + 1 :]
    try:
        found = unpacked(changed, len(columns))
    except ValueError:
        return
    assert found == columns


@given(st.text() | st.text("0123456789ABCDEFabcdef~{}"), st.integers(0, 7))
def test_a_text_that_was_never_packed_is_rejected(text: str, count: int) -> None:
    with pytest.raises(ValueError):
        unpack(text, count)


@given(COLUMNS, st.integers(0, 9))
def test_another_number_of_columns_is_rejected(columns: list[list[int]], count: int) -> None:
    assume(count != len(columns))
    with pytest.raises(ValueError, match="it is too long" if count < len(columns) else "cut short"):
        unpack(packed(columns), count)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x01\x00\x00\x00",
        b"\x00\x00\x00\x00\x00",
        b"\x03\x01\x00\x00\x00abc",
        b"\x09\x01\x00\x00\x00abcdefghi",
        b"\x02\x01\x00\x00\x00a",
        b"\x01\xff\xff\xff\xffa",
        b"\x01\x01\x00\x00\x00ab",
    ],
)
def test_bytes_that_are_no_column_are_rejected(data: bytes) -> None:
    with pytest.raises(ValueError):
        unpack(text_of(data), 1)


@given(st.lists(st.integers(-300, 300) | st.integers(-HUGE, HUGE - 1)))
def test_signed_numbers_come_back(values: list[int]) -> None:
    assert unzigzag(zigzag(int64s(values))).tolist() == values


@given(st.lists(st.integers(-HUGE, HUGE - 1)))
def test_signed_numbers_become_non_negative(values: list[int]) -> None:
    assert (zigzag(int64s(values)) >= 0).all()


def test_numbers_near_zero_stay_small() -> None:
    assert zigzag(int64s([0, -1, 1, -2, 2])).tolist() == [0, 1, 2, 3, 4]


# Sets of sequences.

SEQS = st.integers(1, 60) | st.integers(HUGE - 60, HUGE)
SPANS = st.lists(st.tuples(SEQS, st.integers(1, 9)), max_size=8)
SETS = SPANS.map(lambda spans: {start + i for start, length in spans for i in range(length)})


def intervals(members: Iterable[int]) -> Intervals:
    return Intervals.of(int64s(members))


def pairs(found: Intervals) -> list[tuple[int, int]]:
    return list(zip(found.starts.tolist(), found.ends.tolist(), strict=True))


def members(found: Intervals) -> set[int]:
    return {seq for start, end in pairs(found) for seq in range(start, end + 1)}


def are_apart(found: Intervals) -> bool:
    """Return whether the intervals ascend, and no two overlap or are adjacent."""
    spans = pairs(found)
    return all(start <= end for start, end in spans) and all(
        end + 1 < start for (_, end), (start, _) in pairwise(spans)
    )


@given(st.lists(SEQS))
def test_a_set_holds_the_sequences_it_is_made_of(seqs: list[int]) -> None:
    assert members(intervals(seqs)) == set(seqs)


@given(st.lists(SEQS))
def test_the_intervals_of_a_set_ascend_and_do_not_touch(seqs: list[int]) -> None:
    assert are_apart(intervals(seqs))


@pytest.mark.parametrize(
    ("seqs", "expected"),
    [
        ([], []),
        ([7], [(7, 7)]),
        ([3, 1, 2], [(1, 3)]),
        ([1, 3], [(1, 1), (3, 3)]),
        ([5, 5, 5], [(5, 5)]),
        ([9, 4, 5, 8, 4], [(4, 5), (8, 9)]),
    ],
)
def test_the_intervals_of_some_sets(seqs: list[int], expected: list[tuple[int, int]]) -> None:
    assert pairs(intervals(seqs)) == expected


@given(SETS)
def test_a_set_is_as_long_as_it_has_intervals(some: set[int]) -> None:
    assert len(intervals(some)) == sum(seq - 1 not in some for seq in some)


@given(SETS, st.lists(SEQS))
def test_a_set_knows_what_it_contains(some: set[int], probes: list[int]) -> None:
    assert intervals(some).contains(int64s(probes)).tolist() == [p in some for p in probes]


@given(SETS)
def test_a_set_ends_at_the_bounds_of_its_intervals(some: set[int]) -> None:
    probes = [edge + by for span in pairs(intervals(some)) for edge in span for by in (-1, 0, 1)]
    assert intervals(some).contains(int64s(probes)).tolist() == [p in some for p in probes]


@given(st.lists(SEQS))
def test_the_empty_set_contains_nothing(probes: list[int]) -> None:
    assert Intervals.empty().contains(int64s(probes)).tolist() == [False] * len(probes)


@given(SETS, SETS)
def test_a_union_holds_what_either_set_holds(one: set[int], two: set[int]) -> None:
    assert members(intervals(one).union(intervals(two))) == one | two


@given(SETS, SETS)
def test_the_intervals_of_a_union_ascend_and_do_not_touch(one: set[int], two: set[int]) -> None:
    assert are_apart(intervals(one).union(intervals(two)))


@given(SETS, SETS)
def test_a_union_is_commutative(one: set[int], two: set[int]) -> None:
    first, second = intervals(one), intervals(two)
    assert pairs(first.union(second)) == pairs(second.union(first))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (range(1, 6), range(6, 9)),  # touching
        (range(1, 6), range(3, 9)),  # overlapping
        (range(1, 9), range(3, 5)),  # one in the other
        (range(1, 9), range(1, 9)),  # equal
        ((1, 2, 4, 6, 8), (3, 5, 7)),  # into each other's gaps
    ],
)
def test_intervals_that_touch_or_overlap_become_one(one: Iterable[int], two: Iterable[int]) -> None:
    assert pairs(intervals(one).union(intervals(two))) == [(1, 8)]


def test_an_interval_within_one_does_not_shorten_what_comes_later() -> None:
    one = Intervals(int64s([1, 30]), int64s([20, 40]))
    assert pairs(one.union(intervals([3, 22]))) == [(1, 20), (22, 22), (30, 40)]


@given(SETS, st.integers(1, 10))
def test_the_newest_intervals_are_those_of_the_highest_sequences(some: set[int], most: int) -> None:
    assert pairs(intervals(some).newest(most)) == pairs(intervals(some))[-most:]


def test_the_newest_zero_intervals_are_none() -> None:
    assert len(intervals([1, 3, 5]).newest(0)) == 0


@given(SETS)
def test_a_packed_set_comes_back(some: set[int]) -> None:
    assert pairs(Intervals.unpack(intervals(some).pack())) == pairs(intervals(some))


def test_a_set_that_begins_at_zero_comes_back() -> None:
    assert pairs(Intervals.unpack(intervals([0, 1, 5]).pack())) == [(0, 1), (5, 5)]


def test_a_long_interval_is_packed_as_shortly_as_a_short_one() -> None:
    long = Intervals(int64s([1]), int64s([10**12]))
    assert len(long.pack()) < 40


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [[1], [], []],
        [[], [1], []],
        [[], [], [1]],
        [[1], [2], [3]],
        [[1], [2, 3], [4, 5]],
        [[1], [], [1], []],
        [[1], []],
    ],
)
def test_a_text_that_is_no_packed_set_is_rejected(columns: list[list[int]]) -> None:
    with pytest.raises(ValueError):
        Intervals.unpack(packed(columns))


# Deliveries.

Row = tuple[int, int, int]  # stream sequence, consumer sequence, count of deliveries

LARGE = 1 << 60  # differences of differences stay within 64 bits
COUNTS = st.integers(1, 3) | st.integers(1, LARGE)
ROWS = st.dictionaries(
    st.integers(1, 60) | st.integers(1, LARGE),
    st.tuples(st.integers(1, 60) | st.integers(1, LARGE), COUNTS),
    max_size=30,
).map(lambda found: [(seq, *found[seq]) for seq in sorted(found)])


@st.composite
def rows_in_runs(draw: st.DrawFn) -> list[Row]:
    """Draw runs of messages, with gaps in either sequence, some of them redelivered."""
    seq, consumer_seq = draw(st.integers(1, LARGE)), draw(st.integers(1, LARGE))
    rows = []
    for _ in range(draw(st.integers(0, 8))):
        count = draw(st.sampled_from([1, 1, 1, 2, 9]))
        for _ in range(draw(st.integers(1, 12))):
            rows.append((seq, consumer_seq, count))
            seq, consumer_seq = seq + 1, consumer_seq + 1
        gap = draw(st.sampled_from([0, 0, 1]) | st.integers(0, 1000))
        seq += gap
        consumer_seq = max(1, consumer_seq + draw(st.just(gap) | st.just(0) | st.integers(-99, 99)))
    return rows


ANY_ROWS = ROWS | rows_in_runs()


def deliveries(rows: Iterable[Row]) -> Deliveries:
    columns = np.array(list(rows), np.int64).reshape(-1, 3).T
    return Deliveries(columns[0].copy(), columns[1].copy(), columns[2].copy())


def rows_of(found: Deliveries) -> list[Row]:
    columns = (found.seqs, found.consumer_seqs, found.counts)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@st.composite
def arrivals(draw: st.DrawFn) -> list[list[Row]]:
    """Draw unordered parts of deliveries of few messages, so that some are redelivered."""
    delivered = draw(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 3)), max_size=20))
    rows = [(seq, number + 1, count) for number, (seq, count) in enumerate(delivered)]
    rows = draw(st.permutations(rows) | st.just(rows))
    cuts = draw(st.lists(st.integers(0, len(rows)), max_size=4).map(sorted))
    return [rows[a:b] for a, b in pairwise([0, *cuts, len(rows)])]


@given(arrivals())
@settings(max_examples=200)
def test_each_message_is_there_once_in_stream_order(parts: list[list[Row]]) -> None:
    seqs = Deliveries.of([deliveries(part) for part in parts]).seqs.tolist()
    assert seqs == sorted({seq for part in parts for seq, _, _ in part})


@given(arrivals())
@settings(max_examples=200)
def test_the_last_delivery_of_a_message_counts(parts: list[list[Row]]) -> None:
    last: dict[int, Row] = {}
    for row in sorted((row for part in parts for row in part), key=lambda row: row[1]):
        last[row[0]] = row
    found = Deliveries.of([deliveries(part) for part in parts])
    assert rows_of(found) == [last[seq] for seq in sorted(last)]


@given(ANY_ROWS)
def test_ordered_deliveries_are_unchanged(rows: list[Row]) -> None:
    assert rows_of(Deliveries.of([deliveries(rows)])) == rows


@pytest.mark.parametrize("parts", [[], [Deliveries.empty()], [Deliveries.empty()] * 3])
def test_empty_parts_are_empty(parts: list[Deliveries]) -> None:
    assert rows_of(Deliveries.of(parts)) == []


@given(ANY_ROWS, st.data())
def test_a_mask_picks_messages(rows: list[Row], data: st.DataObject) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    expected = [row for row, wanted in zip(rows, mask, strict=True) if wanted]
    assert rows_of(deliveries(rows).select(np.array(mask, bool))) == expected


@given(ANY_ROWS, st.integers(0, 30), st.integers(0, 30))
def test_a_slice_picks_messages(rows: list[Row], start: int, stop: int) -> None:
    assert rows_of(deliveries(rows).select(slice(start, stop))) == rows[start:stop]


def numbered(count: int) -> Deliveries:
    return deliveries((i, i, 1) for i in range(1, count + 1))


@given(ANY_ROWS, st.integers(1, 64))
def test_the_pieces_hold_all_messages_in_order(rows: list[Row], pieces: int) -> None:
    assert [row for piece in deliveries(rows).split(pieces) for row in rows_of(piece)] == rows


@given(st.integers(0, 5000), st.integers(1, 500))
def test_there_are_as_many_pieces_as_wanted_and_none_is_empty(count: int, pieces: int) -> None:
    sizes = [len(piece) for piece in numbered(count).split(pieces)]
    assert (len(sizes), min(sizes, default=1) > 0) == (min(count, pieces), True)


@given(st.integers(1, 5000), st.integers(1, 500))
def test_the_pieces_are_about_even(count: int, pieces: int) -> None:
    sizes = [len(piece) for piece in numbered(count).split(pieces)]
    assert max(sizes) - min(sizes) <= 1


@given(ANY_ROWS)
@settings(max_examples=300)
def test_packed_deliveries_come_back(rows: list[Row]) -> None:
    assert rows_of(Deliveries.unpack(deliveries(rows).pack())) == rows


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("start", [1, HUGE])
def test_packed_runs_come_back_whichever_way_the_consumer_moves(step: int, start: int) -> None:
    rows = [(start + i + i // 3 * 7, 1 + i + i // 3 * step, 1) for i in range(30)]
    assert rows_of(Deliveries.unpack(deliveries(rows).pack())) == rows


def test_how_often_messages_in_a_row_were_delivered_comes_back() -> None:
    rows = [(seq, seq, 1 + seq // 5) for seq in range(1, 20)]
    assert rows_of(Deliveries.unpack(deliveries(rows).pack())) == rows


def test_deliveries_in_reverse_of_the_stream_come_back() -> None:
    rows = [(seq, 100 - seq, 1) for seq in range(1, 100)]
    assert rows_of(Deliveries.unpack(deliveries(rows).pack())) == rows


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [[0]],
        [[0], [1], [], [1], [], [0]],
        [[0], [1], [], [1], [], [0], [0], [0]],
        [[0], [], [], [1], [], [0], [0]],
        [[0], [1], [], [], [], [0], [0]],
        [[0], [1], [], [1], [], [], [0]],
        [[0], [1], [], [1], [], [0], []],
        [[0], [1], [1], [1], [], [0, 0], [0, 0]],
    ],
)
def test_columns_that_are_no_deliveries_are_rejected(columns: list[list[int]]) -> None:
    with pytest.raises(ValueError):
        Deliveries.unpack(packed(columns))


def test_packed_deliveries_that_do_not_say_how_the_consumer_moves_are_rejected() -> None:
    with pytest.raises(ValueError):
        Deliveries.unpack(packed([[], [1], [], [1], [], [0], [0]]))


def test_a_packed_set_is_not_taken_for_deliveries() -> None:
    with pytest.raises(ValueError):
        Deliveries.unpack(intervals([1, 2, 5]).pack())


# Offsets.

CREATED = "2024-05-01T12:00:00.123456789Z"
TEXTS = st.text(max_size=12)


def offset(rows: Iterable[Row] = (), done: Iterable[int] = ()) -> Offset:
    return Offset(
        "ORDERS", CREATED, "spark", "$JS.ACK.ORDERS.spark", 17, deliveries(rows), intervals(done)
    )


def logged(end: Offset) -> dict[str, Any]:
    """Return the offset as Spark reads it from its log."""
    found: dict[str, Any] = json.loads(json.dumps(end.to_json()))
    return found


def values(end: Offset) -> tuple[object, ...]:
    names = (end.stream, end.created, end.consumer, end.ack_prefix, end.batch)
    return (*names, rows_of(end.deliveries), pairs(end.done))


@given(
    st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, st.integers(0, HUGE)),
    ANY_ROWS.map(deliveries),
    SETS.map(intervals),
)
def test_an_offset_survives_the_checkpoint(
    named: tuple[str, str, str, str, int], ends: Deliveries, done: Intervals
) -> None:
    end = Offset(*named, ends, done)
    assert values(Offset.from_json(logged(end))) == values(end)


def test_the_start_of_a_query_survives_the_checkpoint() -> None:
    start = Offset("ORDERS", CREATED, "spark", "$JS.ACK.ORDERS.spark")
    assert values(Offset.from_json(logged(start))) == values(start)


def test_equal_offsets_have_equal_json() -> None:
    rows = [(1, 1, 1), (5, 2, 1)]
    assert json.dumps(offset(rows, [7, 3]).to_json()) == json.dumps(offset(rows, [3, 7]).to_json())


def test_an_offset_says_how_many_messages_it_has() -> None:
    assert logged(offset([(1, 1, 1), (5, 2, 1)]))["messages"] == 2


def test_the_newest_committed_intervals_are_logged() -> None:
    done = Intervals.of(np.arange(HISTORY + 5) * 2)
    assert pairs(Offset.from_json(logged(offset(done=done.starts))).done) == pairs(done)[5:]


def test_all_committed_intervals_are_logged_if_they_are_few_enough() -> None:
    done = Intervals.of(np.arange(HISTORY) * 2)
    assert pairs(Offset.from_json(logged(offset(done=done.starts))).done) == pairs(done)


@pytest.mark.parametrize(
    "foreign",
    [
        {},
        {"topic": {"0": 5}},
        {"v": 1, "streams": {}},
        {"v": 1, "streams": {"ORDERS": {"seq": 5, "created": CREATED}}},
        {"v": 1},
        [],
        "0",
        5,
        None,
    ],
)
def test_a_foreign_offset_is_rejected(foreign: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"checkpointLocation: .* was not written by this source"):
        Offset.from_json(foreign)


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_an_offset_of_an_unknown_version_is_rejected(version: object) -> None:
    with pytest.raises(OptionError, match=r"checkpointLocation: .*its version is"):
        Offset.from_json({**logged(offset()), "v": version})


GOOD = logged(offset([(1, 1, 1), (5, 2, 1)], [3, 7]))


@pytest.mark.parametrize("name", [name for name in GOOD if name != "messages"])
def test_an_offset_without_one_of_its_fields_is_rejected(name: str) -> None:
    damaged = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(OptionError, match="checkpointLocation"):
        Offset.from_json(damaged)


DAMAGED = {
    "null": None,
    "number": 5,
    "list": [],
    "empty": "",
    "spaces": "no base 85",
    "umlaut": "grün",
    "cut at the end": str(GOOD["runs"])[:-1],
    "cut at the start": str(GOOD["runs"])[1:],
    "no columns": packed([]),
    "other columns": packed([[1], [2]]),
}


@pytest.mark.parametrize("name", ["runs", "done"])
@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_damaged_runs_are_rejected(name: str, damaged: object) -> None:
    with pytest.raises(OptionError, match="checkpointLocation"):
        Offset.from_json({**GOOD, name: damaged})


def test_runs_that_do_not_say_how_the_consumer_moves_are_rejected() -> None:
    damaged = {**GOOD, "runs": packed([[], [1], [], [1], [], [0], [0]])}
    with pytest.raises(OptionError, match="checkpointLocation"):
        Offset.from_json(damaged)


@pytest.mark.parametrize("batch", [None, "x", [], {}])
def test_a_damaged_number_of_the_batch_is_rejected(batch: object) -> None:
    with pytest.raises(OptionError, match="checkpointLocation"):
        Offset.from_json({**GOOD, "batch": batch})


def test_a_long_foreign_offset_is_abbreviated_in_the_error() -> None:
    with pytest.raises(OptionError) as raised:
        Offset.from_json({"v": 2, "runs": "x" * 10**6})
    assert len(str(raised.value)) < 600


# How much of the checkpoint a message takes.

BATCH = 100_000
SEED = 20_240_501


def logged_size(seqs: Int64s, consumer_seqs: Int64s) -> float:
    """Return the bytes of JSON per message of a batch that follows a similar one."""
    ends = Deliveries(seqs[BATCH:], consumer_seqs[BATCH:], np.ones(BATCH, np.int64))
    done = Intervals.of(seqs[:BATCH])
    end = Offset("ORDERS", CREATED, "spark", "$JS.ACK.ORDERS.spark", 17, ends, done)
    return len(json.dumps(end.to_json())) / BATCH


def ordinal() -> Int64s:
    return np.arange(1, 2 * BATCH + 1)


def taken_at_random(share: float) -> Int64s:
    """Return sequences, each of the stream's with probability ``share``."""
    return np.random.default_rng(SEED).geometric(share, 2 * BATCH).cumsum()


def test_a_consumer_that_nobody_shares_takes_half_a_byte_a_message_at_most() -> None:
    assert logged_size(ordinal(), ordinal()) <= 0.5


@pytest.mark.parametrize("alone", [True, False])
def test_a_thousand_runs_take_half_a_byte_a_message_at_most(alone: bool) -> None:
    gaps = np.random.default_rng(SEED).integers(1, 10**6, 2 * BATCH)
    seqs = ordinal() + np.cumsum(np.where(ordinal() % 100 == 0, gaps, 0))
    assert logged_size(seqs, ordinal() if alone else seqs) <= 0.5


def test_a_consumer_shared_by_turns_takes_four_bytes_a_message_at_most() -> None:
    assert logged_size(2 * ordinal(), 2 * ordinal()) <= 4


@pytest.mark.parametrize("share", [1 / 2, 1 / 5, 1 / 100])
def test_a_consumer_shared_at_random_takes_four_bytes_a_message_at_most(share: float) -> None:
    seqs = taken_at_random(share)
    assert logged_size(seqs, seqs) <= 4


def test_a_filter_that_passes_one_in_a_hundred_takes_four_bytes_a_message_at_most() -> None:
    assert logged_size(taken_at_random(1 / 100), ordinal()) <= 4


@pytest.mark.parametrize("share", [1 / 2, 1 / 100])
def test_others_that_share_a_consumer_cost_no_more_than_a_filter(share: float) -> None:
    seqs = taken_at_random(share)
    assert logged_size(seqs, seqs) == pytest.approx(logged_size(seqs, ordinal()), rel=0.01)

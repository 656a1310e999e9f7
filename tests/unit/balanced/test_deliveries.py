"""The deliveries of a batch of nats-balanced: merged, selected, divided, packed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyspark_nats_balanced.deliveries import Deliveries

from ..._support.checkpoint_parts import ANY_ROWS, HUGE, Row, deliveries, intervals, packed, rows_of


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

"""How the messages of a batch of nats-balanced are read: in ranges, or one by one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common.rows.messages import Int64s
from pyspark_nats_balanced.read_messages import plan_reads

HUGE = 1 << 61
SINGLE_OR_NOT = st.sampled_from([1, 1, 1, 2, 9, 400, 999, 1000, 1001, 1002, 10_000, 10**9])


@st.composite
def batches(draw: st.DrawFn) -> Int64s:
    """Draw sequences in runs with a constant distance each, dense and sparse."""
    paces = draw(st.lists(st.tuples(SINGLE_OR_NOT, st.integers(0, 800)), max_size=6))
    gaps = np.repeat([pace for pace, _ in paces], [count for _, count in paces])
    return (draw(st.integers(1, 5) | st.just(HUGE)) + np.cumsum(gaps)).astype(np.int64)


def runs(*spans: tuple[int, int]) -> Int64s:
    """Return the sequences of ranges, ends included."""
    return np.concatenate([np.arange(first, last + 1) for first, last in spans])


@given(batches())
def test_each_sequence_is_read_exactly_once(seqs: Int64s) -> None:
    ranges, singles = plan_reads(seqs)
    ranged = [seqs[(first <= seqs) & (seqs <= last)] for first, last in ranges]
    read = np.concatenate([*ranged, singles])
    assert np.sort(read).tolist() == seqs.tolist()


@given(batches())
def test_ranges_ascend_and_do_not_overlap(seqs: Int64s) -> None:
    ranges, _ = plan_reads(seqs)
    assert all(first <= last for first, last in ranges)
    assert all(one[1] < two[0] for one, two in pairwise(ranges))


@given(batches())
def test_ranges_begin_and_end_with_a_sequence_that_is_wanted(seqs: Int64s) -> None:
    bounds = {edge for span in plan_reads(seqs)[0] for edge in span}
    assert bounds <= set(seqs.tolist())


@given(batches())
def test_single_sequences_ascend(seqs: Int64s) -> None:
    _, singles = plan_reads(seqs)
    assert (np.diff(singles) > 0).all()


def test_nothing_is_read_for_no_sequences() -> None:
    ranges, singles = plan_reads(np.zeros(0, np.int64))
    assert (ranges, singles.tolist()) == ([], [])


@pytest.mark.parametrize("start", [1, 123_456, HUGE])
def test_contiguous_messages_are_one_range(start: int) -> None:
    ranges, singles = plan_reads(runs((start, start + 9_999)))
    assert (ranges, singles.tolist()) == ([(start, start + 9_999)], [])


def test_every_second_message_is_read_in_one_range() -> None:
    ranges, singles = plan_reads(np.arange(1, 20_000, 2))
    assert (ranges, singles.tolist()) == ([(1, 19_999)], [])


def test_messages_far_apart_are_read_one_by_one() -> None:
    seqs = np.arange(1, 10_000_000, 10_000)
    ranges, singles = plan_reads(seqs)
    assert (ranges, singles.tolist()) == ([], seqs.tolist())


@pytest.mark.parametrize("count", [1, 2, 10])
def test_few_messages_are_read_one_by_one_however_close(count: int) -> None:
    ranges, singles = plan_reads(np.arange(1, count + 1))
    assert (ranges, singles.tolist()) == ([], list(range(1, count + 1)))


@pytest.mark.parametrize("gap", [5_000, 10**6, 10**15])
def test_a_long_gap_divides_two_ranges(gap: int) -> None:
    ranges, singles = plan_reads(runs((1, 10_000), (10_000 + gap, 20_000 + gap)))
    assert (ranges, singles.tolist()) == ([(1, 10_000), (10_000 + gap, 20_000 + gap)], [])


def test_a_short_gap_divides_no_range() -> None:
    ranges, singles = plan_reads(runs((1, 10_000), (10_100, 20_000)))
    assert (ranges, singles.tolist()) == ([(1, 20_000)], [])


def test_stragglers_between_ranges_are_read_one_by_one() -> None:
    ranges, singles = plan_reads(runs((1, 10_000), (500_000, 500_001), (10**6, 10**6 + 10_000)))
    assert ranges == [(1, 10_000), (10**6, 10**6 + 10_000)]
    assert singles.tolist() == [500_000, 500_001]

"""Sets of sequences of nats-balanced, as intervals: members, unions, packed form."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyspark_nats_balanced.intervals import Intervals

from ..._support.checkpoint_parts import SEQS, SETS, int64s, intervals, packed, pairs


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

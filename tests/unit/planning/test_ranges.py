"""How sequences are divided into tasks."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common.planning.ranges import StreamRange, plan_tasks, split

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
    pieces = iter(split(spans, tasks, smallest))
    for span in filter(len, spans):
        reached = span.first - 1
        while reached < span.last:
            piece = next(pieces)
            assert (piece.stream, piece.created) == (span.stream, span.created)
            assert reached + 1 == piece.first <= piece.last <= span.last
            reached = piece.last
    assert next(pieces, None) is None


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
    pieces, found = split(spans, tasks, smallest), plan_tasks(spans, tasks, smallest)
    assert [piece for share in found for piece in share] == pieces
    most = max(smallest, -(-sum(map(len, spans)) // tasks))
    assert all(len(share) == 1 or sum(map(len, share)) <= most for share in found)


@pytest.mark.parametrize(("count", "length"), [(1_000, 100), (1_000, 1), (300, 9_999), (16, 3)])
@pytest.mark.parametrize("tasks", [1, 2, 7])
def test_small_streams_share_tasks(count: int, length: int, tasks: int) -> None:
    spans = [StreamRange(f"S{i}", "now", 1, length) for i in range(count)]
    found = plan_tasks(spans, tasks, 10_000)
    assert tasks - 1 <= len(found) <= 2 * tasks
    sizes = [len(share) for share in found]
    assert max(sizes) <= -(-count // tasks)


def test_large_streams_do_not_share_a_task() -> None:
    spans = [StreamRange(name, "now", 1, 50_000) for name in "ABC"]
    assert plan_tasks(spans, 2, 10_000) == [(span,) for span in spans]

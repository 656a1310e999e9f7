"""The parts of a checkpoint of nats-balanced, from plain lists and sets, and back to them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hypothesis import strategies as st

from nats_spark_common.rows.messages import Int64s
from pyspark_nats_balanced.deliveries import Deliveries
from pyspark_nats_balanced.intervals import Intervals
from pyspark_nats_balanced.packed_columns import pack

HUGE = 1 << 62


def int64s(values: Iterable[int]) -> Int64s:
    return np.array(list(values), np.int64)


def packed(columns: list[list[int]]) -> str:
    return pack([int64s(column) for column in columns])


# Sets of sequences.

SEQS = st.integers(1, 60) | st.integers(HUGE - 60, HUGE)
SPANS = st.lists(st.tuples(SEQS, st.integers(1, 9)), max_size=8)
SETS = SPANS.map(lambda spans: {start + i for start, length in spans for i in range(length)})


def intervals(members: Iterable[int]) -> Intervals:
    return Intervals.of(int64s(members))


def pairs(found: Intervals) -> list[tuple[int, int]]:
    return list(zip(found.starts.tolist(), found.ends.tolist(), strict=True))


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

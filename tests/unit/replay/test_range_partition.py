"""Small record batches are joined, which changes neither rows nor their order."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common.replay.range_partition import joined

SIZES = st.lists(st.tuples(st.integers(1, 2_000), st.sampled_from([1, 100, 100_000])), max_size=20)


@given(SIZES)
def test_joined_batches_have_the_same_rows_and_are_few(sizes: list[tuple[int, int]]) -> None:
    batches, start = [], 0
    for rows, size in sizes:
        rows = max(1, min(rows, 1_000_000 // size))
        numbers = pa.array(range(start, start + rows))
        payloads = pa.array([b"." * size] * rows, pa.binary())
        batches.append(pa.record_batch([numbers, payloads], ["number", "content"]))
        start += rows
    found = list(joined(iter(batches)))
    assert [n for each in found for n in each["number"].to_pylist()] == list(range(start))
    for each in found[:-1]:  # none is kept back longer than it must
        assert each.num_rows >= 1_000 or each.nbytes >= 1 << 18
    for each in found:
        largest = max((b.nbytes for b in batches), default=0)
        assert each.nbytes <= (1 << 18) + largest

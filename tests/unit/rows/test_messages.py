"""Blocks of messages: a mask selects rows of every column."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common.rows.messages import HEADERS_TYPE, TIMESTAMP_TYPE, Messages


def block(count: int) -> Messages:
    """Return messages 10, 20, ... with every column; every third has a header."""
    numbers = range(1, count + 1)
    own = [[("N", [str(n)])] if n % 3 == 0 else [] for n in numbers]
    times = pa.array([n * 1000 for n in numbers], pa.int64())
    columns = {
        "subject": pa.array([f"a.{n}" for n in numbers], pa.string()),
        "content": pa.array([b"x" * n for n in numbers], pa.binary()),
        "headers": pa.array(own, HEADERS_TYPE),
        "timestamp": times.cast(TIMESTAMP_TYPE),
    }
    return Messages(np.array([10 * n for n in numbers], np.int64), columns)


def rows(messages: Messages) -> list[tuple[object, ...]]:
    columns = [messages.columns[name].to_pylist() for name in sorted(messages.columns)]
    return list(zip(messages.seqs.tolist(), *columns, strict=True))


MASKS = st.lists(st.booleans(), max_size=12)


@given(MASKS)
def test_a_mask_picks_messages_with_all_their_columns(mask: list[bool]) -> None:
    messages = block(len(mask))
    expected = [row for row, wanted in zip(rows(messages), mask, strict=True) if wanted]
    assert rows(messages.select(np.array(mask, bool))) == expected


@given(MASKS)
def test_a_mask_picks_messages_of_a_slice(mask: list[bool]) -> None:
    messages = block(len(mask) + 5).slice(2, 2 + len(mask))
    expected = [row for row, wanted in zip(rows(messages), mask, strict=True) if wanted]
    assert rows(messages.select(np.array(mask, bool))) == expected


@given(MASKS)
def test_a_mask_leaves_the_types_of_the_columns(mask: list[bool]) -> None:
    messages = block(len(mask))
    picked = messages.select(np.array(mask, bool)).columns
    types = {name: column.type for name, column in messages.columns.items()}
    assert {name: column.type for name, column in picked.items()} == types


def test_a_mask_picks_messages_without_columns() -> None:
    messages = Messages(np.array([3, 5, 9], np.int64))
    picked = messages.select(np.array([True, False, True]))
    assert (picked.seqs.tolist(), picked.columns) == ([3, 9], {})

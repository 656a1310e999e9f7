"""The offset of nats-balanced: its JSON in a checkpoint, damaged JSON, and its size per message."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common import OptionError
from nats_spark_common.rows.messages import Int64s
from pyspark_nats_balanced.deliveries import Deliveries
from pyspark_nats_balanced.intervals import Intervals
from pyspark_nats_balanced.offset import HISTORY, Offset

from ..._support.checkpoint_parts import (
    ANY_ROWS,
    HUGE,
    SETS,
    Row,
    deliveries,
    intervals,
    packed,
    pairs,
    rows_of,
)

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
BATCHES = 5  # then the number of committed intervals has reached its limit
SEED = 20_240_501


def logged_size(seqs: Int64s, consumer_seqs: Int64s) -> float:
    """Return the bytes of JSON per message of a batch that follows similar ones."""
    ends = Deliveries(seqs[-BATCH:], consumer_seqs[-BATCH:], np.ones(BATCH, np.int64))
    done = Intervals.of(seqs[:-BATCH])
    end = Offset("ORDERS", CREATED, "spark", "$JS.ACK.ORDERS.spark", 17, ends, done)
    return len(json.dumps(end.to_json())) / BATCH


def ordinal() -> Int64s:
    return np.arange(1, BATCHES * BATCH + 1)


def taken_at_random(share: float) -> Int64s:
    """Return sequences, each of the stream's with probability ``share``."""
    return np.random.default_rng(SEED).geometric(share, BATCHES * BATCH).cumsum()


def test_a_consumer_that_nobody_shares_takes_a_few_hundred_bytes() -> None:
    assert logged_size(ordinal(), ordinal()) * BATCH <= 400


@pytest.mark.parametrize("alone", [True, False])
def test_a_thousand_runs_take_half_a_byte_a_message_at_most(alone: bool) -> None:
    gaps = np.random.default_rng(SEED).integers(1, 10**6, BATCHES * BATCH)
    seqs = ordinal() + np.cumsum(np.where(ordinal() % 100 == 0, gaps, 0))
    assert logged_size(seqs, ordinal() if alone else seqs) <= 0.5


def test_a_consumer_shared_by_turns_takes_half_a_byte_a_message_at_most() -> None:
    assert logged_size(2 * ordinal(), 2 * ordinal()) <= 0.5


@pytest.mark.parametrize(
    ("share", "size"), [(1 / 2, 1.3), (1 / 5, 1.7), (1 / 20, 2.1), (1 / 100, 2.8)]
)
def test_a_consumer_shared_at_random_takes_as_many_bytes_a_message_as_documented(
    share: float, size: float
) -> None:
    seqs = taken_at_random(share)
    assert size - 0.2 < logged_size(seqs, seqs) < size


@pytest.mark.parametrize("share", [1 / 2, 1 / 100])
def test_others_that_share_a_consumer_cost_no_more_than_a_filter(share: float) -> None:
    seqs = taken_at_random(share)
    assert logged_size(seqs, seqs) == pytest.approx(logged_size(seqs, ordinal()), rel=0.01)

"""The messages that a query has committed."""

from __future__ import annotations

import numpy as np

from pyspark_nats_balanced.committed import Committed
from pyspark_nats_balanced.deliveries import Deliveries
from pyspark_nats_balanced.intervals import Intervals
from pyspark_nats_balanced.offset import Offset


def delivered(*seqs: int) -> Deliveries:
    column = np.array(seqs, np.int64)
    return Deliveries(column, column, np.ones(len(seqs), np.int64))


def offset(*seqs: int, newest: int = 0) -> Offset:
    return Offset("S", "2024", "spark", "$JS.ACK.S.spark", 1, delivered(*seqs), newest=newest)


def test_a_new_query_has_committed_nothing() -> None:
    committed = Committed()
    assert committed.contains(delivered(1, 2)).tolist() == [False, False]
    assert (committed.last, committed.newest) == (0, 0)


def test_messages_of_added_batches_are_committed() -> None:
    committed = Committed()
    committed.add(offset(1, 2, newest=20))
    committed.add(offset(4, newest=10))
    assert committed.contains(delivered(1, 2, 3, 4, 5)).tolist() == [True, True, False, True, False]
    assert (committed.last, committed.newest) == (4, 20)


def test_an_offset_restores_the_messages_before_its_batch() -> None:
    committed = Committed()
    done = Intervals.of(np.array([1, 2, 3]))
    committed.restore(Offset("S", "2024", "spark", "", 2, delivered(4), done, newest=40))
    assert committed.contains(delivered(3, 4)).tolist() == [True, False]
    assert committed.newest == 40


def test_a_message_stored_after_all_committed_ones_is_newer() -> None:
    committed = Committed()
    committed.add(offset(1, newest=20))
    assert committed.is_newer(np.array([19, 20, 21])).tolist() == [False, False, True]


def test_after_clear_nothing_is_committed() -> None:
    committed = Committed()
    committed.add(offset(1, newest=20))
    committed.clear()
    assert not committed.contains(delivered(1)).any()
    assert (committed.last, committed.newest) == (0, 0)

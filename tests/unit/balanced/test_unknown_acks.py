"""Whether the consumer has acknowledged messages that the checkpoint does not know."""

from __future__ import annotations

import numpy as np
import pytest

from pyspark_nats_balanced.consumer_info import ConsumerInfo
from pyspark_nats_balanced.deliveries import Deliveries
from pyspark_nats_balanced.intervals import Intervals
from pyspark_nats_balanced.offset import Offset
from pyspark_nats_balanced.unknown_acks import UnknownAcks, last_known, unknown_acks

NONE, POSSIBLE, LIKELY = UnknownAcks

#: A batch of the messages 41 to 80, which were delivered as 41 to 80.
SEQS = np.arange(41, 81)
POSITION = Offset(
    "S",
    "2024",
    "spark",
    "$JS.ACK.S.spark",
    2,
    Deliveries(SEQS, SEQS, np.ones(40, np.int64)),
    Intervals.of(np.arange(1, 41)),
)


def consumer(delivered: int, acked: int, floor: int) -> ConsumerInfo:
    """Return a consumer; ``delivered`` and ``acked`` are consumer sequences."""
    return ConsumerInfo.from_json(
        {
            "name": "spark",
            "created": "2024",
            "config": {"ack_policy": "explicit"},
            "delivered": {"consumer_seq": delivered, "stream_seq": 200},
            "ack_floor": {"consumer_seq": acked, "stream_seq": floor},
            "num_pending": 0,
            "num_ack_pending": 0,
            "num_redelivered": 0,
        }
    )


@pytest.mark.parametrize(
    ("delivered", "acked", "floor", "stored", "limits", "workqueue"),
    [
        (120, 80, 80, False, NONE, NONE),
        (150, 150, 80, False, NONE, NONE),  # committed messages were redelivered and acknowledged
        (120, 120, 120, True, LIKELY, LIKELY),
        (120, 120, 120, False, POSSIBLE, LIKELY),  # removed: by their acks, a purge or limits
        (80, 80, 120, False, NONE, NONE),  # the floor passes messages of other subjects
        (80, 80, 120, True, POSSIBLE, POSSIBLE),  # the filter has changed
        (40, 20, 100, True, LIKELY, LIKELY),  # after a reset
        (40, 20, 100, False, POSSIBLE, LIKELY),
        (40, 0, 100, False, NONE, NONE),
        (40, 0, 100, True, POSSIBLE, POSSIBLE),
    ],
)
def test_acks_are_unknown_if_the_floor_and_the_consumer_sequence_have_advanced(
    delivered: int,
    acked: int,
    floor: int,
    stored: bool,
    limits: UnknownAcks,
    workqueue: UnknownAcks,
) -> None:
    info = consumer(delivered, acked, floor)
    found = [unknown_acks(POSITION, info, stored, kept) for kept in ("limits", "workqueue")]
    assert found == [limits, workqueue]


def test_what_was_committed_before_the_batch_is_known_too() -> None:
    redelivered = Deliveries(np.array([5]), np.array([81]), np.array([2]))
    position = Offset("S", "2024", "spark", "", 3, redelivered, Intervals.of(np.array([90])))
    assert (last_known(position), last_known(POSITION)) == (90, 80)
    assert last_known(Offset("S", "2024", "spark", "")) == 0

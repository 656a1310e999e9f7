"""Acks of messages that were not sent are errors: those messages would be lost otherwise."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from nats_spark_common.errors import ProtocolError
from nats_spark_common.sink.encode import encode, numbered_replies
from nats_spark_common.sink.fast_batch import FastBatches
from nats_spark_common.sink.in_flight import Chunk, Window
from nats_spark_common.sink.pub_acks import Reply
from nats_spark_common.sink.rows import Rows

COUNT, SENT = 10, 4


def chunk(batch: str = "") -> Chunk:
    """Return rows of which only the first have been sent, as publishes from number 100 on."""
    texts = [str(i) for i in range(COUNT)]
    rows = Rows(np.arange(COUNT), pa.array(texts), None, pa.array(texts, pa.binary()))
    frames = encode(rows, numbered_replies("_INBOX.a", 100, COUNT))
    return Chunk(rows, frames, first=100, batch=batch, flow=10, sent=SENT)


def window(held: Chunk) -> Window:
    found = Window(1 << 20)
    found.chunks.append(held)
    return found


def test_an_ack_of_a_message_that_was_not_sent() -> None:
    held = chunk()
    window(held).store(np.array([100, 103]))
    assert held.stored.tolist() == [True, False, False, True] + [False] * 6
    with pytest.raises(ProtocolError, match="not sent"):
        window(held).store(np.array([101, 104]))
    assert not held.stored[1:3].any()


@pytest.mark.parametrize(
    "body",
    [
        {"type": "ack", "msgs": 10, "seq": SENT + 1},
        {"type": "ack", "msgs": 10, "seq": 1 << 70},
        {"stream": "S", "seq": 7, "batch": "b", "count": SENT + 1},
    ],
)
def test_an_ack_of_more_of_a_batch_than_was_sent(body: dict[str, object]) -> None:
    held = chunk("b")
    with pytest.raises((ProtocolError, ValueError)):
        FastBatches().apply(held, Reply("b", 0, body), "", None)
    assert not held.stored.any()


def test_the_server_cannot_demand_that_more_is_in_flight_than_the_limit() -> None:
    batches = FastBatches()
    body = {"type": "ack", "msgs": 1 << 40, "seq": SENT}
    batches.apply(chunk("b"), Reply("b", 0, body), "", None)
    assert batches.max_in_flight(100) <= 8_000

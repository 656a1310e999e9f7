"""The responses to a pull request, as the deliveries of a batch. Pure: bytes in, deliveries out.

Source: ADR-15 (ack subjects), ADR-37 (pull consumers).
"""

from __future__ import annotations

from dataclasses import dataclass

from nats_spark_common.protocol.operations import Event
from nats_spark_common.reading.deliveries import Pull, PullStatus, decode_deliveries
from nats_spark_common.rows.messages import Int64s

from .deliveries import Deliveries


@dataclass(frozen=True)
class PullResponses:
    """The operations in a block of received bytes.

    Attributes:
        deliveries: the consumer's messages, in order of arrival.
        times: when each was stored, in nanoseconds since the epoch.
        ack_prefix: start of the messages' ack subjects, without the last dot; empty without
            messages.
        status: the end of the pull; None while it continues.
        others: protocol operations that do not belong to the pull (PING, INFO, ...).
        consumed: bytes of the block that were decoded.
    """

    deliveries: Deliveries
    times: Int64s
    ack_prefix: str
    status: PullStatus | None
    others: list[Event]
    consumed: int


def decode_responses(data: bytes, pull: Pull) -> PullResponses:
    """Decode the complete operations at the start of ``data``; payloads are skipped.

    Raises:
        ProtocolError: the bytes do not follow the NATS protocol.
    """
    found = decode_deliveries(data, pull, frozenset())
    return PullResponses(
        Deliveries(found.messages.seqs, found.consumer_seqs, found.delivered),
        found.times_ns,
        found.ack_prefix,
        found.status,
        found.others,
        found.consumed,
    )

"""Acknowledgements of delivered messages: ``+ACK``, in progress (``+WPI``), or ``-NAK``.

The server finds a message that awaits its ack by its stream sequence. So a message can be
acknowledged after a restart and a redelivery too. A ``-NAK`` must also name the consumer sequence
of a delivery above the ack floor.

Source: NATS docs, "JetStream wire API Reference" (Acknowledging Messages), ADR-15.
"""

from __future__ import annotations

import time

from nats_spark_common.connection.connection import Connection
from nats_spark_common.errors import JetStreamUnavailableError
from nats_spark_common.jetstream.api import NO_RESPONDERS
from nats_spark_common.protocol.operations import header_status

from .deliveries import Deliveries

ACK = "+ACK"
IN_PROGRESS = "+WPI"
NAK = "-NAK"

#: Acks between two confirmations: the server processes them well within a request's timeout.
_CONFIRMED_EVERY = 20_000

#: Minimum seconds to send the last of them, after the others were sent in time.
_MIN_SEND_SECONDS = 0.1


def send_acks(
    link: Connection,
    prefix: str,
    deliveries: Deliveries,
    kind: str,
    timeout: float,
    send_timeout: float,
) -> None:
    """Send an ack for each message and wait until the server has processed them all.

    The server processes the acks of one connection in order, so the confirmation of one covers
    those before it. It never confirms a sequence that the consumer has not delivered.

    Args:
        prefix: start of the ack subjects, without the last dot.
        kind: `ACK`, `IN_PROGRESS` or `NAK`.
        timeout: seconds to wait for a confirmation.
        send_timeout: seconds to send the acks of one confirmation.

    Raises:
        JetStreamUnavailableError: nothing subscribes to the acks: the consumer or its server is
            gone.
        TimeoutExpiredError, ConnectError: as `Connection.request` does.
    """
    for start in range(0, len(deliveries), _CONFIRMED_EVERY):
        part = deliveries.select(slice(start, start + _CONFIRMED_EVERY))
        *unconfirmed, last = _subjects(prefix, part)
        deadline = time.monotonic() + send_timeout
        _publish(link, unconfirmed, kind, send_timeout)
        rest = max(deadline - time.monotonic(), _MIN_SEND_SECONDS)
        reply = link.request(last, kind.encode(), timeout, send_timeout=rest)
        if reply.header and header_status(reply.header)[0] == NO_RESPONDERS:
            raise JetStreamUnavailableError(
                f"no responders for acks at {prefix}.>: the consumer was deleted, its server is "
                "down, or this account does not import these subjects; check the consumer with "
                "'nats consumer info'"
            )


def _subjects(prefix: str, deliveries: Deliveries) -> list[str]:
    numbers = zip(
        deliveries.counts.tolist(),
        deliveries.seqs.tolist(),
        deliveries.consumer_seqs.tolist(),
        strict=True,
    )
    return [f"{prefix}.{count}.{seq}.{consumer_seq}.0.0" for count, seq, consumer_seq in numbers]


def _publish(link: Connection, subjects: list[str], kind: str, timeout: float) -> None:
    tail = f" {len(kind)}\r\n{kind}\r\n"
    link.send("".join([f"PUB {subject}{tail}" for subject in subjects]).encode(), timeout)

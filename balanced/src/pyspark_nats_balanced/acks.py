"""Telling a durable consumer of its messages: done, in work, or to be delivered again.

The server finds a message that awaits its ack by its stream sequence, so that whoever knows it can
acknowledge the message, after a restart and a redelivery too. A ``-NAK`` must name the consumer
sequence of a delivery above the ack floor as well.

Source: NATS docs, "JetStream wire API Reference" (Acknowledging Messages), ADR-15.
"""

from __future__ import annotations

from nats_spark_common.connection.connection import Connection
from nats_spark_common.errors import JetStreamUnavailableError
from nats_spark_common.jetstream.api import NO_RESPONDERS
from nats_spark_common.protocol.operations import header_status

from .deliveries import Deliveries

DONE = "+ACK"
IN_PROGRESS = "+WPI"
NOT_NOW = "-NAK"

#: Messages between two confirmations: what the server works off well within a request's timeout.
_CONFIRMED_EVERY = 20_000


def confirm(
    link: Connection, prefix: str, deliveries: Deliveries, word: str, timeout: float
) -> None:
    """Send ``word`` for each message and wait until the server has taken them all.

    The server works off one connection's acks in their order, so a confirmed one says that those
    before it are done as well. It never confirms a sequence that the consumer has not reached.

    Args:
        prefix: what the ack subjects begin with, without the last dot.
        timeout: seconds for the server to confirm.

    Raises:
        JetStreamUnavailableError: nobody takes the acks: the consumer is gone, or its server.
        TimeoutExpiredError, ConnectError: as `Connection.request`.
    """
    for start in range(0, len(deliveries), _CONFIRMED_EVERY):
        part = deliveries.select(slice(start, start + _CONFIRMED_EVERY))
        *unconfirmed, last = _subjects(prefix, part)
        _send(link, unconfirmed, word)
        reply = link.request(last, word.encode(), timeout)
        if reply.header and header_status(reply.header)[0] == NO_RESPONDERS:
            raise JetStreamUnavailableError(
                f"nobody takes the acks at {prefix}.>: the consumer is gone, or its server, or "
                "these subjects are not imported into this account"
            )


def _subjects(prefix: str, deliveries: Deliveries) -> list[str]:
    numbers = zip(
        deliveries.counts.tolist(),
        deliveries.seqs.tolist(),
        deliveries.consumer_seqs.tolist(),
        strict=True,
    )
    return [f"{prefix}.{count}.{seq}.{consumer_seq}.0.0" for count, seq, consumer_seq in numbers]


def _send(link: Connection, subjects: list[str], word: str) -> None:
    tail = f" {len(word)}\r\n{word}\r\n"
    link.send("".join([f"PUB {subject}{tail}" for subject in subjects]).encode())

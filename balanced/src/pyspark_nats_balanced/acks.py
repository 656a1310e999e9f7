"""Acknowledging messages of a durable consumer.

The server finds a message that awaits its ack by its stream sequence; the other numbers of an ack
subject are not looked at. So a message can be acknowledged by whoever knows its sequence, after a
restart too.

Source: NATS docs, "JetStream wire API Reference" (Acknowledging Messages), ADR-15.
"""

from __future__ import annotations

from collections.abc import Sequence

from nats_spark_common.errors import JetStreamUnavailableError
from nats_spark_common.jetstream import NO_RESPONDERS
from nats_spark_common.messages import Int64s
from nats_spark_common.protocol import header_status
from nats_spark_common.wire import Connection

IN_PROGRESS = "+WPI"
NOT_NOW = "-NAK"
_DONE = "+ACK"

#: Messages between two confirmations: what the server works off well within a request's timeout.
_CONFIRMED_EVERY = 20_000


def acknowledge(link: Connection, prefix: str, seqs: Int64s, timeout: float) -> None:
    """Acknowledge messages and wait until the server has taken the acks.

    The server works off one connection's acks in their order, so a confirmed one says that those
    before it are done as well. It never confirms a sequence that the consumer has not reached.

    Args:
        prefix: what the ack subjects begin with, without the last dot.
        timeout: seconds for the server to confirm.

    Raises:
        JetStreamUnavailableError: nobody takes the acks: the consumer is gone, or its server.
        TimeoutExpiredError, ConnectError: as `Connection.request`.
    """
    numbers = seqs.tolist()
    for start in range(0, len(numbers), _CONFIRMED_EVERY):
        *unconfirmed, last = numbers[start : start + _CONFIRMED_EVERY]
        tell(link, prefix, unconfirmed, _DONE)
        subject = f"{prefix}.1.{last}.1.0.0"
        reply = link.request(subject, _DONE.encode(), timeout)
        if reply.header and header_status(reply.header)[0] == NO_RESPONDERS:
            raise JetStreamUnavailableError(f"nobody takes the acks at {prefix}")


def tell(link: Connection, prefix: str, seqs: Sequence[int], word: str) -> None:
    """Send ``word`` for each message, without confirmation. Raises ``ConnectError``."""
    link.send("".join([f"PUB {prefix}.1.{seq}.1.0.0 4\r\n{word}\r\n" for seq in seqs]).encode())

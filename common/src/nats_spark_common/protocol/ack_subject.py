"""Reads the ack subject of a delivered message, and knows how pulls end. Pure.

Source: ADR-15 (ack subjects), ADR-37 (pull consumers).
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import ProtocolError
from .operations import parse_sequence

#: The first tokens of the reply subject of a delivered message.
ACK = b"$JS.ACK."

#: Descriptions of a 409 status that ends a pull normally: its ``max_bytes`` are used up.
PULL_ENDS = ("batch completed", "message size exceeds maxbytes")


class AckSubject(NamedTuple):
    """The contents of a delivered message's reply subject.

    Attributes:
        prefix: the tokens up to the consumer's name.
        delivered: number of deliveries of the message, including this one.
        time_ns: when the message was stored, in nanoseconds since the epoch.
    """

    prefix: bytes
    delivered: int
    seq: int
    consumer_seq: int
    time_ns: int

    @property
    def consumer(self) -> bytes:
        return self.prefix.rpartition(b".")[2]


def parse_ack_subject(subject: bytes) -> AckSubject | None:
    """Parse an ack subject; return None if the subject is not one.

    The form is ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.
    <time>.<pending>``. Newer servers add domain and account hash before the stream, and may add a
    token at the end.
    """
    tokens = subject.split(b".")
    named = 4 if len(tokens) == 9 else 6
    numbers = tokens[named : named + 4]
    if len(tokens) < 9 or len(tokens) == 10:
        return None
    try:
        return AckSubject(b".".join(tokens[:named]), *map(parse_sequence, numbers))
    except ProtocolError:
        return None

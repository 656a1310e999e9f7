"""What a server sends in answer to a pull, as far as every reader of it must know. Pure.

Source: ADR-15 (ack subjects), ADR-37 (pull consumers).
"""

from __future__ import annotations

from typing import NamedTuple

#: What the reply subject of a delivered message begins with.
ACK = b"$JS.ACK."

#: Words of a 409 that ends a pull in good order: its bytes are used up.
PULL_ENDS = ("batch completed", "message size exceeds maxbytes")


class AckSubject(NamedTuple):
    """What the reply subject of a delivered message tells.

    Attributes:
        prefix: its tokens up to the consumer's name.
        delivered: how often the message was delivered, this delivery included.
        time_ns: when it was stored, since the epoch.
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
    """None where it is not the ack subject of a message.

    It is ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.
    <pending>``, or has domain and account hash before the stream and perhaps a token at the end.
    """
    tokens = subject.split(b".")
    named = 4 if len(tokens) == 9 else 6
    numbers = tokens[named : named + 4]
    if len(tokens) < 9 or len(tokens) == 10 or not all(map(bytes.isdigit, numbers)):
        return None
    return AckSubject(b".".join(tokens[:named]), *map(int, numbers))

"""Decides whether the consumer has acknowledged messages that the checkpoint does not know. Pure.

A checkpoint that has lost its last batches (files in ``offsets`` and ``commits``) runs different
batches under the same numbers. A file sink skips them, because it has already written those.

The ack floor alone does not show this: it also advances past messages that a filter excludes, and
past removed ones. Consumer sequences alone do not show it either, because a reset restarts them at
1. Together with the messages that are stored below the floor, they do.
"""

from __future__ import annotations

from enum import Enum

from .consumer_info import ConsumerInfo
from .offset import Offset


class UnknownAcks(Enum):
    """Whether messages were acknowledged that the checkpoint does not know."""

    NONE = "none"
    #: Another cause is as likely: removed messages, or a filter that has changed.
    POSSIBLE = "possible"
    #: They were, or a work queue or interest stream has removed messages that await their acks.
    LIKELY = "likely"


def last_known(position: Offset) -> int:
    """Return the highest stream sequence that a checkpoint knows; 0 if it knows none."""
    return max(int(position.deliveries.seqs.max(initial=0)), int(position.done.ends.max(initial=0)))


def unknown_acks(position: Offset, info: ConsumerInfo, stored: bool, retention: str) -> UnknownAcks:
    """Compare a position with the consumer.

    Args:
        stored: whether the stream still has messages that the consumer delivers, after the last
            known one and up to the ack floor.
        retention: the stream's; with ``limits``, acknowledged messages stay in the stream.
    """
    if info.ack_floor <= last_known(position):
        return UnknownAcks.NONE
    known = int(position.deliveries.consumer_seqs.max(initial=0))
    was_reset = info.delivered_consumer_seq < known
    advanced = info.ack_floor_consumer_seq > (0 if was_reset else known)
    if advanced and (stored or retention != "limits"):
        return UnknownAcks.LIKELY
    return UnknownAcks.POSSIBLE if advanced or stored else UnknownAcks.NONE

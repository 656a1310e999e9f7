"""The words in which a query tells what became of its stream and its consumer. Pure."""

from __future__ import annotations

from nats_spark_common.options.settings import NatsSettings


def gone(stream: str, consumer: str, how: str, last: int) -> str:
    """The message about a consumer that is not the one that the position rests on.

    Args:
        last: sequence of the last message known to be committed; 0 if there is none.
    """
    known = f" (its last message was {last})" if last else ""
    return (
        f"consumer {consumer!r} of stream {stream!r} {how}, and the position of this query went "
        f"with the one that was{known}: create it again where it should go on and start a new "
        "checkpoint, or set nats.fail.on.data.loss=false to go on with it as it is, made from "
        "nats.start if it is missing; what this checkpoint remembers is then not emitted again"
    )


def other_message(stream: str, seq: int) -> str:
    """The message about a stream that has other messages under sequences that are committed."""
    return (
        f"stream {stream!r} has another message at sequence {seq} than the one that this query "
        "has committed: it was restored from an older state, or began anew, as a memory stream "
        "does when its server restarts. Start a new checkpoint, or set "
        "nats.fail.on.data.loss=false to go on with the messages that it has now"
    )


def unknown_acks(stream: str, consumer: str, floor: int, known: int) -> str:
    """The message about acks that the checkpoint knows nothing of."""
    return (
        f"consumer {consumer!r} of stream {stream!r} is done up to sequence {floor}, but this "
        f"checkpoint only up to {known}: if no other member has acknowledged them, the checkpoint "
        "has lost its last batches (files in offsets and commits), and a sink that remembers "
        "their numbers passes over what comes under them now. Start a new checkpoint, or set "
        "nats.fail.on.data.loss=false to go on with this one"
    )


def gives_up(stream: str, consumer: str, max_deliver: int) -> str:
    """The warning about a consumer that does not deliver a message for ever."""
    return (
        f"consumer {consumer!r} of stream {stream!r} delivers a message at most {max_deliver} "
        "times (max_deliver): messages that a driver has pulled and not logged when it ends count "
        "as delivered, and are given up after the last time"
    )


def asleep(stream: str, consumer: str, settings: NatsSettings) -> str:
    """The message about a query that asks no more."""
    return (
        f"no message for nats.idle.timeout.minutes ({settings.idle_timeout_minutes:g} s): consumer "
        f"{consumer!r} of stream {stream!r} is not asked any more until the query starts anew"
    )

"""Errors and warnings about changes of a query's stream and consumer. Pure."""

from __future__ import annotations

from nats_spark_common.options.settings import NatsSettings

#: File sinks remember the batch numbers in their output folder.
_NEW_FOLDER = "Start a new checkpoint and, with a file sink, a new output folder"


def consumer_gone(stream: str, consumer: str, how: str, last: int) -> str:
    """Return the message about a consumer that is not the one of the query's position.

    Args:
        how: what happened to it, as a predicate.
        last: sequence of the last message known to be committed; 0 if there is none.
    """
    known = f" (its last committed message was {last})" if last else ""
    return (
        f"consumer {consumer!r} of stream {stream!r} {how}, so this query's position is "
        f"lost{known}. Create the consumer with the start that you want and start a new "
        "checkpoint; or set nats.fail.on.data.loss=false to continue with the existing consumer, "
        "or with a new one from nats.start if it is missing. Messages that this checkpoint "
        "remembers are then not emitted again"
    )


def replaced_message(stream: str, seq: int) -> str:
    """Return the message about a stream with a different message at a committed sequence."""
    return (
        f"stream {stream!r} has a different message at sequence {seq} than the one that this "
        "query has committed: the stream was restored from an older state, or lost its messages, "
        "as a memory stream does when its server restarts. Start a new checkpoint, or set "
        "nats.fail.on.data.loss=false to continue with the messages that the stream has now"
    )


def unknown_acks(stream: str, consumer: str, floor: int, known: int, stored: bool) -> str:
    """Return the message about acks that the checkpoint does not know.

    Args:
        stored: whether some of these messages are still stored.
    """
    removed = "" if stored else ", and they were not removed after delivery (by a purge or limits)"
    return (
        f"consumer {consumer!r} of stream {stream!r} is acknowledged up to sequence {floor}, but "
        f"this checkpoint only up to {known}. If no other client has acknowledged these messages"
        f"{removed}, the checkpoint has lost its last batches (files in offsets and commits), and "
        f"a sink that remembers batch numbers skips the next batches. {_NEW_FOLDER}; or set "
        "nats.fail.on.data.loss=false to continue with this checkpoint"
    )


def acks_before_first_batch(stream: str, consumer: str, floor: int) -> str:
    """Return the warning about a first batch from a consumer that was used before."""
    return (
        f"consumer {consumer!r} of stream {stream!r} is acknowledged up to sequence {floor}, and "
        "this checkpoint has no batch: the query starts after these messages. If it has "
        "acknowledged them itself, its checkpoint has lost all batches (files in offsets and "
        "commits), and a sink that remembers batch numbers skips the next batches: stop the "
        f"query. {_NEW_FOLDER}"
    )


def limited_deliveries(stream: str, consumer: str, max_deliver: int) -> str:
    """Return the warning about a consumer with a limit of deliveries."""
    times = "once" if max_deliver == 1 else f"{max_deliver} times"
    return (
        f"consumer {consumer!r} of stream {stream!r} delivers a message at most {times} "
        "(max_deliver): messages that a driver has pulled and not logged when it ends count as "
        "delivered, and the server stops after the last delivery. Remove max_deliver, or "
        "handle the MAX_DELIVERIES advisories"
    )


def idle_timeout(stream: str, consumer: str, settings: NatsSettings) -> str:
    """Return the warning about a query that stops polling."""
    return (
        f"consumer {consumer!r} of stream {stream!r} had no message for nats.idle.timeout.minutes "
        f"({settings.idle_timeout_minutes:g} s): polling stops until the query is restarted"
    )


def other_client(stream: str, consumer: str) -> str:
    """Return the message for a consumer that was to be used by this query alone."""
    return (
        f"consumer {consumer!r} of stream {stream!r} delivers messages to another client, and "
        "nats.ack.policy=all would acknowledge them too: stop the other client, or use a consumer "
        "with ack_policy explicit and nats.ack.policy=explicit"
    )

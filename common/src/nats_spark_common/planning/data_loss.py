"""What counts as data loss, and the words in which it is told."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..errors import DataLossError, NatsSparkError
from ..jetstream.api import StreamInfo
from ..options.settings import NatsSettings
from ..protocol.subjects import overlap

_log = logging.getLogger(__name__)

_REMEDY = "set nats.fail.on.data.loss=false to go on with what is there"


def report_loss(
    settings: NatsSettings, words: str, kind: type[NatsSparkError] = DataLossError
) -> None:
    """Fail, or say so and go on, as ``nats.fail.on.data.loss`` has it. Raises ``kind``."""
    if settings.fail_on_data_loss:
        raise kind(words)
    _log.warning("%s; going on", words)


def report_unmatched(filters: Iterable[str], streams: Iterable[StreamInfo]) -> None:
    """Warn of filters that take none of the streams' subjects, in another case perhaps.

    It is no error, since messages may be older than the streams' present subjects. Mirrors, and
    streams that transform subjects, name none to compare with.
    """
    infos = list(streams)
    if any(info.transforms or not info.subjects for info in infos):
        return
    for each in filters:
        if not any(overlap(each, own) for info in infos for own in info.subjects):
            _log.warning(
                "nats.stream.subjects: %s takes none of the subjects of %s: no row will come by it "
                "(subjects are case-sensitive)",
                each,
                "; ".join(f"stream {info.name}, {', '.join(info.subjects)}" for info in infos[:10]),
            )


def lost_messages(info: StreamInfo, first: int, last: int) -> str | None:
    """The message about the part of ``first``..``last`` that left the stream's head; None if none.

    Limits and purges remove messages at the head and move the first sequence; a message deleted
    in the stream's midst leaves it where it is, and is no loss.
    """
    if last < first or info.first_seq <= first:
        return None
    gone = min(last, info.first_seq - 1)
    return (
        f"stream {info.name!r}: messages {first} to {gone} were removed (by its limits or a purge) "
        f"before they were read; its first message is now {info.first_seq}. Keep messages longer "
        f"than the query can be down, or {_REMEDY}"
    )


def recreated(stream: str, known: str, created: str) -> str:
    """The message about a stream that is not the one that the position was taken on."""
    return (
        f"stream {stream!r} was deleted and created again at {created}: the position was taken on "
        f"the stream created at {known} and means nothing in the new one. Start a new checkpoint, "
        f"or {_REMEDY}, from the new stream's first message"
    )


def vanished(stream: str) -> str:
    """The message about a stream that the checkpoint knows and the server does not."""
    return (
        f"stream {stream!r} is in the checkpoint, but no longer exists or is no longer among the "
        f"streams that the options name: restore it, name it, start a new checkpoint, or {_REMEDY}"
    )


def truncated(info: StreamInfo, position: int) -> str:
    """The message about a stream that ends before the position: restored from an older backup."""
    return (
        f"stream {info.name!r} ends at sequence {info.last_seq}, before the position {position} of "
        f"the checkpoint: it was restored from an older state. Start a new checkpoint, or {_REMEDY}"
    )

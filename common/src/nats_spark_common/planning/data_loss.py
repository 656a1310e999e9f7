"""Decides what counts as data loss, and reports it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..errors import DataLossError, NatsSparkError
from ..jetstream.api import StreamInfo
from ..options.settings import NatsSettings
from ..protocol.subjects import overlap

_log = logging.getLogger(__name__)

_REMEDY = "set nats.fail.on.data.loss=false to continue with the available messages"


def report_loss(
    settings: NatsSettings, message: str, kind: type[NatsSparkError] = DataLossError
) -> None:
    """Raise ``kind`` if ``nats.fail.on.data.loss`` is set; otherwise log a warning."""
    if settings.fail_on_data_loss:
        raise kind(message)
    _log.warning("%s; continuing", message)


def report_unmatched(filters: Iterable[str], streams: Iterable[StreamInfo]) -> None:
    """Log a warning for each filter that matches none of the streams' subjects.

    It is not an error, because stored messages may be older than the streams' current subjects.
    Nothing is compared for mirrors and for streams that transform subjects or have sources, because
    these may store any subject.
    """
    infos = list(streams)
    if any(info.transforms or info.sourced or not info.subjects for info in infos):
        return
    for each in filters:
        if not any(overlap(each, own) for info in infos for own in info.subjects):
            _log.warning(
                "nats.stream.subjects: %s matches none of the subjects of %s, so no new rows will "
                "match it; check its spelling (subjects are case-sensitive)",
                each,
                "; ".join(f"stream {info.name}, {', '.join(info.subjects)}" for info in infos[:10]),
            )


def lost_messages(info: StreamInfo, first: int, last: int) -> str | None:
    """Return the message about lost messages of ``first``..``last``; None if none were lost.

    Limits and purges remove messages at the stream's head and advance its first sequence. A message
    deleted inside the stream does not, and is not counted as data loss.
    """
    if last < first or info.first_seq <= first:
        return None
    gone = min(last, info.first_seq - 1)
    what = f"message {first} was" if first == gone else f"messages {first} to {gone} were"
    return (
        f"stream {info.name!r}: {what} removed (by its limits or a purge) "
        f"before being read; its first message is now {info.first_seq}. Keep messages longer "
        f"than the query can be down, or {_REMEDY}"
    )


def recreated(stream: str, known: str, created: str) -> str:
    """Return the message about a stream that was recreated since the position was recorded."""
    return (
        f"stream {stream!r} was deleted and recreated at {created}: the position belongs to the "
        f"stream created at {known} and is invalid in the new one. Start a new checkpoint, "
        f"or {_REMEDY}, from the new stream's first message"
    )


def vanished(stream: str) -> str:
    """Return the message about a stream that is in the checkpoint but not on the server."""
    return (
        f"stream {stream!r} is in the checkpoint, but no longer exists or is no longer among the "
        f"streams that the options select: restore it, select it, start a new checkpoint, or "
        f"{_REMEDY}"
    )


def truncated(info: StreamInfo, position: int) -> str:
    """Return the message about a stream that ends before the position."""
    return (
        f"stream {info.name!r} ends at sequence {info.last_seq}, before the position {position} of "
        f"the checkpoint: it was restored from an older backup. Start a new checkpoint, or "
        f"{_REMEDY}"
    )

"""Reading the messages of a batch in a task: all that were planned, in order, or an error.

Sequences that lie close together are read as a range, like any other flavor's; those far apart one
by one. Whatever is missing then is requested from the stream's leader, because the replicas that
answer direct gets may lag, and mirrors that answer them may lack messages. Rows of a task come in
sequence order, whichever way each was read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nats_spark_common.connection import retry
from nats_spark_common.connection.pool import connection
from nats_spark_common.errors import DataLossError, TimeoutExpiredError
from nats_spark_common.jetstream.requests import request_with_retry
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.data_loss import recreated, report_loss
from nats_spark_common.planning.ranges import StreamRange
from nats_spark_common.reading.range_reader import read_range
from nats_spark_common.reading.single_gets import read_singly
from nats_spark_common.rows.messages import Int64s, Messages, merged

_log = logging.getLogger(__name__)

# What reading costs, in microseconds on the development machine; only the ratios count.
_RANGE, _RANGE_SEQUENCE, _SINGLE = 2_000, 2, 12


@dataclass(frozen=True)
class Source:
    """Where a batch's messages are stored.

    Attributes:
        created: creation time of the stream that the batch was planned on.
        direct: whether direct gets are answered; else the leader reads each message.
        ranges: whether direct get batches are answered.
        elsewhere: whether other members of the consumer may have acknowledged some of the
            messages, which a stream that is no log removes then.
    """

    stream: str
    created: str
    direct: bool
    ranges: bool
    elsewhere: bool = False


def plan(seqs: Int64s) -> tuple[list[tuple[int, int]], Int64s]:
    """The ranges, ends included, in which to read ascending ``seqs``; and those to read singly."""
    if not len(seqs):
        return [], seqs
    apart = np.flatnonzero(np.diff(seqs) * _RANGE_SEQUENCE > _RANGE) + 1
    ranges: list[tuple[int, int]] = []
    single = np.ones(len(seqs), bool)
    bounds = [0, *apart.tolist(), len(seqs)]
    for start, stop in pairwise(bounds):
        first, last = int(seqs[start]), int(seqs[stop - 1])
        if (stop - start) * _SINGLE > _RANGE + (last - first + 1) * _RANGE_SEQUENCE:
            ranges.append((first, last))
            single[start:stop] = False
    return ranges, seqs[single]


def read_messages(
    settings: NatsSettings, source: Source, seqs: Int64s, fields: frozenset[str]
) -> Iterator[Messages]:
    """Yield the messages, each once, in sequence order.

    Args:
        seqs: ascending.
        fields: the columns to decode, of `MESSAGE_COLUMNS`.

    Raises:
        DataLossError: the stream was recreated; or messages are gone, with
            ``nats.fail.on.data.loss``.
        NatsSparkError: the last of ``nats.retry.count`` + 1 failures in a row.
    """
    ranges, single = plan(seqs) if source.ranges else ([], seqs)
    missing = np.ones(len(seqs), bool)
    for messages in _complete(settings, source, seqs, ranges, single, fields):
        missing[np.searchsorted(seqs, messages.seqs)] = False
        yield messages
    if not missing.any() and not len(single):
        return  # the ranges have seen to it that the stream is the same
    info = request_with_retry(settings, f"STREAM.INFO.{source.stream}")
    if info["created"] != source.created:
        raise DataLossError(recreated(source.stream, source.created, info["created"]))
    overwritten = int(info["config"].get("max_msgs_per_subject") or 0) > 0
    if missing.any():
        _tell(settings, source, seqs[missing], overwritten)


def _complete(
    settings: NatsSettings,
    source: Source,
    seqs: Int64s,
    ranges: list[tuple[int, int]],
    single: Int64s,
    fields: frozenset[str],
) -> Iterator[Messages]:
    """`_read`, completed from the leader block by block, so that the order holds."""
    done = 0  # planned sequences that were read, or that the leader does not have either
    for messages in _read(settings, source, ranges, single, fields):
        wanted = messages.select(np.isin(messages.seqs, seqs[done:], assume_unique=True))
        if not len(wanted):
            continue
        reached = int(np.searchsorted(seqs, wanted.seqs[-1], "right"))
        lacking = np.setdiff1d(seqs[done:reached], wanted.seqs, assume_unique=True)
        done = reached
        yield merged([wanted, *_from_leader(settings, source, lacking, fields)])
    yield from _from_leader(settings, source, seqs[done:], fields)


def _from_leader(
    settings: NatsSettings, source: Source, seqs: Int64s, fields: frozenset[str]
) -> Iterator[Messages]:
    if len(seqs) and (source.direct or source.ranges):
        yield from _singly(settings, source.stream, seqs, False, fields)


def _read(
    settings: NatsSettings,
    source: Source,
    ranges: list[tuple[int, int]],
    single: Int64s,
    fields: frozenset[str],
) -> Iterator[Messages]:
    """The ranges and the single messages, in sequence order."""
    for first, last in ranges:
        before = single[single < first]
        single = single[single > last]
        if len(before):
            yield from _singly(settings, source.stream, before, source.direct, fields)
        span = StreamRange(source.stream, source.created, first, last)
        yield from read_range(settings, span, fields, check_loss=False)
    if len(single):
        yield from _singly(settings, source.stream, single, source.direct, fields)


def _singly(
    settings: NatsSettings, stream: str, seqs: Int64s, direct: bool, fields: frozenset[str]
) -> Iterator[Messages]:
    """`read_singly`, which goes on behind what it has yielded over a new connection."""
    rest = seqs
    from_any = direct
    patience = retry.AdaptiveTimeout(settings)
    unanswered = 0  # attempts in a row

    def read() -> Iterator[Messages]:
        nonlocal rest, from_any, unanswered
        wait = patience.seconds(unanswered)
        wanted = rest.tolist()
        try:
            with connection(settings) as link:
                for messages in read_singly(link, settings, stream, wanted, from_any, fields, wait):
                    unanswered = 0
                    yield messages
                    rest = rest[rest > messages.seqs[-1]]
        except TimeoutExpiredError:
            unanswered += 1
            # A hanging replica may be asked again, and so may a hanging leader: in turns.
            from_any = direct and not from_any
            raise

    yield from retry.resuming(read, lambda: -len(rest), settings, f"reading stream {stream}")


def _tell(settings: NatsSettings, source: Source, lost: Int64s, overwritten: bool) -> None:
    first, last = int(lost[0]), int(lost[-1])
    which = f"message {first}" if len(lost) == 1 else f"{len(lost)} messages from {first} to {last}"
    if overwritten:
        _log.info("stream %r: %s of the batch gave way to newer ones", source.stream, which)
        return
    if source.elsewhere:
        _log.warning(
            "stream %r: %s of the batch were acknowledged by another member of the consumer, or "
            "removed, while this query was down; going on",
            source.stream,
            which,
        )
        return
    words = (
        f"stream {source.stream!r}: {which} of the batch were removed (by a purge, a delete, the "
        "stream's limits, or another member of the consumer to which they were delivered after "
        "the ack wait) after they had been delivered and before they were read. Keep messages and "
        "the ack wait longer than the query can be held up, or set nats.fail.on.data.loss=false "
        "to go on with what is there"
    )
    report_loss(settings, words)

"""Reads the messages of a batch in a task: all that were planned, in order, or an error.

Sequences that are close together are read as a range, as in other flavors; those far apart one by
one. Missing messages are then requested from the stream's leader, because replicas that answer
direct gets may lag, and mirrors that answer them may lack messages. Rows of a task are in sequence
order, however each was read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nats_spark_common.connection import retry
from nats_spark_common.connection.pool import connection
from nats_spark_common.errors import DataLossError, TimeoutExpiredError
from nats_spark_common.jetstream.api import string, well_formed
from nats_spark_common.jetstream.requests import request_with_retry
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.data_loss import recreated, report_loss
from nats_spark_common.planning.ranges import NEVER, StreamRange
from nats_spark_common.reading.range_reader import read_range
from nats_spark_common.reading.single_gets import read_singly
from nats_spark_common.rows.messages import Int64s, Messages, merged

_log = logging.getLogger(__name__)

# Costs of a range, of a sequence in a range, and of a single read, in microseconds on the
# development machine; only the ratios matter.
_RANGE, _RANGE_SEQUENCE, _SINGLE = 2_000, 2, 12


@dataclass(frozen=True)
class Source:
    """Where a batch's messages are stored.

    Attributes:
        created: creation time of the stream that the batch was planned on.
        direct: whether the stream answers direct gets; otherwise the leader reads single messages.
        batches: whether the stream answers direct get batches.
        consumer_from: as in `StreamRange`.
        acked_elsewhere: whether other members of the consumer may have acknowledged some of the
            messages, which work queues and interest streams then remove.
    """

    stream: str
    created: str
    direct: bool
    batches: bool
    consumer_from: int
    acked_elsewhere: bool = False

    @property
    def ranges(self) -> bool:
        """Whether there is a way to read ranges; otherwise messages are read one by one."""
        return self.batches or self.consumer_from < NEVER


def plan_reads(seqs: Int64s) -> tuple[list[tuple[int, int]], Int64s]:
    """Split ascending ``seqs`` into ranges, ends included, and sequences to read one by one."""
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
        DataLossError: the stream was recreated; or messages are missing, with
            ``nats.fail.on.data.loss``.
        NatsSparkError: the last error, after ``nats.retry.count`` + 1 failures in a row.
    """
    ranges, single = plan_reads(seqs) if source.ranges else ([], seqs)
    missing = np.ones(len(seqs), bool)
    for messages in _read_complete(settings, source, seqs, ranges, single, fields):
        missing[np.searchsorted(seqs, messages.seqs)] = False
        yield messages
    if not missing.any() and not len(single):
        return  # reading ranges has checked that the stream is the same
    info = request_with_retry(settings, f"STREAM.INFO.{source.stream}")
    with well_formed("stream info", info):
        created = string(info["created"])
        overwritten = int(info["config"].get("max_msgs_per_subject") or 0) > 0
    if created != source.created:
        raise DataLossError(recreated(source.stream, source.created, created))
    if missing.any():
        _report_missing(settings, source, seqs[missing], overwritten)


def _read_complete(
    settings: NatsSettings,
    source: Source,
    seqs: Int64s,
    ranges: list[tuple[int, int]],
    single: Int64s,
    fields: frozenset[str],
) -> Iterator[Messages]:
    """Yield what `_read_planned` does, and missing messages from the leader, in sequence order."""
    done = 0  # planned sequences that were read, or that the leader does not have
    for messages in _read_planned(settings, source, ranges, single, fields):
        wanted = messages.select(np.isin(messages.seqs, seqs[done:], assume_unique=True))
        if not len(wanted):
            continue
        reached = int(np.searchsorted(seqs, wanted.seqs[-1], "right"))
        missing = np.setdiff1d(seqs[done:reached], wanted.seqs, assume_unique=True)
        done = reached
        yield merged([wanted, *_from_leader(settings, source, missing, fields)])
    yield from _from_leader(settings, source, seqs[done:], fields)


def _from_leader(
    settings: NatsSettings, source: Source, seqs: Int64s, fields: frozenset[str]
) -> Iterator[Messages]:
    if len(seqs) and (source.direct or source.ranges):
        yield from _read_single(settings, source.stream, seqs, False, fields)


def _read_planned(
    settings: NatsSettings,
    source: Source,
    ranges: list[tuple[int, int]],
    single: Int64s,
    fields: frozenset[str],
) -> Iterator[Messages]:
    """Yield the ranges and the single messages, in sequence order."""
    for first, last in ranges:
        before = single[single < first]
        single = single[single > last]
        if len(before):
            yield from _read_single(settings, source.stream, before, source.direct, fields)
        way = source.batches, source.consumer_from
        span = StreamRange(source.stream, source.created, first, last, (), *way)
        yield from read_range(settings, span, fields, check_loss=False, leader=True)
    if len(single):
        yield from _read_single(settings, source.stream, single, source.direct, fields)


def _read_single(
    settings: NatsSettings, stream: str, seqs: Int64s, direct: bool, fields: frozenset[str]
) -> Iterator[Messages]:
    """Yield single messages; after a failure, continue over a new connection."""
    rest = seqs
    any_replica = direct
    timeout = retry.AdaptiveTimeout(settings)

    def read() -> Iterator[Messages]:
        nonlocal rest, any_replica
        wanted, wait = rest.tolist(), timeout.seconds()
        try:
            with connection(settings) as link:
                begun = time.monotonic()
                for messages in read_singly(
                    link, settings, stream, wanted, any_replica, fields, wait
                ):
                    if rest[0] == wanted[0]:
                        timeout.answered(time.monotonic() - begun)
                    yield messages
                    rest = rest[rest > messages.seqs[-1]]
        except TimeoutExpiredError:
            timeout.unanswered()
            # A replica or the leader may hang, so attempts alternate between them.
            any_replica = direct and not any_replica
            raise

    yield from retry.resuming(read, lambda: -len(rest), settings, f"reading stream {stream}")


def _report_missing(
    settings: NatsSettings, source: Source, lost: Int64s, overwritten: bool
) -> None:
    """Report messages of the batch that the stream no longer has.

    Args:
        overwritten: whether the stream limits messages per subject, so that newer messages have
            replaced them.

    Raises ``DataLossError`` if it is data loss, with ``nats.fail.on.data.loss``.
    """
    first, last = int(lost[0]), int(lost[-1])
    one = len(lost) == 1
    which = f"message {first}" if one else f"{len(lost)} messages from {first} to {last}"
    were, they = ("was", "it") if one else ("were", "they")
    which = f"stream {source.stream!r}: {which} of the batch {were}"
    if overwritten:
        _log.info("%s replaced by newer messages of the same subject", which)
        return
    if source.acked_elsewhere:
        _log.warning(
            "%s acknowledged by another member of the consumer, or removed, while this query was "
            "down; continuing with the remaining messages",
            which,
        )
        return
    message = (
        f"{which} removed after delivery and before {they} could be read (by a purge, a delete, "
        f"the stream's limits, or an ack of another member of the consumer, to which {they} {were} "
        "redelivered after the ack wait). Keep messages, and set the ack wait, for longer than the "
        "query can be delayed, or set nats.fail.on.data.loss=false to continue with the remaining "
        "messages"
    )
    report_loss(settings, message)

"""Moves the position of a stopped query: to read messages again, or to skip them.

The new position is logged as the batch after the last committed one, and is not marked as
committed. Spark runs this batch when the query starts. Its offsets name the position as the one
*before* its first message too (`StreamOffset.entering`), so it reads nothing. That keeps state
stores, whose versions count batches, in step with the log.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import CheckpointError, StreamNotFoundError
from ..jetstream.api import StreamInfo
from ..jetstream.control import Control
from ..jetstream.unread import unread
from ..options.settings import NatsSettings
from ..replay.offsets import Offset, StreamOffset
from ..replay.stream_states import start_sequence
from .checkpoint import Checkpoint
from .log_entry import LogEntry
from .position import ConsumerPosition, ReplayPosition, positions

#: Formats of state that Spark 4.3 records for a new query. For missing ones, Spark assumes
#: the formats of its first versions.
_NEW_QUERY = {
    "spark.sql.dropDuplicates.deterministicKeyOrder.enabled": "true",
    "spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan": "false",
    "spark.sql.streaming.aggregation.stateFormatVersion": "2",
    "spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion": "2",
    "spark.sql.streaming.join.stateFormatVersion": "2",
    "spark.sql.streaming.multipleWatermarkPolicy": "min",
    "spark.sql.streaming.stateStore.compression.codec": "lz4",
    "spark.sql.streaming.stateStore.encodingFormat": "unsaferow",
    "spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion": "2",
    "spark.sql.streaming.statefulOperator.alwaysNullableOutput.enabled": "true",
    "spark.sql.streaming.statefulOperator.useStrictDistribution": "true",
}


@dataclass(frozen=True)
class Move:
    """The change of the position in one stream.

    Attributes:
        before, after: the last sequence that counts as consumed; ``before`` is None if nothing
            was.
        again: messages that are read again.
        skipped: messages that are not read.
        exact: whether both numbers are exact, rather than numbers of sequences.
    """

    stream: str
    before: int | None
    after: int
    again: int
    skipped: int
    exact: bool


@dataclass(frozen=True)
class Rewind:
    """A planned change of a checkpoint, to be written by `Rewind.write`.

    Attributes:
        batch: number of the batch that is logged.
        replaces: whether a batch of this number is logged already; it was not committed.
        moves: the streams whose position changes.
    """

    checkpoint: Checkpoint
    batch: int
    replaces: bool
    entry: LogEntry
    moves: tuple[Move, ...]
    fingerprint: tuple[tuple[str, int, int], ...]

    def write(self, settle: float) -> str | None:
        """Change the checkpoint; return where the replaced entry was saved, if there was one.

        Args:
            settle: seconds during which the checkpoint must not change first.

        Raises ``CheckpointError`` if it has changed since it was read; then nothing is written.
        """
        time.sleep(settle)
        if self.checkpoint.fingerprint() != self.fingerprint:
            raise CheckpointError(
                f"{self.checkpoint.location} has just changed: stop the query, and try again; "
                "nothing was written"
            )
        return self.checkpoint.write_entry(self.batch, self.entry, replace=self.replaces)


def plan_rewind(
    checkpoint: Checkpoint,
    control: Control,
    settings: NatsSettings,
    *,
    source: int | None = None,
    streams: tuple[str, ...] = (),
) -> Rewind:
    """Plan to move a query to the positions of ``nats.start``.

    Args:
        source: number of the source; None if the query has only one that can be moved.
        streams: those to move; all of the source if empty.

    Raises:
        CheckpointError: the query cannot be moved, or has no such source or stream.
        OptionError: a position is beyond the stream's end, or in the future.
        DataLossError: a position is no longer stored.
        StreamNotFoundError: a stream of the checkpoint does not exist.
    """
    fingerprint = checkpoint.fingerprint()
    committed, batches = checkpoint.committed(), checkpoint.batches()
    if not batches:
        raise CheckpointError(
            f"{checkpoint.location} has no batch to continue from: start the query with nats.start "
            "instead"
        )
    reached = committed if committed in batches else None
    last = batches[-1]
    batch = 0 if reached is None else reached + 1
    if last not in (batch - 1, batch):
        raise CheckpointError(
            f"{checkpoint.location} has logged batch {last}, and the last committed one is "
            f"{committed}: the log is inconsistent; restore the checkpoint from a backup"
        )
    entry = checkpoint.entry(last if reached is None else reached)
    position = _chosen(checkpoint, entry, source)
    unknown = [each for each in streams if each not in position.offset.streams]
    if unknown:
        raise CheckpointError(
            f"source {position.index} of {checkpoint.location} does not read {', '.join(unknown)}: "
            f"use {', '.join(position.offset.streams)}"
        )
    infos = control.stream_infos(position.offset.streams)
    ends: dict[str, StreamOffset] = {}
    moves = []
    for name, each in position.offset:
        before = each.seq if reached is not None else each.after
        if streams and name not in streams:
            ends[name] = _kept(each, reached is not None)
            continue
        info = infos.get(name)
        if info is None:
            raise StreamNotFoundError(
                f"stream {name!r} of {checkpoint.location} does not exist: restore it, or move "
                "only other streams with --stream"
            )
        if info.created != each.created:
            before = None  # of another stream
        after = start_sequence(settings, control, info) - 1
        ends[name] = StreamOffset.entering(after, info)
        moves.append(_move(settings, control, info, before, after))
    offset = Offset(ends, position.offset.resets, position.offset.flavor)
    changed = entry.with_offset(position.source, offset.to_json())
    if reached is not None:
        changed = changed.at_watermark(checkpoint.next_watermark(reached))
    return Rewind(checkpoint, batch, batch in batches, changed, tuple(moves), fingerprint)


def _kept(each: StreamOffset, committed: bool) -> StreamOffset:
    """Return the end of a batch that reads nothing of a stream, after this one."""
    if committed or each.after is None:
        return StreamOffset(each.seq, each.created)  # an `after` would read this batch again
    return StreamOffset(each.after, each.created, each.after)


def _chosen(checkpoint: Checkpoint, entry: LogEntry, source: int | None) -> ReplayPosition:
    found = positions(entry, checkpoint.location)
    movable = [each for each in found if isinstance(each, ReplayPosition)]
    if source is not None:
        found = [each for each in found if each.index == source]
        movable = [each for each in movable if each.index == source]
        if not found:
            raise CheckpointError(
                f"{checkpoint.location} has no NATS source with number {source}: its query has "
                f"{len(entry.offsets)} sources, counted from 0"
            )
    if not movable:
        each = next(each for each in found if isinstance(each, ConsumerPosition))
        raise CheckpointError(
            f"source {each.index} of {checkpoint.location} is balanced, and the server keeps its "
            f"position: reset or recreate consumer {each.consumer!r} of stream {each.stream!r}"
        )
    if len(movable) > 1:
        raise CheckpointError(
            f"{checkpoint.location} has {len(movable)} NATS sources: choose one with --source "
            f"({', '.join(str(each.index) for each in movable)})"
        )
    return movable[0]


def _move(
    settings: NatsSettings, control: Control, info: StreamInfo, before: int | None, after: int
) -> Move:
    new = unread(control, info, after, settings.request_timeout)
    if before is None:
        return Move(info.name, None, after, 0, 0, new.exact)
    old = unread(control, info, before, settings.request_timeout)
    difference = new.messages - old.messages
    exact = new.exact and old.exact
    return Move(info.name, before, after, max(0, difference), max(0, -difference), exact)


def start_entry(offsets: Mapping[str, StreamOffset]) -> LogEntry:
    """Return the first entry of a query that starts at these positions, in version 1."""
    now = round(time.time() * 1000)
    metadata = {"batchWatermarkMs": 0, "batchTimestampMs": now, "conf": _NEW_QUERY}
    text = json.dumps(metadata, separators=(",", ":"))
    return LogEntry("v1", text, {}).with_offset("0", Offset(offsets).to_json())

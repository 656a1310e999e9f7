"""The lag of a query: its logged positions compared with its streams."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import CheckpointError, ServerError, StreamNotFoundError
from ..jetstream.api import StreamInfo
from ..jetstream.control import Control
from ..jetstream.unread import Unread, unread, unread_by_direct_get
from ..options.settings import NatsSettings
from ..planning.data_loss import lost_messages, recreated, truncated, vanished
from ..replay.offsets import StreamOffset
from .checkpoint import Checkpoint
from .position import ConsumerPosition, SourcePosition, positions


@dataclass(frozen=True)
class StreamLag:
    """The lag of a query in one stream.

    Attributes:
        position: the last sequence that the query has consumed, None if it has consumed nothing.
        end: the stream's last sequence, None if there is no stream.
        messages: how many stored messages come after the position.
        bytes: their stored size, estimated from the mean size of the stream's messages.
        seconds: age of the first of them; 0 if there is none, None if it is not known.
        exact: whether ``messages`` is exact, rather than a number of sequences.
        problem: why the query cannot continue from here without loss, if so.
    """

    stream: str
    position: int | None
    end: int | None
    messages: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    exact: bool = True
    problem: str | None = None

    @staticmethod
    def of(
        stream: str, position: int | None, info: StreamInfo, found: Unread, problem: str | None
    ) -> StreamLag:
        """Return the lag of what was found after a position."""
        size = round(found.messages * info.average_size)
        return StreamLag(
            stream, position, info.last_seq, found.messages, size, found.age, found.exact, problem
        )


@dataclass(frozen=True)
class ConsumerState:
    """The consumer of a balanced source.

    Attributes:
        ack_floor: stream sequence up to which all messages are acknowledged.
        pending: messages that were never delivered.
        ack_pending: messages that were delivered and not acknowledged.
        redelivered: those of them that were delivered more than once.
        paused: whether it is paused.
    """

    name: str
    ack_floor: int
    pending: int
    ack_pending: int
    redelivered: int
    paused: bool


@dataclass(frozen=True)
class SourceLag:
    """The lag of one source of a query."""

    index: int
    flavor: str
    streams: tuple[StreamLag, ...]
    consumer: ConsumerState | None = None

    @property
    def messages(self) -> int | None:
        """The lag in messages; None if that of a stream is not known."""
        known = [each.messages for each in self.streams if each.messages is not None]
        return sum(known) if len(known) == len(self.streams) else None


@dataclass(frozen=True)
class QueryLag:
    """The lag of a query.

    Attributes:
        query: the query's id.
        batch: the last committed batch, None if there is none.
        committed_at: when it was committed.
        planned: the batch that is logged and not committed, if there is one.
    """

    query: str
    batch: int | None
    committed_at: datetime | None
    planned: int | None
    sources: tuple[SourceLag, ...]

    @property
    def problems(self) -> list[str]:
        """What prevents the query from continuing without loss."""
        return [each.problem for one in self.sources for each in one.streams if each.problem]

    def to_json(self) -> dict[str, Any]:
        """Return the lag for programs."""
        return {
            "query": self.query,
            "batch": self.batch,
            "committedAt": self.committed_at and self.committed_at.isoformat(),
            "plannedBatch": self.planned,
            "sources": [_source_json(each) for each in self.sources],
        }


def _source_json(source: SourceLag) -> dict[str, Any]:
    found: dict[str, Any] = {
        "index": source.index,
        "flavor": source.flavor,
        "lag": source.messages,
        "streams": [_stream_json(each) for each in source.streams],
    }
    if source.consumer:
        found["consumer"] = {
            "name": source.consumer.name,
            "ackFloor": source.consumer.ack_floor,
            "pending": source.consumer.pending,
            "ackPending": source.consumer.ack_pending,
            "redelivered": source.consumer.redelivered,
            "paused": source.consumer.paused,
        }
    return found


def _stream_json(each: StreamLag) -> dict[str, Any]:
    found: dict[str, Any] = {
        "stream": each.stream,
        "position": each.position,
        "end": each.end,
        "lag": each.messages,
        "lagBytes": each.bytes,
        "lagSeconds": None if each.seconds is None else round(each.seconds, 3),
    }
    if not each.exact:
        found["exact"] = False
    if each.problem:
        found["problem"] = each.problem
    return found


def query_lag(checkpoint: Checkpoint, control: Control, settings: NatsSettings) -> QueryLag:
    """Return the lag of a query.

    Raises ``CheckpointError`` if no batch is logged or the query has no NATS source, and as
    `Control.api`.
    """
    # In this order: a batch may be logged and committed in between.
    committed, batches = checkpoint.committed(), checkpoint.batches()
    if not batches:
        raise CheckpointError(
            f"{checkpoint.location} has no batch: the query has not started one, or reads nothing"
        )
    last = batches[-1]
    reached = committed if committed in batches else None
    found = positions(checkpoint.entry(last if reached is None else reached), checkpoint.location)
    sources = tuple(_source(each, reached is not None, control, settings) for each in found)
    return QueryLag(
        checkpoint.query_id,
        reached,
        None if reached is None else checkpoint.committed_at(reached),
        last if last != reached else None,
        sources,
    )


def _source(
    position: SourcePosition, committed: bool, control: Control, settings: NatsSettings
) -> SourceLag:
    if isinstance(position, ConsumerPosition):
        return _consumer_lag(position, control, settings)
    infos = control.stream_infos(position.offset.streams)
    streams = tuple(
        _stream(name, each, infos.get(name), committed, control, settings)
        for name, each in position.offset
    )
    return SourceLag(position.index, position.flavor, streams)


def _stream(
    name: str,
    each: StreamOffset,
    info: StreamInfo | None,
    committed: bool,
    control: Control,
    settings: NatsSettings,
) -> StreamLag:
    # The first batch names the sequence before its own first one.
    at = each.seq if committed else each.after
    if info is None:
        return StreamLag(name, at, None, problem=vanished(name))
    if info.created != each.created:
        found = unread(control, info, 0, settings.request_timeout)
        return StreamLag.of(name, at, info, found, recreated(name, each.created, info.created))
    if at is None:
        return StreamLag(name, None, info.last_seq)
    if info.last_seq < at:
        return StreamLag.of(name, at, info, Unread(0, None), truncated(info, at))
    found = unread(control, info, at, settings.request_timeout)
    return StreamLag.of(name, at, info, found, lost_messages(info, at + 1, info.last_seq))


def _consumer_lag(
    position: ConsumerPosition, control: Control, settings: NatsSettings
) -> SourceLag:
    name, consumer = position.stream, position.consumer

    def missing(info: StreamInfo | None, problem: str) -> SourceLag:
        end = info.last_seq if info else None
        return SourceLag(
            position.index, position.flavor, (StreamLag(name, None, end, problem=problem),)
        )

    try:
        info = control.stream_info(name)
    except StreamNotFoundError as error:
        return missing(None, str(error))
    try:
        reply = control.api(f"CONSUMER.INFO.{name}.{consumer}")
    except ServerError as error:
        if error.code != 404:
            raise
        return missing(
            info,
            f"consumer {consumer!r} of stream {name!r} does not exist: a query that starts now "
            "creates it and reads from its start position again",
        )
    state = ConsumerState(
        name=consumer,
        ack_floor=int(reply["ack_floor"]["stream_seq"]),
        pending=int(reply["num_pending"]),
        ack_pending=int(reply["num_ack_pending"]),
        redelivered=int(reply["num_redelivered"]),
        paused=bool(reply.get("paused")),
    )
    count = state.pending + state.ack_pending
    config = reply["config"]
    filters = config.get("filter_subjects") or [config.get("filter_subject")]
    first = unread_by_direct_get(
        control,
        info,
        state.ack_floor,
        settings.request_timeout,
        [each for each in filters if each],
    )
    oldest = first.stored_ns if first is not None and count else None
    problem = None
    if position.created and info.created != position.created:
        problem = recreated(name, position.created, info.created)
    lag = StreamLag.of(name, state.ack_floor, info, Unread(count, oldest), problem)
    return SourceLag(position.index, position.flavor, (lag,), state)

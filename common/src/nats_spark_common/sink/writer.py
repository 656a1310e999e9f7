"""The writers that Spark calls, for streaming queries and batches, and the work of one task."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import Row
from pyspark.sql.datasource import DataSourceArrowWriter, WriterCommitMessage
from pyspark.sql.types import StructType

from ..connection import servers
from ..connection.retry import retries
from ..errors import NatsSparkError, PublishError
from ..options.settings import NatsSettings
from .atomic_batch import publish_atomically, require_within_limit
from .best_effort import BestEffort
from .columns import MessageColumns
from .counts import Counts, add_counts
from .publisher import Publisher
from .row_batches import ArrowStreamWriter, RowBatches
from .rows import RowMaker, Rows, concat_rows
from .targets import StreamMasks, Targets
from .task_id import TaskId
from .task_record import TaskRecord, delete_records

_log = logging.getLogger(__name__)


@dataclass
class Written(WriterCommitMessage):
    """The result of a task, for the driver.

    Attributes:
        counts: what the task has published.
        query: the query of the task's record.
        revision: revision of the task's record; 0 if it has none.
        run: the run of the streaming query; empty if there is none.
    """

    counts: Counts
    query: str = ""
    revision: int = 0
    run: str = ""


class StreamWriter(ArrowStreamWriter):
    """Writes the micro-batches of a query; Spark creates one for each batch and each commit."""

    def __init__(self, settings: NatsSettings, columns: MessageColumns) -> None:
        self.settings = settings
        self.columns = columns
        self.servers = servers.known(settings)  # none unless this process has connected

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Written:
        servers.learn(self.settings, self.servers)
        context = _context()
        query = context.getLocalProperty("sql.streaming.queryId")
        batch = context.getLocalProperty("streaming.sql.batchId")
        assert query, "Spark sets the query id for its tasks"
        assert batch, "Spark sets the batch id for its tasks"
        task = TaskId(query, batch, context.partitionId())
        return _with_run(write_task(self.settings, self.columns, task, iterator))

    def commit(self, messages: list[WriterCommitMessage | None], batch_id: int) -> None:
        """Delete the records of earlier batches, which Spark will not run again."""
        _count(messages)
        recorded = [each for each in messages if isinstance(each, Written) and each.revision]
        if recorded:
            first = min(each.revision for each in recorded)
            _delete_records(self.settings, recorded[0].query, first)

    def abort(self, messages: list[WriterCommitMessage | None], batch_id: int) -> None:
        """Do nothing: Spark will run the batch again, which needs the records."""


class RowStreamWriter(StreamWriter):
    """The same for Spark 4.0, which passes rows."""

    def __init__(self, settings: NatsSettings, columns: MessageColumns, schema: StructType) -> None:
        super().__init__(settings, columns)
        self.schema = schema

    def write(self, iterator: Iterator[Row]) -> Written:
        return super().write(RowBatches(self.schema, self.columns).of(iterator))


class BatchWriter(DataSourceArrowWriter):
    """Writes one DataFrame; retries of its tasks share the id of the write."""

    def __init__(self, settings: NatsSettings, columns: MessageColumns) -> None:
        self.settings = settings
        self.columns = columns
        self.servers = servers.known(settings)  # none unless this process has connected
        self._write_id = uuid.uuid4().hex

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Written:
        servers.learn(self.settings, self.servers)
        task = TaskId(self._write_id, "0", _context().partitionId())
        return _with_run(write_task(self.settings, self.columns, task, iterator))

    def commit(self, messages: list[WriterCommitMessage | None]) -> None:
        _count(messages)
        self._end()

    def abort(self, messages: list[WriterCommitMessage | None]) -> None:
        self._end()

    def _end(self) -> None:
        if self.settings.sink_mode == "exactly-once":
            _delete_records(self.settings, self._write_id)


def write_task(
    settings: NatsSettings, columns: MessageColumns, task: TaskId, batches: Iterator[pa.RecordBatch]
) -> Written:
    """Publish all rows of a task in the mode of ``settings``.

    All rows are stored when this returns, except in mode best-effort. If ``settings`` name a
    stream, no other stream stores a row.

    Raises:
        PublishError: a row cannot be published, or the server rejects it.
        FencedError, ReplayError: exactly-once, as `TaskRecord.admit`.
        AuthError, ConnectError, TimeoutExpiredError, JetStreamUnavailableError: as named.
    """
    retries_before = retries()
    exact = settings.sink_mode == "exactly-once"
    maker = RowMaker(
        columns,
        settings.sink_subject,
        settings.payload_compression,
        task.id_prefix if exact else None,
        settings.stream_name[0] if settings.stream_name else None,
    )
    if settings.sink_mode == "best-effort":
        with BestEffort(settings) as sender:
            for batch in batches:
                sender.publish(maker.rows(batch))
            sender.finish()
        return Written(Counts(maker.count, maker.bytes, retries() - retries_before))
    targets = Targets(settings)
    record = None
    if exact:
        record = TaskRecord(settings, task, targets, user_ids=columns.msg_id is not None)
    write = _write_atomically if settings.sink_atomic else _write_pipelined
    write(settings, maker, targets, record, batches)
    counts = Counts(maker.count, maker.bytes, retries() - retries_before)
    return Written(counts, task.query, record.revision if record else 0)


def _write_pipelined(
    settings: NatsSettings,
    maker: RowMaker,
    targets: Targets,
    record: TaskRecord | None,
    batches: Iterator[pa.RecordBatch],
) -> None:
    with Publisher(settings, targets, record) as publisher:
        fast_check = _FastCheck(targets)
        for batch in batches:
            rows = maker.rows(batch)
            if not len(rows):
                continue
            if record:
                parts = targets.of(rows.subjects)
                rows = record.admit(rows, parts)
                publisher.publish(rows, fast=_allow_fast(parts))
            else:
                publisher.publish(rows, fast=fast_check.allows(rows))
        publisher.finish()


def _write_atomically(
    settings: NatsSettings,
    maker: RowMaker,
    targets: Targets,
    record: TaskRecord | None,
    batches: Iterator[pa.RecordBatch],
) -> None:
    collected = []
    for batch in batches:
        require_within_limit(maker.count + batch.num_rows)
        collected.append(maker.rows(batch))
    rows = concat_rows(collected)
    if len(rows):
        publish_atomically(settings, rows, targets, record)


class _FastCheck:
    """Looks up whether streams allow fast batches; none are used if that fails."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._enabled = True

    def allows(self, rows: Rows) -> bool:
        """Return whether the rows can be published in fast batches."""
        if not self._enabled:
            return False
        try:
            return _allow_fast(self._targets.of(rows.subjects))
        except PublishError:
            pass  # publishing decides: a subject mapping may lead to a stream
        except NatsSparkError as error:
            _log.info("looking up streams failed: %s; publishing without fast batches", error)
        self._enabled = False
        return False


def _allow_fast(parts: StreamMasks) -> bool:
    return len(parts) == 1 and parts[0][0].allow_batched


def _with_run(written: Written) -> Written:
    """Name the run of the streaming query, also in a batch write of its ``foreachBatch``."""
    context = _context()
    if context.getLocalProperty("sql.streaming.queryId"):
        written.run = context.getLocalProperty("spark.jobGroup.id") or ""
    return written


def _count(messages: Sequence[WriterCommitMessage | None]) -> None:
    """Add the counts of committed tasks to those of their run."""
    written = [each for each in messages if isinstance(each, Written)]
    if written and written[0].run:
        add_counts(written[0].run, reduce(add, (each.counts for each in written)))


def _delete_records(settings: NatsSettings, query: str, before: int | None = None) -> None:
    """Delete records that are not needed any more; a failure does not fail the finished write."""
    try:
        delete_records(settings, query, before)
    except NatsSparkError as error:
        _log.warning(
            "deleting records of query %s from bucket %s failed: %s; they remain there",
            query,
            settings.sink_bucket,
            error,
        )


def _context() -> TaskContext:
    context = TaskContext.get()
    assert context is not None, "called in a Spark task"
    return context

"""What Spark calls: writers of streaming queries and of batches, and the work of one task."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.datasource import (
    DataSourceArrowWriter,
    DataSourceStreamArrowWriter,
    WriterCommitMessage,
)

from ..errors import NatsSparkError, PublishError
from ..options.settings import NatsSettings
from .atomic_batch import publish_atomically, require_room
from .best_effort import BestEffort
from .columns import MessageColumns
from .ledger import Ledger, Parts, TaskId, forget
from .publisher import Publisher
from .rows import RowMaker, Rows, joined
from .targets import Targets

_log = logging.getLogger(__name__)


@dataclass
class Written(WriterCommitMessage):
    """What a task tells the driver.

    Attributes:
        rows: how many it was given.
        query: whose records it made, empty in modes that make none.
        revision: of its record; 0 where it made none.
    """

    rows: int
    query: str = ""
    revision: int = 0


class StreamWriter(DataSourceStreamArrowWriter):
    """Writes the micro-batches of a query; Spark makes a new one for each batch and each commit."""

    def __init__(self, settings: NatsSettings, columns: MessageColumns) -> None:
        self._settings = settings
        self._columns = columns

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Written:
        context = _context()
        query = context.getLocalProperty("sql.streaming.queryId")
        batch = context.getLocalProperty("streaming.sql.batchId")
        assert query, "Spark names the query to its tasks"
        assert batch, "Spark names the batch to its tasks"
        task = TaskId(query, batch, context.partitionId())
        return write_task(self._settings, self._columns, task, iterator)

    def commit(self, messages: list[WriterCommitMessage | None], batch_id: int) -> None:
        """Forget the records of batches before this one, which Spark will not run again."""
        begun = [each for each in messages if isinstance(each, Written) and each.revision]
        if begun:
            first = min(each.revision for each in begun)
            _forget(self._settings, begun[0].query, first)

    def abort(self, messages: list[WriterCommitMessage | None], batch_id: int) -> None:
        """Nothing to do: the batch will be run again, and finds its records."""


class BatchWriter(DataSourceArrowWriter):
    """Writes one DataFrame; its tasks' retries are told from another write by an id of its own."""

    def __init__(self, settings: NatsSettings, columns: MessageColumns) -> None:
        self._settings = settings
        self._columns = columns
        self._write = uuid.uuid4().hex

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Written:
        task = TaskId(self._write, "0", _context().partitionId())
        return write_task(self._settings, self._columns, task, iterator)

    def commit(self, messages: list[WriterCommitMessage | None]) -> None:
        self._end()

    def abort(self, messages: list[WriterCommitMessage | None]) -> None:
        self._end()

    def _end(self) -> None:
        if self._settings.sink_mode == "exactly-once":
            _forget(self._settings, self._write)


def write_task(
    settings: NatsSettings, columns: MessageColumns, task: TaskId, batches: Iterator[pa.RecordBatch]
) -> Written:
    """Publish all rows of a task, as the mode has it; every one is stored when this returns.

    If ``settings`` name a stream, no other stores a row.

    Raises:
        PublishError: a row cannot be published, or the server refuses it.
        FencedError, ReplayError: exactly-once, as `Ledger.admit`.
        AuthError, ConnectError, TimeoutExpiredError, JetStreamUnavailableError: as named.
    """
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
        return Written(maker.count)
    targets = Targets(settings)
    ledger = None
    if exact:
        ledger = Ledger(settings, task, targets, user_ids=columns.msg_id is not None)
    if settings.sink_atomic:
        _write_atomically(settings, maker, targets, ledger, batches)
    else:
        with Publisher(settings, targets, ledger) as publisher:
            routes = _Routes(targets)
            for batch in batches:
                rows = maker.rows(batch)
                if not len(rows):
                    continue
                if ledger:
                    parts = targets.of(rows.subjects)
                    rows = ledger.admit(rows, parts)
                    publisher.publish(rows, fast=_takes_fast(parts))
                else:
                    publisher.publish(rows, fast=routes.fast(rows))
            publisher.finish()
    return Written(maker.count, task.query, ledger.revision if ledger else 0)


def _write_atomically(
    settings: NatsSettings,
    maker: RowMaker,
    targets: Targets,
    ledger: Ledger | None,
    batches: Iterator[pa.RecordBatch],
) -> None:
    collected = []
    for batch in batches:
        require_room(maker.count + batch.num_rows)
        collected.append(maker.rows(batch))
    rows = joined(collected)
    if len(rows):
        publish_atomically(settings, rows, targets, ledger)


class _Routes:
    """Finds out whether rows can travel in fast batches; never an error if the user may not ask."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._asks = True

    def fast(self, rows: Rows) -> bool:
        if not self._asks:
            return False
        try:
            return _takes_fast(self._targets.of(rows.subjects))
        except PublishError:
            pass  # the server's own word counts: a mapping may lead the subject to a stream
        except NatsSparkError as error:
            _log.info("publishing singly, because asking for the streams failed: %s", error)
        self._asks = False
        return False


def _takes_fast(parts: Parts) -> bool:
    return len(parts) == 1 and parts[0][0].allow_batched


def _forget(settings: NatsSettings, query: str, before: int | None = None) -> None:
    """Remove records that nobody needs any more; the write itself is done, whatever comes of it."""
    try:
        forget(settings, query, before)
    except NatsSparkError as error:
        _log.warning("records of %s stay in bucket %s: %s", query, settings.sink_bucket, error)


def _context() -> TaskContext:
    context = TaskContext.get()
    assert context is not None, "runs in a task of Spark"
    return context

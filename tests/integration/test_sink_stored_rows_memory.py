"""Memory that a retried task of an exactly-once sink needs for the stored rows of its stream."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import dataclass

import pyarrow as pa
import pytest
from pyspark.sql.pandas.types import from_arrow_schema

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.sink.columns import message_columns
from nats_spark_common.sink.rows import RowMaker
from nats_spark_common.sink.stored_rows import StoredByStream
from nats_spark_common.sink.targets import Targets
from nats_spark_common.sink.task_id import TaskId
from nats_spark_common.sink.task_record import TaskRecord

from .._support.admin import Admin
from .._support.options import options
from .._support.writing import (
    SCHEMA,
    batches,
    begin,
    exactly,
    make_stream,
    new_task,
    numbered,
    write,
)

PRODUCERS, OTHERS, SIZE = 50, 50_000, 1_000
#: Bytes that do not depend on the number of messages: connections, buffers, module objects.
FIXED = 100_000


@dataclass(frozen=True)
class Measured:
    """What `TaskRecord.find_stored` found, and the bytes that it holds and needed meanwhile."""

    stored: StoredByStream
    arrow: int
    python: int
    peak: int


def other_ids() -> list[str]:
    return [f"producer-{i % PRODUCERS}-of-another-team/{i:010d}" for i in range(OTHERS)]


def write_others(url: str, stream: str) -> None:
    rows = numbered(stream, OTHERS, SIZE)
    ids = other_ids()
    write(options(url), [{**row, "msgId": id_} for row, id_ in zip(rows, ids, strict=True)])


def find_stored(url: str, stream: str, task: TaskId, *, user_ids: bool) -> Measured:
    """Take the task over, as its next attempt does, and read which rows are stored."""
    settings = NatsSettings.from_options(exactly(url))
    targets = Targets(settings)
    record = TaskRecord(settings, task, targets, user_ids=user_ids)
    maker = RowMaker(message_columns(from_arrow_schema(SCHEMA), None), None, "none", task.id_prefix)
    rows = maker.rows(next(batches(numbered(stream, 1, SIZE))))
    record.admit(rows, targets.of(rows.subjects))
    gc.collect()
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        stored = record.find_stored()
        gc.collect()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return Measured(stored, pa.total_allocated_bytes() - arrow, held, peak)


@pytest.mark.parametrize("user_ids", [False, True])
def test_ids_of_other_producers_are_kept_only_if_rows_carry_ids_of_their_own(
    nats_server: EmbeddedServer, admin: Admin, stream: str, user_ids: bool
) -> None:
    make_stream(admin, stream, allow_batched=True)
    task = new_task()
    begin(nats_server.url, numbered(stream, 100, SIZE), 100, task)
    write_others(nats_server.url, stream)
    found = find_stored(nats_server.url, stream, task, user_ids=user_ids)
    ids = sum(len(each) + 4 for each in other_ids()) if user_ids else 0  # offsets have 4 bytes
    assert len(found.stored[stream].ids) == 100 + OTHERS * user_ids
    assert ids <= found.arrow <= ids * 1.05 + FIXED
    assert found.python <= FIXED
    assert found.peak < OTHERS * SIZE / 2  # payloads are read a request at a time


def test_a_stored_row_of_the_task_needs_its_id_and_a_fingerprint(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream, allow_batched=True)
    count, task = 20_000, new_task()
    begin(nats_server.url, numbered(stream, count, SIZE), count, task)
    found = find_stored(nats_server.url, stream, task, user_ids=False)
    rows = len(found.stored[stream].fingerprints)
    assert rows > 0.5 * count  # the last ones are lost in the crash
    assert found.arrow / rows < 60
    assert found.python / rows < 200

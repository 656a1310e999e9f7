"""What a replayed task of an exactly-once sink keeps of the messages that its stream holds."""

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
from nats_spark_common.sink.ledger import Ledger, StoredRows, TaskId
from nats_spark_common.sink.rows import RowMaker
from nats_spark_common.sink.targets import Targets

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
#: Bytes that do not grow with the messages: connections, buffers, objects of the modules.
FIXED = 100_000


@dataclass(frozen=True)
class Look:
    """What `Ledger.look` found, and the memory that it holds and took meanwhile."""

    standing: StoredRows
    arrow: int
    python: int
    peak: int


def other_ids() -> list[str]:
    return [f"producer-{i % PRODUCERS}-of-another-team/{i:010d}" for i in range(OTHERS)]


def write_others(url: str, stream: str) -> None:
    rows = numbered(stream, OTHERS, SIZE)
    ids = other_ids()
    write(options(url), [{**row, "msgId": id_} for row, id_ in zip(rows, ids, strict=True)])


def look(url: str, stream: str, task: TaskId, *, user_ids: bool) -> Look:
    """Take the task over, as its next attempt does, and look what stands."""
    settings = NatsSettings.from_options(exactly(url))
    targets = Targets(settings)
    ledger = Ledger(settings, task, targets, user_ids=user_ids)
    maker = RowMaker(message_columns(from_arrow_schema(SCHEMA), None), None, "none", task.id_prefix)
    rows = maker.rows(next(batches(numbered(stream, 1, SIZE))))
    ledger.admit(rows, targets.of(rows.subjects))
    gc.collect()
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        standing = ledger.look()
        gc.collect()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return Look(standing, pa.total_allocated_bytes() - arrow, held, peak)


@pytest.mark.parametrize("user_ids", [False, True])
def test_an_id_of_another_producer_costs_its_bytes_where_ids_are_the_users_and_else_nothing(
    nats_server: EmbeddedServer, admin: Admin, stream: str, user_ids: bool
) -> None:
    make_stream(admin, stream, allow_batched=True)
    task = new_task()
    begin(nats_server.url, numbered(stream, 100, SIZE), 100, task)
    write_others(nats_server.url, stream)
    found = look(nats_server.url, stream, task, user_ids=user_ids)
    ids = sum(len(each) + 4 for each in other_ids()) if user_ids else 0  # offsets have 4 bytes
    assert len(found.standing[stream].ids) == 100 + OTHERS * user_ids
    assert ids <= found.arrow <= ids * 1.05 + FIXED
    assert found.python <= FIXED
    assert found.peak < OTHERS * SIZE / 2  # payloads pass by, a request at a time


def test_a_row_of_the_task_costs_its_id_and_a_fingerprint(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream, allow_batched=True)
    count, task = 20_000, new_task()
    begin(nats_server.url, numbered(stream, count, SIZE), count, task)
    found = look(nats_server.url, stream, task, user_ids=False)
    rows = len(found.standing[stream].fingerprints)
    assert rows > 0.5 * count  # a crash cuts the last ones off
    assert found.arrow / rows < 60
    assert found.python / rows < 200

"""Writes rows as a task of Spark does, without its engine; and the streams that they go to."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql.pandas.types import from_arrow_schema

from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.sink.columns import message_columns
from nats_spark_common.sink.task_id import TaskId
from nats_spark_common.sink.writer import Written, write_task

from .admin import Admin
from .options import options

HEADERS = pa.map_(pa.string(), pa.list_(pa.string()))

SCHEMA = pa.schema(
    [
        ("subject", pa.string()),
        ("content", pa.binary()),
        ("headers", HEADERS),
        ("msgId", pa.string()),
    ]
)

Row = dict[str, Any]

#: Streams by how their messages travel: acknowledged singly, or in fast-ingest batches.
WAYS: dict[str, dict[str, Any]] = {"single": {}, "fast": {"allow_batched": True}}


def write(
    options: dict[str, str],
    rows: Iterable[Row],
    *,
    task: TaskId | None = None,
    schema: pa.Schema = SCHEMA,
    batch_rows: int = 10_000,
) -> Written:
    """Write the rows in one task, in batches as Spark would hand them over."""
    return write_batches(options, batches(rows, schema, batch_rows), task=task, schema=schema)


def write_batches(
    options: dict[str, str],
    record_batches: Iterator[pa.RecordBatch],
    *,
    task: TaskId | None = None,
    schema: pa.Schema = SCHEMA,
) -> Written:
    settings = NatsSettings.from_options(options)
    layout = message_columns(from_arrow_schema(schema), settings.sink_subject)
    return write_task(settings, layout, task or new_task(), record_batches)


def batches(
    rows: Iterable[Row], schema: pa.Schema = SCHEMA, batch_rows: int = 10_000
) -> Iterator[pa.RecordBatch]:
    """Record batches of the rows; a column that a row does not name is null."""
    held = list(rows)
    for start in range(0, len(held), batch_rows):
        part = held[start : start + batch_rows]
        columns = [pa.array([row.get(f.name) for row in part], f.type) for f in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def new_task(partition: int = 0) -> TaskId:
    """A task of a batch that no other test knows."""
    return TaskId(uuid.uuid4().hex, "0", partition)


def numbered(stream: str, count: int, size: int = 20) -> list[Row]:
    """Rows to ``<stream>.<i % 10>`` whose payloads begin with their number."""
    return [
        {"subject": f"{stream}.{i % 10}", "content": str(i).encode().ljust(size, b".")}
        for i in range(count)
    ]


def make_stream(admin: Admin, stream: str, **config: Any) -> None:
    """As `Admin.create_stream`, for settings that nats-py does not know."""
    defaults = {"name": stream, "subjects": [f"{stream}.>"], "storage": "file"}
    admin.api(f"STREAM.CREATE.{stream}", **{**defaults, "allow_direct": True, **config})


def exactly(url: str, **more: str) -> dict[str, str]:
    """Options of a sink that writes exactly once."""
    return options(url, sink_mode="exactly-once", **more)


class Crash(Exception):
    """The end of an attempt in the midst of its rows."""


def crashing(rows: list[Row], after: int) -> Iterator[pa.RecordBatch]:
    """The rows in batches of 100, and a crash after so many of them."""
    yield from batches(rows[:after], batch_rows=100)
    raise Crash


def stood(admin: Admin, stream: str, count: int) -> int:
    """How many of the first rows are stored, those ``count`` that a crash may have cut off."""
    last, since = -1, time.monotonic()
    while last < count and time.monotonic() - since < 2.0:
        now = admin.info(stream).state.last_seq
        last, since = (now, time.monotonic()) if now != last else (last, since)
        time.sleep(0.02)
    return last


def begin(url: str, rows: list[Row], after: int, task: TaskId, **more: str) -> None:
    """An attempt that publishes ``after`` rows and crashes."""
    with pytest.raises(Crash):
        write_batches(exactly(url, **more), crashing(rows, after), task=task)


def records(admin: Admin, query: str, bucket: str = "nats_spark_sink") -> dict[str, Any]:
    """Return the records of a query's tasks, by key."""
    prefix = f"$KV.{bucket}.{query}."
    found = admin.api(f"STREAM.INFO.KV_{bucket}", subjects_filter=f"{prefix}>")

    def value(subject: str) -> Any:
        message = admin.run(admin.js.get_last_msg(f"KV_{bucket}", subject))
        return json.loads(message.data or b"")

    return {each.removeprefix(prefix): value(each) for each in found["state"].get("subjects") or {}}

"""Exactly-once: the record of a task in its key-value bucket."""

from __future__ import annotations

import json

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.sink.task_id import TaskId
from nats_spark_common.sink.task_record import delete_records

from .._support.admin import Admin
from .._support.writing import (
    begin,
    exactly,
    make_stream,
    new_task,
    numbered,
    records,
    stood,
    write,
)


def test_the_record_has_the_last_sequences_before_the_task(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    admin.fill(stream, 17)
    task = TaskId(f"q{stream}", "4", 1)
    write(exactly(nats_server.url), numbered(stream, 5), task=task)
    record = records(admin, task.query)["4.1"]
    assert record["streams"][stream]["seq"] == 17


def test_a_record_of_an_earlier_version_is_read(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream, retention="workqueue")
    rows, task = numbered(stream, 300), new_task()
    begin(nats_server.url, rows, 200, task)
    assert stood(admin, stream, 200) > 100
    record = records(admin, task.query)["0.0"]
    start = record["streams"][stream]
    assert start.pop("window") == 120.0
    assert start.pop("last_ts") == "0001-01-01T00:00:00Z"  # of no message
    admin.publish(f"$KV.nats_spark_sink.{task.key}", json.dumps(record).encode())
    admin.purge(stream, seq=101)  # so that the retry needs the window
    write(exactly(nats_server.url), rows, task=task)
    assert admin.info(stream).state.last_seq == 300
    assert records(admin, task.query)["0.0"]["streams"][stream]["window"] == 120.0


def test_a_task_without_rows_creates_no_record(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    write(exactly(nats_server.url), numbered(stream, 1))  # creates the bucket
    task = new_task()
    assert write(exactly(nats_server.url), [], task=task).revision == 0
    assert records(admin, task.query) == {}


def test_records_before_a_revision_are_deleted(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    query = f"q{stream}"
    settings = exactly(nats_server.url)
    for batch in ("8", "9"):
        last = write(settings, numbered(stream, 1), task=TaskId(query, batch, 0))
    delete_records(NatsSettings.from_options(settings), query, last.revision)
    assert list(records(admin, query)) == ["9.0"]


def test_the_bucket_is_an_ordinary_key_value_bucket(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    task = new_task()
    settings = exactly(nats_server.url, sink_bucket=f"B{stream}")
    write(settings, numbered(stream, 1), task=task)

    async def read() -> bytes | None:
        bucket = await admin.js.key_value(f"B{stream}")
        return (await bucket.get(task.key)).value

    assert json.loads(admin.run(read()) or b"{}")["streams"][stream]["seq"] == 0

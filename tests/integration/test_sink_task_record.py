"""Exactly-once: the record of a task in its key-value bucket."""

from __future__ import annotations

import json

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.sink.task_id import TaskId
from nats_spark_common.sink.task_record import delete_records

from .._support.admin import Admin
from .._support.writing import exactly, make_stream, new_task, numbered, records, write


def test_the_record_has_the_last_sequences_before_the_task(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    admin.fill(stream, 17)
    task = TaskId(f"q{stream}", "4", 1)
    write(exactly(nats_server.url), numbered(stream, 5), task=task)
    record = records(admin, task.query)["4.1"]
    assert record["streams"][stream]["seq"] == 17


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

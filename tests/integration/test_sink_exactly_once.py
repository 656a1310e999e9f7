"""Exactly-once: replays, rival attempts and their records, a task at a time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.errors import FencedError, ReplayError
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.sink.ledger import LEASE, TaskId, forget

from .._support.admin import Admin, mirror, wait_until
from .._support.proxy import proxy
from .._support.writing import (
    WAYS,
    Row,
    batches,
    begin,
    exactly,
    make_stream,
    new_task,
    numbered,
    stood,
    write,
    write_batches,
)

#: The server's minimum; a replay a moment later is past it.
SHORTEST = 100_000_000
PROBE = b"probe"


@pytest.fixture(params=WAYS)
def forgetful(request: pytest.FixtureRequest, admin: Admin, stream: str) -> str:
    """A stream that remembers message ids no longer than it must."""
    make_stream(admin, stream, duplicate_window=SHORTEST, **WAYS[request.param])
    return stream


def stored(admin: Admin, stream: str) -> list[bytes]:
    """The payloads of all messages but probes."""
    return [each.payload for each in admin.read_all(stream) if each.payload != PROBE]


def past_the_window(admin: Admin, stream: str) -> None:
    """Await that the server has forgotten an id that is as old as the latest message."""
    probe = {"Nats-Msg-Id": f"probe-{time.monotonic_ns()}"}
    first = admin.publish(f"{stream}.probe", PROBE, probe)
    wait_until(lambda: admin.publish(f"{stream}.probe", PROBE, probe) > first)


def test_ids_name_query_batch_partition_and_row(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    task = TaskId(f"q{stream}", "7", 3)
    write(exactly(nats_server.url), numbered(stream, 3), task=task)
    ids = [(m.headers or {})["Nats-Msg-Id"] for m in admin.read_all(stream)]
    assert ids == [f"q{stream}/7/3/{row}" for row in range(3)]


@pytest.mark.parametrize("after", [0, 100, 2_500, 5_000])
def test_an_attempt_after_a_crash_adds_what_is_missing(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str, after: int
) -> None:
    rows, task = numbered(forgetful, 5_000), new_task()
    begin(nats_server.url, rows, after, task)
    past_the_window(admin, forgetful)
    write(exactly(nats_server.url), rows, task=task)
    assert sorted(stored(admin, forgetful)) == sorted(row["content"] for row in rows)


def test_a_replay_past_the_window_repeats_nothing(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str
) -> None:
    rows, task = numbered(forgetful, 1_000), new_task()
    write(exactly(nats_server.url), rows, task=task)
    past_the_window(admin, forgetful)
    before = admin.info(forgetful).state.last_seq
    write(exactly(nats_server.url), rows, task=task)
    assert admin.info(forgetful).state.last_seq == before


def test_a_replay_past_the_window_on_an_old_server(
    old_nats_server: EmbeddedServer, stream: str
) -> None:
    admin = Admin(old_nats_server.url)
    admin.create_stream(stream, duplicate_window=0.1)
    rows, task = numbered(stream, 3_000), new_task()
    begin(old_nats_server.url, rows, 1_500, task)
    past_the_window(admin, stream)
    write(exactly(old_nats_server.url), rows, task=task)
    assert sorted(stored(admin, stream)) == sorted(row["content"] for row in rows)
    admin.close()


def test_mirrors_that_lack_messages_are_never_asked_what_stands(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str
) -> None:
    rows, task = numbered(forgetful, 1_000), new_task()
    begin(nats_server.url, rows, 900, task)
    mirror(admin, f"{forgetful}-F", forgetful, filter_subject=f"{forgetful}.1")
    mirror(admin, f"{forgetful}-P", forgetful)
    admin.purge(f"{forgetful}-P")
    past_the_window(admin, forgetful)
    for _ in range(3):
        write(exactly(nats_server.url), rows, task=task)
    assert sorted(stored(admin, forgetful)) == sorted(row["content"] for row in rows)
    admin.delete_stream(f"{forgetful}-F")
    admin.delete_stream(f"{forgetful}-P")


def test_a_replay_is_found_by_the_users_own_ids(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str
) -> None:
    rows = [{**row, "msgId": f"mine-{i}"} for i, row in enumerate(numbered(forgetful, 500))]
    task = new_task()
    begin(nats_server.url, rows, 200, task)
    past_the_window(admin, forgetful)
    write(exactly(nats_server.url), rows[::-1], task=task)  # in another order
    ids = [(m.headers or {})["Nats-Msg-Id"] for m in admin.read_all(forgetful)]
    assert sorted(each for each in ids if each.startswith("mine")) == sorted(
        row["msgId"] for row in rows
    )


def test_an_id_may_stand_in_one_stream_and_be_missing_in_another(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str
) -> None:
    other = f"{forgetful}b"
    make_stream(admin, other)
    ids = [str(number) for number in range(200)]
    rows: list[Row] = [{"subject": f"{forgetful}.x", "content": b"", "msgId": i} for i in ids]
    rows += [{"subject": f"{other}.x", "content": b"", "msgId": i} for i in ids]
    task = new_task()
    begin(nats_server.url, rows, 300, task)
    write(exactly(nats_server.url), rows, task=task)
    assert admin.info(forgetful).state.messages == 200
    assert admin.info(other).state.messages == 200


def test_spaces_around_an_id_are_no_part_of_it(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str
) -> None:
    rows = [{**row, "msgId": f"  {i} "} for i, row in enumerate(numbered(forgetful, 100))]
    task = new_task()
    write(exactly(nats_server.url), rows, task=task)
    past_the_window(admin, forgetful)
    write(exactly(nats_server.url), rows, task=task)
    assert len(stored(admin, forgetful)) == 100


def test_a_lost_ack_of_the_record_is_no_reason_to_publish_again(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str
) -> None:
    rows, task = numbered(forgetful, 1_000), new_task()
    write(exactly(nats_server.url), rows, task=task)
    past_the_window(admin, forgetful)
    swallowed: list[bytes] = []

    def tamper(data: bytes) -> bytes:
        if b'{"stream":"KV_nats_spark_sink"' in data and not swallowed:
            swallowed.append(data)
            return b""
        return data

    with proxy(nats_server.url, tamper) as url:
        write(exactly(url, request_timeout="500ms"), rows, task=task)
    assert swallowed
    assert len(stored(admin, forgetful)) == 1_000


def test_rows_in_another_order_are_noticed(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str
) -> None:
    rows, task = numbered(forgetful, 500), new_task()
    begin(nats_server.url, rows, 200, task)
    count = stood(admin, forgetful, 200)  # the crash may have cut the last ones off
    swapped = [rows[1], rows[0], *rows[2:]]
    with pytest.raises(ReplayError, match=r"row 0 .*another than.*msgId"):
        write(exactly(nats_server.url), swapped, task=task)
    assert len(stored(admin, forgetful)) == count


def test_a_stream_that_transforms_subjects_is_no_reason_to_doubt_the_order(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    transform = {"src": f"{stream}.*", "dest": f"{stream}.to.$1"}
    make_stream(
        admin,
        stream,
        subjects=[f"{stream}.*"],
        duplicate_window=SHORTEST,
        subject_transform=transform,
    )
    rows, task = numbered(stream, 500), new_task()
    begin(nats_server.url, rows, 200, task)
    write(exactly(nats_server.url), rows, task=task)
    assert stored(admin, stream) == [row["content"] for row in rows]


def test_a_header_with_an_id_gives_way_to_the_rows_own(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    row = {"subject": f"{stream}.a", "headers": [("Nats-Msg-Id", ["x"]), ("a", ["b"])]}
    write(exactly(nats_server.url), [row, row])
    assert [(m.headers or {}).get("a") for m in admin.read_all(stream)] == ["b", "b"]


def test_streams_that_come_up_later_are_recorded_too(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str
) -> None:
    other = f"{forgetful}b"
    make_stream(admin, other, duplicate_window=SHORTEST)
    admin.fill(other, 50)
    rows = [*numbered(forgetful, 300), *numbered(other, 300)]
    task = new_task()
    begin(nats_server.url, rows, 500, task)
    write(exactly(nats_server.url), rows, task=task)
    assert admin.info(forgetful).state.messages == 300
    assert admin.info(other).state.messages == 350


def test_a_recreated_stream_gets_every_row(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    admin.fill(stream, 400)
    rows, task = numbered(stream, 300), new_task()
    begin(nats_server.url, rows, 100, task)
    admin.delete_stream(stream)
    make_stream(admin, stream, duplicate_window=SHORTEST)
    begin(nats_server.url, rows, 200, task)  # its sequences lie below those of the record
    past_the_window(admin, stream)
    write(exactly(nats_server.url), rows, task=task)
    assert stored(admin, stream) == [row["content"] for row in rows]


def test_within_the_window_the_servers_memory_is_enough(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream, retention="workqueue")
    rows, task = numbered(stream, 300), new_task()
    begin(nats_server.url, rows, 200, task)
    count = stood(admin, stream, 200)
    admin.purge(stream)  # as consumers would
    write(exactly(nats_server.url), rows, task=task)
    assert stored(admin, stream) == [row["content"] for row in rows[count:]]


def test_a_replay_that_cannot_know_fails_rather_than_repeats(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str
) -> None:
    rows, task = numbered(forgetful, 300), new_task()
    begin(nats_server.url, rows, 200, task)
    admin.delete_message(forgetful, 100)
    with pytest.raises(ReplayError, match=rf"'{forgetful}'.*nats\.fail\.on\.data\.loss=false"):
        write(exactly(nats_server.url), rows, task=task)
    assert admin.info(forgetful).state.messages == 199
    write(exactly(nats_server.url, fail_on_data_loss="false"), rows, task=task)
    assert sorted(stored(admin, forgetful)) == sorted(row["content"] for row in rows)


class Rival:
    """An attempt that waits between its batches until it is told to go on."""

    def __init__(self, url: str, rows: list[Row], task: TaskId) -> None:
        self.waits = threading.Event()
        self.may_go_on = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(url, rows, task))
        self._thread.start()
        assert self.waits.wait(20)

    def _run(self, url: str, rows: list[Row], task: TaskId) -> None:
        try:
            write_batches(exactly(url), self._slow(rows), task=task)
        except BaseException as error:
            self.error = error

    def _slow(self, rows: list[Row]) -> Iterator[pa.RecordBatch]:
        yield from batches(rows[: len(rows) // 2], batch_rows=100)
        self.waits.set()
        assert self.may_go_on.wait(60)
        yield from batches(rows[len(rows) // 2 :], batch_rows=100)

    def end(self) -> None:
        self.may_go_on.set()
        self._thread.join(60)


def test_an_attempt_that_was_overtaken_stops(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str
) -> None:
    rows, task = numbered(forgetful, 1_000), new_task()
    slow = Rival(nats_server.url, rows, task)
    write(exactly(nats_server.url), rows, task=task)
    slow.end()
    assert isinstance(slow.error, FencedError)
    assert sorted(stored(admin, forgetful)) == sorted(row["content"] for row in rows)


def test_a_speculative_attempt_beside_a_running_one_repeats_nothing(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str
) -> None:
    rows, task = numbered(forgetful, 1_000), new_task()
    first = Rival(nats_server.url, rows, task)
    done: list[BaseException | None] = []

    def speculate() -> None:
        try:
            write(exactly(nats_server.url), rows, task=task)
            done.append(None)
        except BaseException as error:
            done.append(error)

    second = threading.Thread(target=speculate)
    second.start()
    first.end()  # goes on while the second attempt takes over, waits and reads
    second.join(60)
    assert None in (first.error, *done)
    assert sorted(stored(admin, forgetful)) == sorted(row["content"] for row in rows)


def records(admin: Admin, query: str, bucket: str = "nats_spark_sink") -> dict[str, Any]:
    """The records of a query's tasks, by key."""
    prefix = f"$KV.{bucket}.{query}."
    found = admin.api(f"STREAM.INFO.KV_{bucket}", subjects_filter=f"{prefix}>")

    def value(subject: str) -> Any:
        message = admin.run(admin.js.get_last_msg(f"KV_{bucket}", subject))
        return json.loads(message.data or b"")

    return {each.removeprefix(prefix): value(each) for each in found["state"].get("subjects") or {}}


def test_the_record_names_the_streams_as_they_were(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    admin.fill(stream, 17)
    task = TaskId(f"q{stream}", "4", 1)
    write(exactly(nats_server.url), numbered(stream, 5), task=task)
    record = records(admin, task.query)["4.1"]
    assert record["streams"][stream]["seq"] == 17


def test_a_task_without_rows_makes_no_record(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    write(exactly(nats_server.url), numbered(stream, 1))  # makes the bucket
    task = new_task()
    assert write(exactly(nats_server.url), [], task=task).revision == 0
    assert records(admin, task.query) == {}


def test_records_before_a_revision_are_forgotten(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    query = f"q{stream}"
    settings = exactly(nats_server.url)
    for batch in ("8", "9"):
        last = write(settings, numbered(stream, 1), task=TaskId(query, batch, 0))
    forget(NatsSettings.from_options(settings), query, last.revision)
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


def test_an_attempt_whose_record_is_gone_stops(
    nats_server: EmbeddedServer, admin: Admin, forgetful: str
) -> None:
    rows, task = numbered(forgetful, 1_000), new_task()
    settings = exactly(nats_server.url, sink_bucket=f"B{forgetful}", retry_count="0")

    def losing() -> Iterator[pa.RecordBatch]:
        yield from batches(rows[:500], batch_rows=100)
        admin.delete_stream(f"KV_B{forgetful}")
        looks_again = time.monotonic() + LEASE
        wait_until(lambda: time.monotonic() > looks_again)
        yield from batches(rows[500:], batch_rows=100)

    with pytest.raises(FencedError):
        write_batches(settings, losing(), task=task)
    assert admin.info(forgetful).state.messages == 500

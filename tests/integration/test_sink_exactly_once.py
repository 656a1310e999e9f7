"""Exactly-once: retried tasks and concurrent attempts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pyarrow as pa
import pytest

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.errors import FencedError, ReplayError
from nats_spark_common.sink.task_id import TaskId
from nats_spark_common.sink.task_record import LEASE

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

#: The server's minimum duplicate window, in nanoseconds; a retry a moment later is outside it.
SHORTEST = 100_000_000
PROBE = b"probe"


@pytest.fixture(params=WAYS)
def short_window(request: pytest.FixtureRequest, admin: Admin, stream: str) -> str:
    """A stream with the shortest duplicate window."""
    make_stream(admin, stream, duplicate_window=SHORTEST, **WAYS[request.param])
    return stream


def stored(admin: Admin, stream: str) -> list[bytes]:
    """The payloads of all messages but probes."""
    return [each.payload for each in admin.read_all(stream) if each.payload != PROBE]


def past_the_window(admin: Admin, stream: str) -> None:
    """Wait until the duplicate window of the latest message has passed."""
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
def test_an_attempt_after_a_crash_publishes_the_missing_rows(
    nats_server: EmbeddedServer, admin: Admin, short_window: str, after: int
) -> None:
    rows, task = numbered(short_window, 5_000), new_task()
    begin(nats_server.url, rows, after, task)
    past_the_window(admin, short_window)
    write(exactly(nats_server.url), rows, task=task)
    assert sorted(stored(admin, short_window)) == sorted(row["content"] for row in rows)


def test_a_replay_past_the_window_repeats_nothing(
    nats_server: EmbeddedServer, admin: Admin, short_window: str
) -> None:
    rows, task = numbered(short_window, 1_000), new_task()
    write(exactly(nats_server.url), rows, task=task)
    past_the_window(admin, short_window)
    before = admin.info(short_window).state.last_seq
    write(exactly(nats_server.url), rows, task=task)
    assert admin.info(short_window).state.last_seq == before


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


def test_mirrors_that_lack_messages_are_not_read_for_stored_rows(
    nats_server: EmbeddedServer, admin: Admin, short_window: str
) -> None:
    rows, task = numbered(short_window, 1_000), new_task()
    begin(nats_server.url, rows, 900, task)
    mirror(admin, f"{short_window}-F", short_window, filter_subject=f"{short_window}.1")
    mirror(admin, f"{short_window}-P", short_window)
    admin.purge(f"{short_window}-P")
    past_the_window(admin, short_window)
    for _ in range(3):
        write(exactly(nats_server.url), rows, task=task)
    assert sorted(stored(admin, short_window)) == sorted(row["content"] for row in rows)
    admin.delete_stream(f"{short_window}-F")
    admin.delete_stream(f"{short_window}-P")


def test_stored_rows_are_found_by_the_users_own_ids(
    nats_server: EmbeddedServer, admin: Admin, short_window: str
) -> None:
    rows = [{**row, "msgId": f"mine-{i}"} for i, row in enumerate(numbered(short_window, 500))]
    task = new_task()
    begin(nats_server.url, rows, 200, task)
    past_the_window(admin, short_window)
    write(exactly(nats_server.url), rows[::-1], task=task)  # in another order
    ids = [(m.headers or {})["Nats-Msg-Id"] for m in admin.read_all(short_window)]
    assert sorted(each for each in ids if each.startswith("mine")) == sorted(
        row["msgId"] for row in rows
    )


def test_an_id_may_be_stored_in_one_stream_and_missing_in_another(
    nats_server: EmbeddedServer, admin: Admin, short_window: str
) -> None:
    other = f"{short_window}b"
    make_stream(admin, other)
    ids = [str(number) for number in range(200)]
    rows: list[Row] = [{"subject": f"{short_window}.x", "content": b"", "msgId": i} for i in ids]
    rows += [{"subject": f"{other}.x", "content": b"", "msgId": i} for i in ids]
    task = new_task()
    begin(nats_server.url, rows, 300, task)
    write(exactly(nats_server.url), rows, task=task)
    assert admin.info(short_window).state.messages == 200
    assert admin.info(other).state.messages == 200


def test_spaces_around_an_id_are_removed(
    nats_server: EmbeddedServer, admin: Admin, short_window: str
) -> None:
    rows = [{**row, "msgId": f"  {i} "} for i, row in enumerate(numbered(short_window, 100))]
    task = new_task()
    write(exactly(nats_server.url), rows, task=task)
    past_the_window(admin, short_window)
    write(exactly(nats_server.url), rows, task=task)
    assert len(stored(admin, short_window)) == 100


def test_a_lost_ack_of_the_record_does_not_repeat_rows(
    nats_server: EmbeddedServer, admin: Admin, short_window: str
) -> None:
    rows, task = numbered(short_window, 1_000), new_task()
    write(exactly(nats_server.url), rows, task=task)
    past_the_window(admin, short_window)
    swallowed: list[bytes] = []

    def tamper(data: bytes) -> bytes:
        if b'{"stream":"KV_nats_spark_sink"' in data and not swallowed:
            swallowed.append(data)
            return b""
        return data

    with proxy(nats_server.url, tamper) as url:
        write(exactly(url, request_timeout="500ms"), rows, task=task)
    assert swallowed
    assert len(stored(admin, short_window)) == 1_000


def test_rows_in_another_order_are_an_error(
    nats_server: EmbeddedServer, admin: Admin, short_window: str
) -> None:
    rows, task = numbered(short_window, 500), new_task()
    begin(nats_server.url, rows, 200, task)
    count = stood(admin, short_window, 200)  # the last ones may be lost in the crash
    swapped = [rows[1], rows[0], *rows[2:]]
    with pytest.raises(ReplayError, match=r"row 0 .*differs from.*msgId"):
        write(exactly(nats_server.url), swapped, task=task)
    assert len(stored(admin, short_window)) == count


def test_transformed_subjects_do_not_count_as_another_order(
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


def test_an_id_of_the_row_replaces_one_of_the_headers(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    row = {"subject": f"{stream}.a", "headers": [("Nats-Msg-Id", ["x"]), ("a", ["b"])]}
    write(exactly(nats_server.url), [row, row])
    assert [(m.headers or {}).get("a") for m in admin.read_all(stream)] == ["b", "b"]


def test_streams_of_later_rows_are_recorded_too(
    nats_server: EmbeddedServer, admin: Admin, short_window: str
) -> None:
    other = f"{short_window}b"
    make_stream(admin, other, duplicate_window=SHORTEST)
    admin.fill(other, 50)
    rows = [*numbered(short_window, 300), *numbered(other, 300)]
    task = new_task()
    begin(nats_server.url, rows, 500, task)
    write(exactly(nats_server.url), rows, task=task)
    assert admin.info(short_window).state.messages == 300
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
    begin(nats_server.url, rows, 200, task)  # its sequences are below those of the record
    past_the_window(admin, stream)
    write(exactly(nats_server.url), rows, task=task)
    assert stored(admin, stream) == [row["content"] for row in rows]


def test_within_the_window_removed_messages_are_not_repeated(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream, retention="workqueue")
    rows, task = numbered(stream, 300), new_task()
    begin(nats_server.url, rows, 200, task)
    count = stood(admin, stream, 200)
    admin.purge(stream)  # as consumers would
    write(exactly(nats_server.url), rows, task=task)
    assert stored(admin, stream) == [row["content"] for row in rows[count:]]


def test_a_retry_that_cannot_find_the_stored_rows_fails(
    nats_server: EmbeddedServer, admin: Admin, short_window: str
) -> None:
    rows, task = numbered(short_window, 300), new_task()
    begin(nats_server.url, rows, 200, task)
    admin.delete_message(short_window, 100)
    with pytest.raises(ReplayError, match=rf"'{short_window}'.*nats\.fail\.on\.data\.loss=false"):
        write(exactly(nats_server.url), rows, task=task)
    assert admin.info(short_window).state.messages == 199
    write(exactly(nats_server.url, fail_on_data_loss="false"), rows, task=task)
    assert sorted(stored(admin, short_window)) == sorted(row["content"] for row in rows)


def test_a_window_that_is_lengthened_later_proves_nothing(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    """The server has forgotten the ids that left the shorter one."""
    make_stream(admin, stream, duplicate_window=SHORTEST)
    rows, task = numbered(stream, 300), new_task()
    begin(nats_server.url, rows, 200, task)
    assert stood(admin, stream, 200) > 0
    admin.purge(stream)
    past_the_window(admin, stream)
    change_window(admin, stream, 600_000_000_000)
    with pytest.raises(ReplayError, match=rf"'{stream}'.*window of 0\.1s has passed"):
        write(exactly(nats_server.url), rows, task=task)
    assert stored(admin, stream) == []


def test_the_shortest_window_that_an_attempt_has_seen_counts(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    rows, task = numbered(stream, 300), new_task()
    begin(nats_server.url, rows, 200, task)
    assert stood(admin, stream, 200) > 0
    admin.purge(stream)
    change_window(admin, stream, SHORTEST)
    past_the_window(admin, stream)
    for _ in range(2):
        with pytest.raises(ReplayError, match=r"of 0\.1s has passed.*only helps later tasks"):
            write(exactly(nats_server.url), rows, task=task)
        change_window(admin, stream, 600_000_000_000)
    assert stored(admin, stream) == []


def change_window(admin: Admin, stream: str, window: int) -> None:
    """``window`` is in nanoseconds."""
    config = admin.api(f"STREAM.INFO.{stream}")["config"]
    admin.api(f"STREAM.UPDATE.{stream}", **{**config, "duplicate_window": window})


class Rival:
    """An attempt that pauses between its batches until it may continue."""

    def __init__(self, url: str, rows: list[Row], task: TaskId) -> None:
        self.paused = threading.Event()
        self.may_continue = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(url, rows, task))
        self._thread.start()
        assert self.paused.wait(20)

    def _run(self, url: str, rows: list[Row], task: TaskId) -> None:
        try:
            write_batches(exactly(url), self._slow(rows), task=task)
        except BaseException as error:
            self.error = error

    def _slow(self, rows: list[Row]) -> Iterator[pa.RecordBatch]:
        yield from batches(rows[: len(rows) // 2], batch_rows=100)
        self.paused.set()
        assert self.may_continue.wait(60)
        yield from batches(rows[len(rows) // 2 :], batch_rows=100)

    def end(self) -> None:
        self.may_continue.set()
        self._thread.join(60)


def test_an_attempt_whose_task_was_taken_over_stops(
    nats_server: EmbeddedServer, admin: Admin, short_window: str
) -> None:
    rows, task = numbered(short_window, 1_000), new_task()
    slow = Rival(nats_server.url, rows, task)
    write(exactly(nats_server.url), rows, task=task)
    slow.end()
    assert isinstance(slow.error, FencedError)
    assert sorted(stored(admin, short_window)) == sorted(row["content"] for row in rows)


def test_a_speculative_attempt_beside_a_running_one_repeats_nothing(
    nats_server: EmbeddedServer, admin: Admin, short_window: str
) -> None:
    rows, task = numbered(short_window, 1_000), new_task()
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
    first.end()  # continues while the second attempt takes over, waits and reads
    second.join(60)
    assert None in (first.error, *done)
    assert sorted(stored(admin, short_window)) == sorted(row["content"] for row in rows)


def test_an_attempt_whose_record_was_deleted_stops(
    nats_server: EmbeddedServer, admin: Admin, short_window: str
) -> None:
    rows, task = numbered(short_window, 1_000), new_task()
    settings = exactly(nats_server.url, sink_bucket=f"B{short_window}", retry_count="0")

    def losing() -> Iterator[pa.RecordBatch]:
        yield from batches(rows[:500], batch_rows=100)
        admin.delete_stream(f"KV_B{short_window}")
        next_check = time.monotonic() + LEASE
        wait_until(lambda: time.monotonic() > next_check)
        yield from batches(rows[500:], batch_rows=100)

    with pytest.raises(FencedError):
        write_batches(settings, losing(), task=task)
    assert admin.info(short_window).state.messages == 500

"""Servers that restart, change their leader or are overloaded, and networks that lose acks."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nats.errors
import pyarrow as pa
import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.cluster import cluster
from .._support.options import options
from .._support.proxy import proxy
from .._support.writing import WAYS, Row, batches, make_stream, numbered, write, write_batches

SHORTEST = 100_000_000
MODES = ["at-least-once", "exactly-once"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How messages travel, with the shortest memory of ids that a server has."""
    return {"duplicate_window": SHORTEST, **WAYS[request.param]}


def check(admin: Admin, stream: str, rows: list[Row], mode: str) -> None:
    """Every row stands; in mode exactly-once, once."""
    found = Counter(m.payload for m in admin.read_all(stream))
    assert sorted(found) == sorted(row["content"] for row in rows)
    if mode == "exactly-once":
        assert set(found.values()) == {1}


def interrupted(rows: list[Row], fault: Callable[[], None], times: int = 2) -> Iterator[Any]:
    """The rows in batches of 1,000; after some of them the fault begins, beside the next."""
    parts = list(batches(rows, batch_rows=1_000))
    moments = set(random.sample(range(1, len(parts) - 1), times))
    running: threading.Thread | None = None
    for number, part in enumerate(parts):
        if number in moments:
            if running:
                running.join()
            running = threading.Thread(target=fault)
            running.start()
        yield part
    assert running is not None
    running.join()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_server_that_restarts_in_the_midst_of_a_task(
    stream: str, way: dict[str, Any], mode: str, how: str
) -> None:
    with EmbeddedServer() as server:
        admin = Admin(server.url)
        make_stream(admin, stream, **way)
        admin.close()

        def fault() -> None:
            if how == "kill":
                server.kill()
                server.start()
            else:
                server.restart()

        rows = numbered(stream, 60_000, size=200)
        written = write_batches(options(server.url, sink_mode=mode), interrupted(rows, fault))
        assert (written.counts.messages, written.counts.bytes) == (60_000, 60_000 * 200)
        assert written.counts.retries > 0
        admin = Admin(server.url)
        check(admin, stream, rows, mode)
        admin.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_is_away_for_a_while(stream: str, way: dict[str, Any], mode: str) -> None:
    with EmbeddedServer() as server:
        admin = Admin(server.url)
        make_stream(admin, stream, **way)
        admin.close()

        def fault() -> None:
            server.kill()
            back = time.monotonic() + 1.5
            wait_until(lambda: time.monotonic() > back)
            server.start()

        rows = numbered(stream, 20_000, size=200)
        write_batches(options(server.url, sink_mode=mode), interrupted(rows, fault, times=1))
        admin = Admin(server.url)
        check(admin, stream, rows, mode)
        admin.close()


def test_best_effort_goes_on_after_a_restart(stream: str) -> None:
    with EmbeddedServer() as server:
        admin = Admin(server.url)
        make_stream(admin, stream)
        admin.close()
        rows = numbered(stream, 60_000, size=200)
        settings = options(server.url, sink_mode="best-effort")
        write_batches(settings, interrupted(rows, server.restart, times=1))
        admin = Admin(server.url)
        found = [m.payload for m in admin.read_all(stream)]
        assert found[-1] == rows[-1]["content"]
        admin.close()


class Forgetful:
    """Tampers with what a server sends: now and then its acks are lost, and the connection."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._acks = 0
        self.losses = 0

    def __call__(self, data: bytes) -> bytes:
        self._acks += data.count(b'"seq":') * (b"_INBOX" in data and b"$KV" not in data)
        if self._acks < self._every or b'"stream"' not in data:
            return data
        self._acks = 0
        self.losses += 1
        raise ConnectionResetError


@pytest.mark.parametrize("mode", MODES)
def test_a_network_that_loses_acks_with_the_connection(
    nats_server: EmbeddedServer, admin: Admin, stream: str, mode: str
) -> None:
    make_stream(admin, stream, duplicate_window=SHORTEST)
    rows = numbered(stream, 40_000, size=100)
    tamper = Forgetful(every=9_000)
    with proxy(nats_server.url, tamper) as url:
        write(options(url, sink_mode=mode), rows)
    assert tamper.losses > 1
    check(admin, stream, rows, mode)
    if mode == "at-least-once":
        assert admin.info(stream).state.messages > len(rows)  # so there was something to repeat


@pytest.mark.parametrize("mode", MODES)
def test_acks_that_never_come_are_not_awaited_for_ever(
    nats_server: EmbeddedServer, admin: Admin, stream: str, mode: str
) -> None:
    make_stream(admin, stream, duplicate_window=SHORTEST)
    swallowed: list[bytes] = []

    def tamper(data: bytes) -> bytes:
        if b'{"stream":"%b","seq":' % stream.encode() in data and len(swallowed) < 2:
            swallowed.append(data)
            return b""
        return data

    rows = numbered(stream, 2_000)
    with proxy(nats_server.url, tamper) as url:
        write(options(url, sink_mode=mode, request_timeout="500ms"), rows)
    assert len(swallowed) == 2
    check(admin, stream, rows, mode)


def test_acks_that_wait_for_slow_rows_count(
    nats_server: EmbeddedServer, admin: Admin, stream: str, way: dict[str, Any]
) -> None:
    make_stream(admin, stream, **way)
    rows = numbered(stream, 500)

    def slow() -> Iterator[pa.RecordBatch]:
        yield from batches(rows[:400])
        later = time.monotonic() + 0.6
        wait_until(lambda: time.monotonic() > later)
        yield from batches(rows[400:])

    settings = options(nats_server.url, request_timeout="300ms", retry_count="0")
    write_batches(settings, slow())
    check(admin, stream, rows, "exactly-once")


def test_many_small_batches_are_turned_away_at_once_and_sent_again(
    stream: str, way: dict[str, Any], tmp_path: Path
) -> None:
    config = f'jetstream {{ store_dir: "{tmp_path}", max_buffered_msgs: 3 }}'
    with EmbeddedServer(config) as server:
        admin = Admin(server.url)
        make_stream(admin, stream, **way)
        rows = numbered(stream, 160, size=200)
        write(options(server.url, retry_count="5"), rows, batch_rows=8)
        check(admin, stream, rows, "exactly-once")
        admin.close()


def test_a_server_that_queues_little_is_not_overrun(
    stream: str, way: dict[str, Any], tmp_path: Path
) -> None:
    config = f'jetstream {{ store_dir: "{tmp_path}", max_buffered_msgs: 50 }}'
    with EmbeddedServer(config) as server:
        admin = Admin(server.url)
        make_stream(admin, stream, **way)
        rows = numbered(stream, 20_000, size=200)
        write(options(server.url, retry_count="20"), rows)
        check(admin, stream, rows, "exactly-once")  # what was turned away is known not to stand
        admin.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[list[EmbeddedServer]]:
    with cluster() as servers:
        yield servers


@pytest.mark.slow
@pytest.mark.parametrize(("how", "mode"), [("single", MODES[0]), ("fast", MODES[1])])
def test_a_cluster_whose_stream_changes_its_leader(
    servers: list[EmbeddedServer], stream: str, how: str, mode: str
) -> None:
    with closing(Admin(servers[0].url)) as admin:
        make_stream(admin, stream, num_replicas=3, duplicate_window=SHORTEST, **WAYS[how])

        def fault() -> None:
            wait_until(lambda: _steps_down(admin, stream))

        rows = numbered(stream, 30_000, size=200)
        url = ",".join(server.url for server in servers)
        settings = options(url, sink_mode=mode, request_timeout="1s")
        write_batches(settings, interrupted(rows, fault))
        check(admin, stream, rows, mode)


def _steps_down(admin: Admin, stream: str) -> bool:
    """Whether the stream's leader says that it has stepped down; a busy one may not answer."""
    request = admin.client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", b"", timeout=1)
    try:
        return b'"success":true' in admin.run(request).data
    except nats.errors.TimeoutError:
        return False


def test_rows_keep_their_order_where_nothing_fails(
    nats_server: EmbeddedServer, admin: Admin, stream: str, way: dict[str, Any]
) -> None:
    make_stream(admin, stream, **way)
    rows = numbered(stream, 30_000)
    write_batches(options(nats_server.url), _uneven(rows))
    assert [m.payload for m in admin.read_all(stream)] == [row["content"] for row in rows]


def _uneven(rows: list[Row]) -> Iterator[pa.RecordBatch]:
    start = 0
    while start < len(rows):
        count = random.choice([1, 7, 500, 5_000])
        yield from batches(rows[start : start + count])
        start += count


class Forgetting:
    """Tampers with the replies that close fast batches, as of a leader that took one over.

    Such a leader may know fewer of the batch's messages than its predecessor stored.
    """

    def __init__(self) -> None:
        self.closed = 0

    def __call__(self, data: bytes) -> bytes:
        def lowered(count: re.Match[bytes]) -> bytes:
            self.closed += 1
            return count[1] + b"500}" if self.closed in (1, 8, 15) else count[0]

        return re.sub(rb'("batch":"\w+","count":)[6-9]\d\d}', lowered, data)


@pytest.mark.parametrize("mode", MODES)
def test_a_fast_batch_of_which_more_is_stored_than_its_end_says(
    nats_server: EmbeddedServer, admin: Admin, stream: str, mode: str
) -> None:
    make_stream(admin, stream, duplicate_window=SHORTEST, allow_batched=True)
    rows = numbered(stream, 18_000)
    tamper = Forgetting()
    with proxy(nats_server.url, tamper) as url:
        write(options(url, sink_mode=mode), rows, batch_rows=900)
    assert tamper.closed > 15
    check(admin, stream, rows, mode)

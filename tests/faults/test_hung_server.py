"""A server hangs, or a proxy carries nothing any more: connections stand, and nobody answers."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import Any

import nats.errors
import pytest
from pyspark import cloudpickle
from pyspark.sql.datasource import CaseInsensitiveDict

from nats_spark_common import NatsSettings
from nats_spark_common.connection import retry, silence
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.api import CLUSTER_NOT_AVAILABLE
from nats_spark_common.jetstream.control import Control
from nats_spark_common.rows.schema import SCHEMA
from pyspark_nats_v2 import DefaultSource

from .._support import consuming
from .._support.admin import Admin, wait_until
from .._support.cluster import cluster
from .._support.options import options
from .._support.reading import Driver, batch, numbers
from .._support.relay import relay
from .._support.writing import make_stream, numbered, write

#: Less than a query of nats-py's own waits for a server that hangs: 45 to 81 s were seen.
SOON = 25.0


#: An election may take ten seconds, and the machine of the tests may be busy.
PATIENT = 60.0


@contextmanager
def hung(server: EmbeddedServer) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def servers() -> Iterator[list[EmbeddedServer]]:
    with cluster() as servers:
        yield servers


def all_urls(servers: list[EmbeddedServer]) -> str:
    return ",".join(server.url for server in servers)


def is_filled(admin: Admin, stream: str) -> bool:
    """Whether the cluster, which may have to find its leaders yet, takes stream and messages."""
    try:
        admin.create_stream(stream, num_replicas=3)
        admin.fill(stream, 10)
    except Exception:
        with suppress(Exception):
            admin.delete_stream(stream)
        return False
    return admin.info(stream).state.last_seq == 10


def publish(servers: list[EmbeddedServer], stream: str) -> int | None:
    """Through whichever server takes it."""
    for server in servers:
        with closing(Admin(server.url)) as admin:
            try:
                return admin.publish(f"{stream}.new")
            except Exception:  # no leader yet
                continue
    return None


@pytest.mark.slow
@pytest.mark.parametrize("hanging", [0, 1, 2])
@pytest.mark.parametrize("flavor", ["v2", "balanced"])
def test_a_query_goes_on_when_a_server_hangs(
    servers: list[EmbeddedServer], stream: str, hanging: int, flavor: str
) -> None:
    with closing(Admin(servers[0].url)) as admin:
        wait_until(lambda: is_filled(admin, stream))
    url = all_urls(servers)
    driver = (
        Driver(options(url, stream_name=stream)) if flavor == "v2" else consuming.start(url, stream)
    )
    others = [each for i, each in enumerate(servers) if i != hanging]
    with driver:
        position, found = driver.initial(), list[int]()

        def goes_on(last: int) -> bool:
            nonlocal position
            position, rows = batch(driver, position)
            found.extend(numbers(rows))
            return last in found

        wait_until(lambda: goes_on(10))  # a replica may have less than the leader at first
        assert found == list(range(1, 11))
        found.clear()
        with hung(servers[hanging]):
            last = wait_until(lambda: publish(others, stream), SOON)
            within(SOON, lambda: goes_on(last))
        assert sorted(set(found)) == list(range(11, last + 1))


def within(seconds: float, condition: Any) -> None:
    """Await a condition that may block, and fail where it does for longer."""
    ended = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            wait_until(condition, seconds)
        except BaseException as error:
            failures.append(error)
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    assert ended.wait(seconds), f"nothing went ahead for {seconds:g} s"
    if failures:
        raise failures[0]


#: A task in a process of its own, which has no connection yet.
TASK = """
import json, pickle, sys
reader, share = pickle.load(sys.stdin.buffer)
rows = [row for batch in reader.read(share) for row in batch.to_pylist()]
print(json.dumps([row["streamSeq"] for row in rows]))
"""


@pytest.mark.parametrize("flavor", ["v2", "balanced"])
def test_a_task_finds_another_server_when_the_only_one_that_is_named_hangs(
    servers: list[EmbeddedServer], stream: str, flavor: str
) -> None:
    with closing(Admin(servers[0].url)) as admin:
        wait_until(lambda: is_filled(admin, stream))
    url = servers[1].url
    driver = (
        Driver(options(url, stream_name=stream)) if flavor == "v2" else consuming.start(url, stream)
    )
    with driver:
        start = driver.initial()
        end = wait_until(lambda: changed(start, driver.latest(start)))
        (share,) = driver.reader.partitions(start, end)
        task = cloudpickle.dumps((driver.reader, share))
        with hung(servers[1]):
            command = [sys.executable, "-c", TASK]
            found = subprocess.run(command, input=task, capture_output=True, timeout=120)
    assert found.returncode == 0, found.stderr.decode()
    assert json.loads(found.stdout) == list(range(1, 11))


def test_the_first_request_of_a_query_is_retried_while_the_cluster_has_no_leader(
    servers: list[EmbeddedServer],
) -> None:
    settings = NatsSettings.from_options(options(servers[1].url, retry_count="50"))
    with closing(Admin(servers[1].url)) as admin, ThreadPoolExecutor() as pool:
        with hung(servers[0]), hung(servers[2]):
            wait_until(lambda: has_no_leader(admin))
            before, control = retry.retries(), Control(settings)
            answer = pool.submit(control.api, "INFO")
            wait_until(lambda: retry.retries() > before or answer.done())
        with control:
            assert "error" not in answer.result()


def has_no_leader(admin: Admin) -> bool:
    try:
        reply = admin.run(admin.client.request("$JS.API.INFO", timeout=2))
    except (nats.errors.TimeoutError, TimeoutError):
        return False
    return bool(json.loads(reply.data).get("error", {}).get("err_code") == CLUSTER_NOT_AVAILABLE)


def changed(start: dict[str, Any], end: dict[str, Any]) -> dict[str, Any] | None:
    return end if end != start else None


@pytest.mark.parametrize("mode", ["at-least-once", "exactly-once"])
def test_a_sink_finds_another_server_when_the_only_one_that_is_named_hangs(
    servers: list[EmbeddedServer], stream: str, mode: str
) -> None:
    with closing(Admin(servers[0].url)) as admin:
        wait_until(lambda: made(admin, stream))
        named = options(servers[1].url, sink_mode=mode)
        write(named, numbered(stream, 100))
        with hung(servers[1]):
            within(PATIENT, lambda: write(named, numbered(stream, 100)))
        wait_until(lambda: admin.info(stream).state.messages >= 200)
        if mode == "exactly-once":
            assert admin.info(stream).state.messages == 200


def test_a_writer_that_has_connected_carries_the_addresses_of_the_cluster(
    servers: list[EmbeddedServer], stream: str
) -> None:
    """Its tasks may run in processes that know only ``nats.url``."""
    named = options(
        servers[1].url,
        stream_name=stream,
        stream_subjects=f"{stream}.>",
        sink_create_stream="true",
        inbox_prefix=stream,  # no other test has connected with it
    )
    sink = DefaultSource(CaseInsensitiveDict(named))
    writer = pickle.loads(pickle.dumps(sink.writer(SCHEMA, overwrite=False)))
    assert {f"127.0.0.1:{each.port}" for each in servers} <= set(writer.servers)


def made(admin: Admin, stream: str) -> bool:
    """Whether the cluster has made the stream."""
    try:
        make_stream(admin, stream, num_replicas=3)
    except Exception:  # no leader yet
        return False
    return True


@pytest.mark.parametrize("flavor", ["v2", "balanced"])
def test_a_query_goes_on_when_its_connections_carry_nothing_any_more(
    nats_server: EmbeddedServer, admin: Admin, stream: str, flavor: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    with relay(nats_server.url) as between:
        driver = (
            Driver(options(between.url, stream_name=stream, request_timeout="1s"))
            if flavor == "v2"
            else consuming.start(between.url, stream, request_timeout="1s")
        )
        with driver:
            position, rows = batch(driver, driver.initial())
            assert numbers(rows) == list(range(1, 11))
            between.stall()
            admin.fill(stream, 5)
            found: list[int] = []

            def goes_on() -> bool:
                nonlocal position
                position, rows = batch(driver, position)
                found.extend(numbers(rows))
                return len(found) == 5

            within(SOON, goes_on)
            assert found == list(range(11, 16))


@pytest.mark.parametrize("flavor", ["v2", "balanced"])
def test_a_query_starts_although_its_first_connection_carries_nothing(
    nats_server: EmbeddedServer, admin: Admin, stream: str, flavor: str
) -> None:
    """As behind a load balancer that has chosen a server that hangs."""
    admin.create_stream(stream)
    admin.fill(stream, 10)
    with relay(nats_server.url) as between:
        between.stall(new=True)

        def choose_another() -> None:
            wait_until(lambda: between.accepted)
            between.carry()

        balancer = threading.Thread(target=choose_another)
        balancer.start()
        driver = (
            Driver(options(between.url, stream_name=stream, connect_timeout="1s"))
            if flavor == "v2"
            else consuming.start(between.url, stream, connect_timeout="1s")
        )
        with driver:
            _, rows = batch(driver, driver.initial())
        balancer.join()
    assert numbers(rows) == list(range(1, 11))


@pytest.mark.parametrize("mode", ["at-least-once", "exactly-once", "best-effort"])
def test_a_sink_goes_on_when_its_connections_carry_nothing_any_more(
    nats_server: EmbeddedServer, admin: Admin, stream: str, mode: str
) -> None:
    make_stream(admin, stream)
    with relay(nats_server.url) as between:
        named = options(between.url, sink_mode=mode, request_timeout="1s")
        write(named, numbered(stream, 100))
        wait_until(lambda: admin.info(stream).state.messages == 100)
        between.stall()
        if mode == "best-effort":  # what is under way with a connection is lost with it
            write(named, numbered(stream, 100))
        within(SOON, lambda: write(named, numbered(stream, 100)))
        wait_until(lambda: admin.info(stream).state.messages == 200)


def test_a_server_that_was_silent_is_tried_last(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    with relay(nats_server.url) as hanging:
        hanging.stall(new=True)
        url = f"{hanging.url},{nats_server.url}"
        both = options(url, stream_name=stream, request_timeout="1s", connect_timeout="1s")
        wait_until(lambda: _reads(both) and hanging.accepted)
        silent = hanging.accepted
        for _ in range(5):
            assert _reads(both)
        assert hanging.accepted == silent
    assert silence.by_silence([hanging.url[7:], nats_server.url[7:]])[-1] == hanging.url[7:]


def _reads(named: dict[str, str]) -> bool:
    with Driver(named) as driver:
        start = driver.initial()
        return numbers(driver.rows(start, driver.everything(start))) == list(range(1, 11))

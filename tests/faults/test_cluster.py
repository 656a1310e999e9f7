"""A replicated stream, read while servers of its cluster go away."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from nats.js.api import Placement

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.cluster import cluster
from .._support.reading import Driver, numbers

COUNT = 20_000


@pytest.fixture
def servers() -> Iterator[list[EmbeddedServer]]:
    with cluster() as servers:
        admin = Admin(servers[0].url)
        admin.create_stream("S", num_replicas=3)
        admin.fill("S", COUNT, size=100)
        admin.close()
        yield servers


@pytest.mark.usefixtures("via")
def test_a_range_is_read_once_and_whole_while_its_server_is_killed(
    servers: list[EmbeddedServer],
) -> None:
    # Only the first server is named: the others are known from what it says of its cluster.
    options = {"nats.url": servers[0].url, "nats.stream.name": "S", "nats.partitions": "1"}
    with Driver({**options, "nats.fetch.bytes": "64KiB"}) as driver:
        start = driver.initial()
        (partition,) = driver.reader.partitions(start, driver.everything(start))
        seqs: list[int] = []
        for batch in driver.reader.read(partition):
            seqs += batch.column("streamSeq").to_pylist()
            if len(seqs) > COUNT // 4:
                servers[0].kill()
    assert seqs == list(range(1, COUNT + 1))


def test_a_query_follows_the_stream_to_another_leader(servers: list[EmbeddedServer]) -> None:
    options = {"nats.url": ",".join(s.url for s in servers), "nats.stream.name": "S"}
    with Driver({**options, "nats.start": "latest"}) as driver:
        start = driver.initial()
        admin = Admin([server.url for server in servers])  # type: ignore[arg-type]
        leader = admin.info("S").cluster.leader
        (dying,) = (server for i, server in enumerate(servers) if leader == f"n{i}")
        dying.kill()
        wait_until(lambda: _publish(admin), seconds=30)
        end = wait_until(lambda: _news(driver, start), seconds=30)
        assert COUNT + 1 in numbers(driver.rows(start, end))
        admin.close()


def test_streams_whose_server_pauses_are_not_taken_for_deleted(
    servers: list[EmbeddedServer],
) -> None:
    """A cluster lists its streams without those of a server that lets it wait for four seconds."""
    # Not the server that lists, which is the leader of all; and the client asks one that goes on.
    meta = servers[0].statistics("jsz")["meta_cluster"]["leader"]
    paused = next(name for name in ("n0", "n1", "n2") if name != meta)
    lost = {"K-3", "K-4"}
    admin = Admin(servers[0].url)
    for name in (f"K-{i}" for i in range(20)):
        home = Placement(tags=[paused if name in lost else meta])
        admin.create_stream(name, placement=home)
        admin.fill(name, 1)
    admin.close()
    server, other = (servers[int(name[1:])] for name in (paused, meta))
    options = {"nats.url": other.url, "nats.stream.pattern": "K-*", "nats.poll.interval": "1ms"}
    with Driver({**options, "nats.request.timeout": "6s"}) as driver:
        position = driver.latest(driver.initial())
        admin = Admin(other.url)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor() as pool:
                listing = pool.submit(_list_streams, admin)
                # The server goes on once the list without its streams has been sent.
                listing.add_done_callback(lambda _: os.kill(server.pid, signal.SIGCONT))
                assert driver.latest(position) == position
                assert lost <= set(listing.result()["missing"])
        finally:
            os.kill(server.pid, signal.SIGCONT)
    admin.close()


def _list_streams(admin: Admin) -> dict[str, list[str]]:
    answer = admin.run(admin.client.request("$JS.API.STREAM.LIST", b"", timeout=10))
    listed: dict[str, list[str]] = json.loads(answer.data)
    return listed


def _publish(admin: Admin) -> bool:
    try:
        return admin.publish("S.a", b"new") > 0
    except Exception:  # no leader yet
        return False


def _news(driver: Driver, start: dict[str, object]) -> dict[str, object] | None:
    end = driver.latest(start)
    return end if end != start else None

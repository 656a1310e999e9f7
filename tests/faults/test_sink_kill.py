"""kill -9 of drivers and workers that write, and the messages that stand in the end."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from ..integration.test_sink_rows import make_stream
from .test_kill import offsets_logged, victim

COUNT = 100_000
KILLS = 3

#: The server's minimum: a replay after a restart of Spark is always past it.
SHORTEST = 100_000_000


def prepared(admin: Admin, stream: str) -> str:
    """A source with numbered messages, and the stream that a query copies them to."""
    target = f"{stream}copy"
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    make_stream(admin, target, duplicate_window=SHORTEST, allow_batched=random.random() < 0.5)
    return target


def copies(admin: Admin, target: str) -> Counter[int]:
    """How often each numbered message stands in the target."""
    return Counter(int(m.payload.rstrip(b".")) for m in admin.read_all(target))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["exactly-once", "at-least-once"])
def test_a_driver_that_is_killed_between_its_first_publish_and_sparks_commit(
    nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path, mode: str
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    target = prepared(admin, stream)
    arguments = ("sink_victim", nats_server.url, stream, target, str(tmp_path), mode)
    for _ in range(KILLS):
        known = admin.info(target).state.last_seq
        with victim(tmp_path, *arguments, "on") as process:
            wait_until(
                lambda known=known, process=process: (
                    admin.info(target).state.last_seq > known or process.poll() is not None
                ),
                seconds=90,
                every=0.002,
            )
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            time.sleep(chance.uniform(0.0, 0.2))  # the random moment of a batch
    assert offsets_logged(tmp_path) < COUNT // 10_000 - 1, "it finished before it was killed"
    with victim(tmp_path, *arguments, "now") as process:
        assert process.wait(180) == 0, (tmp_path / "log").read_text()[-3000:]
    found = copies(admin, target)
    assert sorted(found) == list(range(COUNT))
    if mode == "exactly-once":
        assert set(found.values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["exactly-once", "at-least-once"])
def test_workers_that_are_killed_in_the_midst_of_a_task(
    nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path, mode: str
) -> None:
    target = prepared(admin, stream)
    arguments = ("sink_victim", nats_server.url, stream, target, str(tmp_path), mode)
    killed = 0
    with victim(tmp_path, *arguments, "now") as process:
        while process.poll() is None and killed < KILLS:
            known = admin.info(target).state.last_seq
            wait_until(
                lambda known=known: (
                    admin.info(target).state.last_seq > known or process.poll() is not None
                ),
                seconds=90,
                every=0.001,
            )
            killed += kill_a_writer(process.pid, nats_server.port)
        assert process.wait(180) == 0, (tmp_path / "log").read_text()[-3000:]
    assert killed == KILLS
    found = copies(admin, target)
    assert sorted(found) == list(range(COUNT))
    if mode == "exactly-once":
        assert set(found.values()) == {1}


def kill_a_writer(driver: int, port: int) -> int:
    """Kill one of the workers of a driver that are connected to the server; how many died."""
    try:
        daemons = [
            each
            for each in psutil.Process(driver).children(recursive=True)
            if "pyspark.daemon" in " ".join(each.cmdline()) and each.children()
        ]
        workers = [worker for daemon in daemons for worker in daemon.children()]
        connected = [
            worker
            for worker in workers
            if any(c.raddr and c.raddr.port == port for c in worker.net_connections("tcp"))
        ]
        if connected:
            random.choice(connected).kill()
            return 1
    except psutil.NoSuchProcess:
        pass
    return 0

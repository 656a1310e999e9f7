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
from .._support.sink_victim import MODES
from .._support.writing import make_stream
from .test_kill import offsets_logged, victim

COUNT = 100_000
KILLS = 2

#: The server's minimum: a replay after a restart of Spark is always past it.
SHORTEST = 100_000_000


def prepared(admin: Admin, stream: str) -> None:
    """A source with numbered messages, and the streams that the queries copy them to."""
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    for mode in MODES:
        fast = random.random() < 0.5
        make_stream(admin, f"{stream}-{mode}", duplicate_window=SHORTEST, allow_batched=fast)


def written(admin: Admin, stream: str) -> int:
    """How many messages the queries have stored."""
    return sum(admin.info(f"{stream}-{mode}").state.last_seq for mode in MODES)


def check(admin: Admin, stream: str) -> None:
    for mode in MODES:
        copies = admin.read_all(f"{stream}-{mode}")
        found = Counter(int(message.payload.rstrip(b".")) for message in copies)
        assert sorted(found) == list(range(COUNT)), mode
        if mode == "exactly-once":
            assert set(found.values()) == {1}


@pytest.mark.slow
def test_a_driver_that_is_killed_between_its_first_publish_and_sparks_commit(
    nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    prepared(admin, stream)
    arguments = ("sink_victim", nats_server.url, stream, stream, str(tmp_path))
    for _ in range(KILLS):
        known = written(admin, stream)
        with victim(tmp_path, *arguments, "on") as process:
            wait_until(
                lambda known=known, process=process: (
                    written(admin, stream) > known or process.poll() is not None
                ),
                seconds=200,
                every=0.02,
            )
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            time.sleep(chance.uniform(0.0, 0.3))  # the random moment of a batch
    for mode in MODES:
        logged = offsets_logged(tmp_path / mode)
        assert logged < COUNT // 10_000 - 1, "it finished before it was killed"
    with victim(tmp_path, *arguments, "now") as process:
        assert process.wait(300) == 0, (tmp_path / "log").read_text()[-3000:]
    check(admin, stream)


@pytest.mark.slow
def test_workers_that_are_killed_in_the_midst_of_a_task(
    nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    prepared(admin, stream)
    killed = 0
    arguments = ("sink_victim", nats_server.url, stream, stream, str(tmp_path), "now")
    with victim(tmp_path, *arguments) as process:
        while process.poll() is None and killed < KILLS:
            known = written(admin, stream)
            wait_until(
                lambda known=known: written(admin, stream) > known or process.poll() is not None,
                seconds=200,
                every=0.01,
            )
            killed += kill_a_writer(process.pid, nats_server.port)
        assert process.wait(300) == 0, (tmp_path / "log").read_text()[-3000:]
    assert killed == KILLS
    check(admin, stream)


def kill_a_writer(driver: int, port: int) -> int:
    """Kill one of a driver's workers that are connected to the server; how many died."""
    try:
        below = psutil.Process(driver).children(recursive=True)
    except psutil.NoSuchProcess:
        return 0
    workers = [each for each in below if writes(each, port)]
    if not workers:
        return 0
    random.choice(workers).kill()
    return 1


def writes(process: psutil.Process, port: int) -> bool:
    """Whether the process is a worker of Spark that is connected to the server."""
    try:
        parent = process.parent()
        return (
            parent is not None
            and "pyspark.daemon" in parent.cmdline()
            and any(c.raddr and c.raddr.port == port for c in process.net_connections("tcp"))
        )
    except psutil.Error:  # it has ended meanwhile
        return False

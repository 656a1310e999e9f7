"""kill -9 of drivers and of workers, and what is in tables, streams and consumers in the end.

One driver runs a query of each flavor and one of each sink mode that does not lose messages, and
every kill hits all of them: each is somewhere in a batch of its own.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from nats.js.api import RetentionPolicy
from nats.js.errors import NotFoundError
from pyspark.sql import SparkSession

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.consuming import consumer, is_settled
from .._support.victim import BATCH, COPYING
from .._support.writing import make_stream

ROOT = Path(__file__).resolve().parents[2]
FLAVORS = ("v2", "balanced", "partitioned")
#: More batches than all kills together can let pass.
COUNT = {"v2": 33_000, "balanced": 120_000, "partitioned": 33_000, "source": 80_000}
KEYS = 12
STREAMS = 3

#: The server's minimum: a replay after a restart of Spark is always past it.
SHORTEST = 100_000_000

pytestmark = pytest.mark.slow


@contextmanager
def victim(
    url: str, prefix: str, folder: Path, until: str, *names: str, via: str = "auto"
) -> Iterator[subprocess.Popen[bytes]]:
    """A driver in a process group of its own, so that its JVM and workers die with it."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests._support.victim", url, prefix, folder, until, *names],
            cwd=ROOT,
            env={**os.environ, "NATS_READ_VIA": via},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


class Progress:
    """How far the queries of a driver are, as it can be seen from outside."""

    def __init__(self, admin: Admin, prefix: str, folder: Path) -> None:
        self._admin = admin
        self._prefix = prefix
        self._folder = folder
        self.look()

    def look(self) -> None:
        """From here on, batches count as new."""
        self._known = {name: self.logged(name) for name in FLAVORS}
        self._committed = self._balanced_commits()
        self._stored = {mode: self.stored(mode) for mode in COPYING}

    def logged(self, name: str) -> int:
        """The number of the last batch whose offset is in the checkpoint; -1 without one."""
        return newest(self._folder / name / "checkpoint" / "offsets")

    def stored(self, mode: str) -> int:
        """How many messages the copying query has stored."""
        return self._admin.info(f"{self._prefix}-{mode}").state.last_seq

    def all_in_new_batches(self) -> bool:
        """Each query has begun a batch, each copying one has published."""
        return all(self.logged(name) > known for name, known in self._known.items()) and all(
            self.stored(mode) > known for mode, known in self._stored.items()
        )

    def pulled(self) -> bool:
        """Messages are pulled that stand in no logged offset."""
        try:
            pending = consumer(self._admin, f"{self._prefix}-balanced").num_ack_pending
        except NotFoundError:
            return False
        return bool(pending) and self.logged("balanced") == self._balanced_commits()

    def running(self) -> bool:
        """The last logged batch is not committed."""
        return self.logged("balanced") > self._balanced_commits()

    def committed(self) -> bool:
        """Spark has committed a batch that was not committed before."""
        return self._balanced_commits() > self._committed

    def unfinished(self) -> list[str]:
        """The queries that have not reached the ends of their streams."""
        last = {name: COUNT[name] // BATCH[name] - 1 for name in FLAVORS}
        return [name for name in FLAVORS if self.logged(name) < last[name]] + [
            mode for mode in COPYING if self.stored(mode) < COUNT["source"]
        ]

    def _balanced_commits(self) -> int:
        return newest(self._folder / "balanced" / "checkpoint" / "commits")


def newest(log: Path) -> int:
    return max((int(each.name) for each in log.glob("[0-9]*")), default=-1)


def prepare_copies(admin: Admin, prefix: str) -> None:
    """A source with numbered messages, and the streams that the queries copy them to."""
    admin.create_stream(f"{prefix}-source")
    admin.fill(f"{prefix}-source", COUNT["source"])
    for mode in COPYING:
        fast = random.random() < 0.5
        make_stream(admin, f"{prefix}-{mode}", duplicate_window=SHORTEST, allow_batched=fast)


def prepare(admin: Admin, prefix: str) -> None:
    admin.create_stream(f"{prefix}-v2")
    admin.fill(f"{prefix}-v2", COUNT["v2"])
    # A work queue: nothing comes back that was acknowledged too early.
    admin.create_stream(f"{prefix}-balanced", retention=RetentionPolicy.WORK_QUEUE)
    admin.fill(f"{prefix}-balanced", COUNT["balanced"])
    for i in range(STREAMS):
        admin.create_stream(f"{prefix}-partitioned-{i}")
    admin.publish_many(
        (f"{prefix}-partitioned-{key % STREAMS}.{key}", str(i // KEYS).encode())
        for i in range(COUNT["partitioned"])
        for key in [i % KEYS]
    )
    prepare_copies(admin, prefix)


@pytest.fixture(scope="module")
def killed(
    nats_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Admin, str, Path]]:
    """Streams, and what the queries made of them in three drivers that were killed and a last."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("killed")
    prefix = f"S{uuid.uuid4().hex[:12]}"
    admin = Admin(nats_server.url)
    prepare(admin, prefix)
    progress = Progress(admin, prefix, folder)

    def run_until(moment: Callable[[], bool], via: str) -> None:
        arguments = (nats_server.url, prefix, folder, "on", *FLAVORS, *COPYING)
        with victim(*arguments, via=via) as process:
            for condition in (progress.all_in_new_batches, moment):
                progress.look()  # a moment is one of a batch that comes after all have begun
                wait_until(
                    lambda condition=condition: process.poll() is not None or condition(),
                    seconds=300,  # beside other tests, a batch takes a multiple of its time
                    every=0.01,
                )
            assert process.poll() is None, (folder / "log").read_text()[-3000:]

    def running() -> bool:
        if not progress.running():
            return False
        time.sleep(chance.uniform(0.0, 1.0))  # a random moment of this batch, or of the next
        return True

    moments = [progress.pulled, running, progress.committed]
    ways = ["direct", "consumer", "auto"]
    for moment, via in zip(moments, chance.sample(ways, k=3), strict=True):
        run_until(moment, via)
        assert len(progress.unfinished()) == len(BATCH), "a query finished before it was killed"
    with victim(nats_server.url, prefix, folder, "now", *FLAVORS, *COPYING) as process:
        assert process.wait(300) == 0, (folder / "log").read_text()[-3000:]
    yield admin, prefix, folder
    admin.close()


def test_every_message_is_in_the_table_once_however_often_the_driver_is_killed(
    spark: SparkSession, killed: tuple[Admin, str, Path]
) -> None:
    _, _, folder = killed
    check_table(spark, folder, "v2")


def test_every_message_is_in_the_table_once_and_acknowledged_however_the_driver_is_killed(
    spark: SparkSession, killed: tuple[Admin, str, Path]
) -> None:
    admin, prefix, folder = killed
    check_table(spark, folder, "balanced")
    assert is_settled(admin, f"{prefix}-balanced")
    assert admin.info(f"{prefix}-balanced").state.messages == 0


def test_a_key_keeps_its_order_and_its_task_however_often_the_driver_is_killed(
    spark: SparkSession, killed: tuple[Admin, str, Path]
) -> None:
    _, prefix, folder = killed
    table = spark.read.parquet(str(folder / "partitioned" / "rows"))
    by_key: dict[str, list[int]] = {}
    for row in table.orderBy("batch", "row").collect():
        assert row.stream == f"{prefix}-partitioned-{row.partition}"
        by_key.setdefault(row.subject, []).append(int(row.content))
    assert len(by_key) == KEYS
    assert all(seen == list(range(COUNT["partitioned"] // KEYS)) for seen in by_key.values())


def test_a_driver_that_is_killed_between_its_first_publish_and_sparks_commit(
    killed: tuple[Admin, str, Path],
) -> None:
    admin, prefix, _ = killed
    check_copies(admin, prefix)


def check_table(spark: SparkSession, folder: Path, name: str) -> None:
    rows = spark.read.parquet(str(folder / name / "rows")).collect()
    assert sorted(row.streamSeq for row in rows) == list(range(1, COUNT[name] + 1))
    assert all(int(bytes(r.content).rstrip(b".")) == r.streamSeq - 1 for r in rows)


def check_copies(admin: Admin, prefix: str) -> None:
    for mode in COPYING:
        copies = admin.read_all(f"{prefix}-{mode}")
        found = Counter(int(message.payload.rstrip(b".")) for message in copies)
        assert sorted(found) == list(range(COUNT["source"])), mode
        if mode == "exactly-once":
            assert set(found.values()) == {1}


def test_workers_that_are_killed_in_the_midst_of_a_task(
    nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    prepare_copies(admin, stream)
    wanted = 2
    killed = 0

    def written() -> int:
        return sum(admin.info(f"{stream}-{mode}").state.last_seq for mode in COPYING)

    with victim(nats_server.url, stream, tmp_path, "now", *COPYING) as process:
        while process.poll() is None and killed < wanted:
            known = written()
            wait_until(
                lambda known=known: written() > known or process.poll() is not None,
                seconds=200,
                every=0.01,
            )
            killed += kill_a_writer(process.pid, nats_server.port)
        assert process.wait(300) == 0, (tmp_path / "log").read_text()[-3000:]
    assert killed == wanted
    check_copies(admin, stream)


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

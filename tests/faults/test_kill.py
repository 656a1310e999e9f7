"""kill -9 of the driver at random moments, and the rows that are there in the end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until

ROOT = Path(__file__).resolve().parents[2]
COUNT = 36_000
KILLS = 2


@contextmanager
def victim(folder: Path, module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A driver in a process group of its own, so that its JVM and workers die with it."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"tests._support.{module}", *arguments],
            cwd=ROOT,
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


def kill_at(moment: Callable[[], bool], folder: Path, module: str, *arguments: str) -> None:
    """Start a driver and kill it as soon as ``moment`` is true; it must not have ended by then."""
    with victim(folder, module, *arguments) as process:
        wait_until(
            lambda: process.poll() is not None or moment(),
            seconds=300,  # beside other tests, a batch takes a multiple of its time
            every=0.01,
        )
        assert process.poll() is None, (folder / "log").read_text()[-3000:]


def offsets_logged(checkpoint: Path) -> int:
    """The number of the last batch whose offset is in the checkpoint; -1 without one."""
    logged = (checkpoint / "offsets").glob("[0-9]*")
    return max((int(each.name) for each in logged), default=-1)


@pytest.mark.slow
def test_every_message_is_in_the_table_once_however_often_the_driver_is_killed(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    for _ in range(KILLS):
        known = offsets_logged(tmp_path / "checkpoint")

        def in_a_new_batch(known: int = known) -> bool:
            if offsets_logged(tmp_path / "checkpoint") <= known:
                return False
            time.sleep(chance.uniform(0.0, 1.2))  # the random moment of a batch
            return True

        via = chance.choice(["direct", "consumer"])
        kill_at(in_a_new_batch, tmp_path, "victim", nats_server.url, stream, str(tmp_path), via)
    assert offsets_logged(tmp_path / "checkpoint") < COUNT // 3000 - 1, (
        "it finished before it was killed"
    )
    last = ("victim", nats_server.url, stream, str(tmp_path), "auto", "now")
    with victim(tmp_path, *last) as process:
        assert process.wait(300) == 0, (tmp_path / "log").read_text()[-3000:]
    rows = spark.read.parquet(str(tmp_path / "rows")).collect()
    assert sorted(row.streamSeq for row in rows) == list(range(1, COUNT + 1))
    assert all(int(bytes(r.content).rstrip(b".")) == r.streamSeq - 1 for r in rows)

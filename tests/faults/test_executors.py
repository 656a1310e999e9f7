"""Executors that are killed or decommissioned, and tasks that speculation runs twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.consuming import is_settled
from .test_kill import COUNT, ROOT, check_table, prepare

EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"

pytestmark = [pytest.mark.slow, pytest.mark.limits]  # five JVMs


def executors(driver: int) -> list[psutil.Process]:
    """The executors of a driver."""
    found = []
    for each in psutil.Process(driver).children(recursive=True):
        try:
            if EXECUTOR in each.cmdline():
                found.append(each)
        except psutil.Error:  # it has ended meanwhile
            continue
    return found


def test_every_message_is_read_and_written_once_whatever_happens_to_executors(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    prepare(admin, stream)
    log = tmp_path / "log"
    with log.open("wb") as output:
        driver = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests._support.executor_victim",
                nats_server.url,
                stream,
                tmp_path,
            ],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def written() -> int:
        return admin.info(f"{stream}-exactly-once").state.last_seq

    def wait_for_writes() -> None:
        known = written()
        wait_until(lambda: written() > known or driver.poll() is not None, seconds=240, every=0.01)
        assert driver.poll() is None, log.read_text()[-3000:]

    try:
        for number in (signal.SIGKILL, signal.SIGPWR, signal.SIGKILL):  # SIGPWR decommissions
            wait_for_writes()
            wait_until(lambda: executors(driver.pid))[0].send_signal(number)
        assert driver.wait(400) == 0, log.read_text()[-3000:]
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
    check_table(spark, tmp_path, "v2")
    check_table(spark, tmp_path, "balanced")
    assert is_settled(admin, f"{stream}-balanced")
    copies = Counter(int(e.payload.rstrip(b".")) for e in admin.read_all(f"{stream}-exactly-once"))
    assert sorted(copies) == list(range(COUNT["source"]))
    assert set(copies.values()) == {1}

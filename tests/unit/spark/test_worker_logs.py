"""The log lines of an outage, and the log format in Spark's Python workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from nats_spark_common.connection import outage
from nats_spark_common.connection.outage import Outage


def test_an_outage_is_told_at_its_beginning_as_it_lasts_and_at_its_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(outage.time, "monotonic", lambda: now[0])
    told = Outage("job")
    told.over("nats://a")
    for _ in range(4 * 70):
        told.failed("refused")
        now[0] += 0.25
    told.over("nats://a")
    told.over("nats://a")
    told.failed("refused again")
    assert [each.getMessage() for each in caplog.records] == [
        "job: the NATS server is unavailable: refused",
        "job: the NATS server has been unavailable for 30 s: refused",
        "job: the NATS server has been unavailable for 60 s: refused",
        "job: reconnected to nats://a after 70.0 s",
        "job: the NATS server is unavailable: refused again",
    ]


WARNS = "import logging, nats_spark_common; {}logging.getLogger('nats_spark_common.x').warning('w')"


@pytest.mark.parametrize(
    ("worker", "before", "expected"),
    [
        (True, "", r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d WARNING nats_spark_common\.x: w\n"),
        (True, "logging.getLogger().setLevel('ERROR'); ", ""),
        (False, "", r"w\n"),
    ],
)
def test_workers_of_spark_log_with_level_and_name(worker: bool, before: str, expected: str) -> None:
    environment = dict(os.environ)
    environment.pop("SPARK_PYTHON_RUNTIME", None)
    if worker:
        environment["SPARK_PYTHON_RUNTIME"] = "PYTHON_WORKER"
    said = subprocess.run(
        [sys.executable, "-c", WARNS.format(before)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert re.fullmatch(expected, said), said

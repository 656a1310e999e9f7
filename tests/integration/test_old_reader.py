"""A streaming read by the calls of Spark 4.0 and 4.1, which pass no position.

`test_old_spark` runs those versions. Here the order of their calls is that of its engine.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from nats_spark_common import UnsupportedSparkError
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.spark.old_reader import OldReader

from .._support.admin import Admin
from .._support.reading import ALWAYS, Driver

Json = dict[str, Any]


class Engine:
    """One run of a query, from a checkpoint that earlier runs share."""

    def __init__(self, options: dict[str, str], log: list[Json], committed: int) -> None:
        """``log`` has the ends of all batches, of which the first ``committed`` are committed."""
        self._driver = Driver(options)
        self._log = log
        self.reader = OldReader(self._driver.reader)
        if log:
            self._plan(log[-1], log[-1])
        for batch in range(committed, len(log)):
            self.run(batch)

    def next(self) -> list[int] | None:
        """Plan and run a batch; None if there is none."""
        if not self.log_next():
            return None
        return self.run(len(self._log) - 1)

    def log_next(self) -> bool:
        end = as_logged(self.reader.latestOffset())
        if self._log and end == self._log[-1]:
            return False
        self._log.append(end)
        return True

    def run(self, batch: int) -> list[int]:
        start = self._log[batch - 1] if batch else as_logged(self.reader.initialOffset())
        return self._plan(start, self._log[batch])

    def _plan(self, start: Json, end: Json) -> list[int]:
        return [
            row["streamSeq"]
            for partition in self.reader.partitions(start, end)
            for batch in self.reader.read(partition)
            for row in batch.to_pylist()
        ]


def as_logged(offset: Json) -> Json:
    logged: Json = json.loads(json.dumps(offset))
    return logged


@pytest.fixture
def options(nats_server: EmbeddedServer, admin: Admin, stream: str) -> dict[str, str]:
    """Options of a query with a limit of 10, on a stream with messages 1 to 25."""
    admin.create_stream(stream)
    admin.fill(stream, 25)
    return {
        "nats.url": nats_server.url,
        "nats.stream.name": stream,
        "nats.poll.interval": ALWAYS,
        "nats.max.messages.per.trigger": "10",
    }


def seqs(first: int, last: int) -> list[int]:
    return list(range(first, last + 1))


def test_each_batch_continues_after_the_one_before_within_the_limit(
    options: dict[str, str],
) -> None:
    engine = Engine(options, [], 0)
    batches = [engine.next() for _ in range(4)]
    assert batches == [seqs(1, 10), seqs(11, 20), seqs(21, 25), None]


def test_a_clean_restart_continues_within_the_limit(options: dict[str, str]) -> None:
    log: list[Json] = []
    Engine(options, log, 0).next()
    assert Engine(options, log, 1).next() == seqs(11, 20)


def test_a_logged_batch_is_read_again_and_the_next_one_follows_it(options: dict[str, str]) -> None:
    log: list[Json] = []
    crashed = Engine(options, log, 0)
    assert crashed.next() == seqs(1, 10)
    assert crashed.log_next()
    again = Engine(options, log, 1)
    assert again.run(1) == seqs(11, 20)
    assert again.next() == seqs(21, 25)


def test_a_first_batch_from_latest_is_the_same_after_a_restart(
    options: dict[str, str], admin: Admin, stream: str
) -> None:
    options = {**options, "nats.start": "latest"}
    log: list[Json] = []
    crashed = Engine(options, log, 0)
    assert crashed.next() == []  # Spark begins a query with an empty batch
    admin.fill(stream, 5)
    assert crashed.log_next()
    admin.fill(stream, 5)
    again = Engine(options, log, 1)
    assert again.run(1) == seqs(26, 30)
    assert again.next() == seqs(31, 35)


def test_a_stream_that_joins_is_read_from_its_first_message(
    options: dict[str, str], admin: Admin, stream: str, discovers_at_once: None
) -> None:
    del options["nats.stream.name"]
    options = {**options, "nats.stream.pattern": f"{stream}*"}
    log: list[Json] = []
    engine = Engine(options, log, 0)
    for _ in range(3):
        engine.next()
    admin.create_stream(f"{stream}-b")
    admin.fill(f"{stream}-b", 5)
    assert engine.next() == seqs(1, 5)
    assert Engine(options, log, 3).run(3) == seqs(1, 5)


def test_a_batch_that_no_sink_reads_is_passed_over(options: dict[str, str]) -> None:
    engine = Engine(options, [], 0)
    engine.next()
    assert engine.log_next()  # a foreachBatch that does not look at its rows
    assert engine.next() == seqs(21, 25)


def test_an_end_that_is_fixed_before_the_position_is_restored_is_rejected(
    options: dict[str, str],
) -> None:
    log: list[Json] = []
    Engine(options, log, 0).next()
    with Driver(options) as driver:
        wrapped = OldReader(driver.reader)
        wrapped.latestOffset()
        with pytest.raises(UnsupportedSparkError, match=r"triggerAvailableNowWrapper\.enabled"):
            wrapped.partitions(log[-1], log[-1])


def test_so_is_it_in_a_query_without_a_checkpoint(options: dict[str, str]) -> None:
    with Driver(options) as driver:
        wrapped = OldReader(driver.reader)
        fixed = as_logged(wrapped.latestOffset())
        start = as_logged(wrapped.initialOffset())
        wrapped.latestOffset()  # for the progress
        with pytest.raises(UnsupportedSparkError, match=r"triggerAvailableNowWrapper\.enabled"):
            wrapped.partitions(start, fixed)


def test_a_start_that_is_not_the_end_of_the_batch_before_is_rejected(
    options: dict[str, str],
) -> None:
    engine = Engine(options, [], 0)
    engine.next()
    skipped = as_logged(engine.reader.latestOffset())
    end = as_logged(engine.reader.latestOffset())
    assert engine.reader.partitions(skipped, end)
    with pytest.raises(UnsupportedSparkError, match="fixed the end of a batch"):
        engine.reader.partitions(as_logged(engine.reader.initialOffset()), end)

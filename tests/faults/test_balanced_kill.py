"""kill -9 of a balanced query's driver, and what is in the table and in the consumer in the end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.js.api import RetentionPolicy
from nats.js.errors import NotFoundError
from pyspark.sql import SparkSession

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin
from .._support.consuming import consumer, is_settled
from .test_kill import kill_at, offsets_logged

COUNT = 14_000  # seven batches: three end in a kill


class Moments:
    """The moments of a batch, as they can be seen from outside."""

    def __init__(self, admin: Admin, stream: str, checkpoint: Path) -> None:
        self._admin = admin
        self._stream = stream
        self._checkpoint = checkpoint

    def pulled(self) -> bool:
        """Messages are pulled that stand in no logged offset."""
        try:
            pending = consumer(self._admin, self._stream).num_ack_pending
        except NotFoundError:
            return False
        return bool(pending) and offsets_logged(self._checkpoint) == self._committed()

    def running(self) -> bool:
        """The last logged batch is not committed."""
        return offsets_logged(self._checkpoint) > self._committed()

    def committed(self) -> bool:
        """Spark has committed a batch that was not committed before."""
        return self._committed() > self._known

    def look(self) -> None:
        self._known = self._committed()

    def _committed(self) -> int:
        logged = (self._checkpoint / "commits").glob("[0-9]*")
        return max((int(each.name) for each in logged), default=-1)


@pytest.mark.slow
def test_every_message_is_in_the_table_once_and_acknowledged_however_the_driver_is_killed(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    """A work queue: nothing comes back that was acknowledged too early."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    admin.create_stream(stream, retention=RetentionPolicy.WORK_QUEUE)
    admin.fill(stream, COUNT)
    moments = Moments(admin, stream, tmp_path / "checkpoint")

    def run_until(moment: Callable[[], bool]) -> None:
        kill_at(moment, tmp_path, "balanced_victim", nats_server.url, stream, str(tmp_path))

    def running() -> bool:
        if not moments.running():
            return False
        time.sleep(chance.uniform(0.0, 1.0))  # a random moment of this batch, or of the next
        return True

    for moment in (moments.pulled, running, moments.committed):
        moments.look()
        run_until(moment)
        assert not is_settled(admin, stream), "it finished before it was killed"
    run_until(lambda: is_settled(admin, stream))
    rows = spark.read.parquet(str(tmp_path / "rows")).collect()
    assert sorted(row.streamSeq for row in rows) == list(range(1, COUNT + 1))
    assert all(int(bytes(r.content).rstrip(b".")) == r.streamSeq - 1 for r in rows)
    assert admin.info(stream).state.messages == 0

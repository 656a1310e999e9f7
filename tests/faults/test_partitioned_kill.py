"""kill -9 of a partitioned query's driver: the order within each key holds over all its runs."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin
from .test_kill import kill_at, offsets_logged, victim

COUNT = 36_000
KEYS = 12
STREAMS = 3
KILLS = 2


@pytest.mark.slow
def test_a_key_keeps_its_order_and_its_task_however_often_the_driver_is_killed(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for i in range(STREAMS):
        admin.create_stream(f"{stream}-{i}")
    admin.publish_many(
        (f"{stream}-{key % STREAMS}.{key}", str(i // KEYS).encode())
        for i in range(COUNT)
        for key in [i % KEYS]
    )
    arguments = ("partitioned_victim", nats_server.url, stream, str(tmp_path))
    checkpoint = tmp_path / "checkpoint"
    for _ in range(KILLS):
        known = offsets_logged(checkpoint)

        def in_a_new_batch(known: int = known) -> bool:
            if offsets_logged(checkpoint) <= known:
                return False
            time.sleep(chance.uniform(0.0, 1.2))  # the random moment of a batch
            return True

        kill_at(in_a_new_batch, tmp_path, *arguments, "on")
    assert offsets_logged(checkpoint) < COUNT // 3000 - 1, "it finished before it was killed"
    with victim(tmp_path, *arguments, "now") as process:
        assert process.wait(300) == 0, (tmp_path / "log").read_text()[-3000:]

    rows = spark.read.parquet(str(tmp_path / "rows")).orderBy("batch", "row").collect()
    by_key: dict[str, list[int]] = {}
    for row in rows:
        assert row.stream == f"{stream}-{row.partition}"
        by_key.setdefault(row.subject, []).append(int(row.content))
    assert len(by_key) == KEYS
    assert all(seen == list(range(COUNT // KEYS)) for seen in by_key.values())

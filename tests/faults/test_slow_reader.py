"""A consumer of rows that is slower than the server's patience."""

from __future__ import annotations

import time

import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin
from .._support.reading import Driver

COUNT = 400
SIZE = 100_000


@pytest.mark.usefixtures("via")
def test_a_reader_that_the_server_cut_off_as_too_slow_loses_nothing() -> None:
    with EmbeddedServer('write_deadline: "100ms"\nmax_pending: 40MB') as server:
        admin = Admin(server.url)
        admin.create_stream("S")
        admin.fill("S", COUNT, size=SIZE)
        admin.close()
        options = {"nats.url": server.url, "nats.stream.name": "S", "nats.partitions": "1"}
        with Driver({**options, "nats.fetch.bytes": "32MiB"}) as driver:
            start = driver.initial()
            (partition,) = driver.reader.partitions(start, driver.everything(start))
            seqs: list[int] = []
            for batch in driver.reader.read(partition):
                seqs += batch.column("streamSeq").to_pylist()
                if len(seqs) < COUNT // 4:
                    time.sleep(0.4)  # as a slow sink does, longer than the server waits
        assert server.statistics()["slow_consumers"] > 0
        assert seqs == list(range(1, COUNT + 1))

"""Connections of a balanced query that carry nothing any more, or what no server sends."""

from __future__ import annotations

import threading

import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.consuming import consumer, follow, is_settled, start
from .._support.proxy import proxy
from .._support.reading import batch, drain, numbers
from .._support.relay import relay

COUNT = 150


def test_heartbeats_find_another_way_when_their_connection_falls_silent(
    nats_server: EmbeddedServer, admin: Admin, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    with (
        relay(nats_server.url) as between,
        start(between.url, stream, msg_ack_wait_secs="2", request_timeout="1s") as driver,
        start(nats_server.url, stream) as other,
    ):
        end, rows = batch(driver, driver.initial())
        assert numbers(rows) == list(range(1, COUNT + 1))
        wait_until(lambda: b"+WPI" in between.sent)  # the heartbeats have their connection
        between.stall()
        others = []
        over = threading.Event()
        timer = threading.Timer(7.0, over.set)  # three ack waits and more
        timer.start()
        first = other.initial()
        while not over.is_set():
            others += drain(other, first)
        assert numbers(others) == []
        assert consumer(admin, stream).num_redelivered == 0
        told = [each for each in caplog.records if "retrying now" in each.message]
        assert told, "the silence was noticed"
        driver.latest(end)
    assert is_settled(admin, stream)


def test_what_came_before_broken_bytes_is_not_lost(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    """The server takes it as delivered, and would not send it again before the ack wait."""
    count = 20_000  # one pull, in several blocks
    admin.create_stream(stream)
    admin.fill(stream, count)
    chunks: list[int] = []

    def tamper(data: bytes) -> bytes:
        chunks.append(data.count(b"$JS.ACK"))
        late = sum(chunks) > count * 3 // 4
        frame = data.find(b"HMSG ")
        if not late or chunks[0] < 0 or frame < 0:
            return data
        chunks[0] = -count  # once
        return data[:frame] + b"NONSENSE\r\n" + data[frame:]

    with (
        proxy(nats_server.url, tamper) as url,
        start(url, stream, msg_ack_wait_secs="2") as driver,
    ):
        rows = follow(driver, driver.initial(), count)
    assert chunks[0] < 0
    assert sorted(numbers(rows)) == list(range(1, count + 1))
    assert {row["delivered"] for row in rows} == {1, 2}

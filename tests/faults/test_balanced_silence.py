"""Connections of a balanced query that carry nothing any more, or what no server sends."""

from __future__ import annotations

import re
import threading

import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.consuming import consumer, durable, follow, is_settled, start
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
    sent = bytearray()
    broken = threading.Event()

    def tamper(data: bytes) -> bytes:
        frame = data.find(b"HMSG ", len(data) // 2)
        if broken.is_set():
            return data
        if len(sent) < 1_000_000 or frame < 0:
            sent.extend(data)
            return data
        broken.set()
        sent.extend(data[:frame])
        return data[:frame] + b"NONSENSE\r\n" + data[frame:]

    with (
        proxy(nats_server.url, tamper) as url,
        start(url, stream, msg_ack_wait_secs="2") as driver,
    ):
        rows = follow(driver, driver.initial(), count)
    assert broken.is_set()
    assert sorted(numbers(rows)) == list(range(1, count + 1))
    redelivered = {row["streamSeq"] for row in rows if row["delivered"] > 1}
    assert redelivered == set(range(1, count + 1)) - delivered_in(bytes(sent))


def test_what_came_before_broken_bytes_in_the_same_block_is_not_lost(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    durable(admin, stream, headers_only=True, max_deliver=1)  # nothing is delivered again

    def tamper(data: bytes) -> bytes:
        return data + b"NONSENSE\r\n" if delivered_in(data) else data

    with proxy(nats_server.url, tamper) as url, start(url, stream) as driver:
        assert numbers(batch(driver, driver.initial())[1]) == list(range(1, 11))


def delivered_in(data: bytes) -> set[int]:
    """Return the sequences of the messages that start in these bytes."""
    return {int(seq) for seq in re.findall(rb"HMSG \S+ \S+ \$JS\.ACK\.\S+?\.1\.(\d+)\.", data)}

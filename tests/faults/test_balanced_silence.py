"""Connections of a balanced query that carry nothing any more, or what no server sends."""

from __future__ import annotations

import logging
import re
import socket
import threading
from typing import Any

import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.consuming import consumer, durable, follow, is_settled, start
from .._support.proxy import proxy
from .._support.reading import Driver, batch, drain, numbers
from .._support.relay import relay

COUNT = 150


def received(other: Driver, seconds: float) -> list[int]:
    """Return what another member of the consumer receives within ``seconds``."""
    rows = []
    over = threading.Event()
    threading.Timer(seconds, over.set).start()
    first = other.initial()
    while not over.is_set():
        rows += drain(other, first)
    return numbers(rows)


def test_heartbeats_find_another_way_when_their_connection_falls_silent(
    nats_server: EmbeddedServer, admin: Admin, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    with (
        relay(nats_server.url) as between,
        start(between.url, stream, msg_ack_wait_secs="2", request_timeout="1s") as driver,
        start(nats_server.url, stream) as other,
    ):
        end, rows = batch(driver, driver.initial())
        assert numbers(rows) == list(range(1, COUNT + 1))
        wait_until(lambda: between.sent.count(b"+WPI") >= COUNT)  # over a connection of their own
        between.stall()
        assert received(other, 7.0) == []  # three ack waits and more
        assert consumer(admin, stream).num_redelivered == 0
        told = [each for each in caplog.records if "retrying now" in each.message]
        assert told, "the silence was noticed"
        driver.latest(end)
    assert is_settled(admin, stream)


def test_heartbeats_find_another_way_when_their_connection_takes_no_more_bytes(
    nats_server: EmbeddedServer, admin: Admin, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_connection = socket.create_connection

    def with_small_buffer(*arguments: Any, **more: Any) -> socket.socket:
        made = create_connection(*arguments, **more)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 15)
        return made

    monkeypatch.setattr(socket, "create_connection", with_small_buffer)
    count = 15_000  # their heartbeats exceed all buffers on the way
    admin.create_stream(stream)
    admin.fill(stream, count)
    short = {"msg_ack_wait_secs": "5", "pull_ahead": "false"}
    with (
        relay(nats_server.url, 1 << 15) as between,
        start(between.url, stream, **short) as driver,
        start(nats_server.url, stream) as other,
    ):
        end = driver.latest(driver.initial())
        wait_until(lambda: between.sent.count(b"+WPI") >= count)
        between.stall(reads=False)
        assert received(other, 9.0) == []
        assert consumer(admin, stream).num_redelivered == 0
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

"""Messages that the network loses, and replicas that lag: staged between a reader and a server."""

from __future__ import annotations

import re

import pytest
from nats.js.api import RetentionPolicy

from nats_spark_common import NatsSettings
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.planning.ranges import StreamRange
from nats_spark_common.reading.range_reader import read_range

from .._support.admin import Admin
from .._support.proxy import proxy
from .._support.reading import Driver, numbers

COUNT = 100


@pytest.fixture
def filled(admin: Admin, stream: str) -> str:
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    return stream


class _Once:
    """Does something to the first answers only, and says how often it did."""

    def __init__(self, change: object, times: int = 1) -> None:
        self._change = change
        self._left = times
        self.done = 0

    def __call__(self, answer: bytes) -> bytes:
        changed: bytes = self._change(answer)  # type: ignore[operator]
        if changed == answer or not self._left:
            return answer
        self._left -= 1
        self.done += 1
        return changed


def _without(seq: int) -> object:
    """Removes one message's frame from an answer."""

    def change(answer: bytes) -> bytes:
        frames = re.split(rb"(?=HMSG )", answer)
        return b"".join(f for f in frames if b"Nats-Sequence: %d\r\n" % seq not in f)

    return change


def _without_delivery(seq: int) -> object:
    """Removes one message of an ordered consumer."""

    def change(received: bytes) -> bytes:
        frames = re.split(rb"(?=MSG \S+ 1 \$JS\.ACK)", received)
        return b"".join(f for f in frames if not re.search(rb"\.1\.%d\.\d+\.\d+\." % seq, f))

    return change


def _nothing_found(answer: bytes) -> bytes:
    """What a replica answers that has none of the messages yet."""
    inbox = re.search(rb"HMSG (\S+) 1 ", answer)
    if inbox is None or b"Nats-Stream: " not in answer:
        return answer
    return b"HMSG %s 1 34 34\r\nNATS/1.0 404 Message Not Found\r\n\r\n\r\n" % inbox.group(1)


@pytest.mark.parametrize("seq", [1, 50, COUNT])
def test_a_message_lost_on_its_way_is_noticed_and_asked_for_again(
    nats_server: EmbeddedServer, filled: str, seq: int
) -> None:
    lose = _Once(_without(seq))
    with proxy(nats_server.url, lose) as url:
        options = {"nats.url": url, "nats.stream.name": filled}
        with Driver(options) as driver:
            start = driver.initial()
            assert numbers(driver.rows(start, driver.everything(start))) == list(
                range(1, COUNT + 1)
            )
    assert lose.done == 1


def test_a_message_that_a_consumer_lost_on_its_way_is_noticed(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream, allow_direct=False)
    admin.fill(stream, COUNT)
    lose = _Once(_without_delivery(50))
    with proxy(nats_server.url, lose) as url:
        options = {"nats.url": url, "nats.stream.name": stream}
        with Driver(options) as driver:
            start = driver.initial()
            assert numbers(driver.rows(start, driver.everything(start))) == list(
                range(1, COUNT + 1)
            )
    assert lose.done == 1


@pytest.mark.parametrize("times", [1, 2, 1_000])
def test_an_answer_of_a_lagging_replica_is_not_taken_for_deleted_messages(
    nats_server: EmbeddedServer, filled: str, times: int
) -> None:
    """A replica that stays behind is not waited for: the range is read through a consumer."""
    lag = _Once(_nothing_found, times)
    with proxy(nats_server.url, lag) as url:
        options = {"nats.url": url, "nats.stream.name": filled, "nats.partitions": "1"}
        with Driver(options) as driver:
            start = driver.initial()
            assert numbers(driver.rows(start, driver.everything(start))) == list(
                range(1, COUNT + 1)
            )
    assert lag.done == min(times, 2)


def test_a_work_queue_whose_direct_gets_are_not_answered_is_read_from_its_leader(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    """As if a replica hung: a work queue allows no second consumer either."""
    admin.create_stream(stream, retention=RetentionPolicy.WORK_QUEUE)
    admin.fill(stream, COUNT)
    created = admin.api(f"STREAM.INFO.{stream}")["created"]
    lost: list[bytes] = []

    def lose(answer: bytes) -> bytes:
        if b"Nats-Stream: " not in answer:
            return answer
        lost.append(answer)
        return b""

    with proxy(nats_server.url, lose) as url:
        given = {"nats.url": url, "nats.request.timeout": "1s", "nats.retry.count": "2"}
        settings = NatsSettings.from_options(given)
        span = StreamRange(stream, created, 1, COUNT)
        found = read_range(settings, span, frozenset())
        assert [seq for each in found for seq in each.seqs.tolist()] == list(range(1, COUNT + 1))
    assert len(lost) == 1

"""A server that lies: an error of the suite in bounded time and memory, and never a wrong row."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from nats_spark_common import NatsSettings
from nats_spark_common.connection import pool
from nats_spark_common.connection.connect import connect
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.errors import NatsSparkError
from nats_spark_common.jetstream.control import Control
from nats_spark_common.planning.ranges import StreamRange
from nats_spark_common.reading.range_reader import read_range
from nats_spark_common.rows.messages import MESSAGE_COLUMNS, Messages
from pyspark_nats_balanced.pull_connection import PullConnection
from pyspark_nats_balanced.read_messages import Source, read_messages

from .._support import consuming
from .._support.admin import Admin
from .._support.liar import Lie, liar
from .._support.options import options
from .._support.writing import make_stream, numbered, write

COUNT = 12
#: Seconds that a lie may take: a timeout of 0.4 s, and another for what follows.
SOON = 8.0
#: Bytes that a lie may take.
LITTLE = 192 << 20


@pytest.fixture(scope="module")
def told() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture(scope="module")
def filled(told: EmbeddedServer) -> str:
    """A stream whose messages begin with their sequence."""
    with closing(Admin(told.url)) as admin:
        make_stream(admin, "LIES", allow_batched=True, allow_atomic=True)
        admin.publish_many((f"LIES.{i}", b"%d." % i) for i in range(1, COUNT + 1))
    return "LIES"


@pytest.fixture(autouse=True)
def no_idle_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is honest must not be taken for one that lies."""
    monkeypatch.setattr(pool, "idle", pool.IdleConnections())


def impatient(url: str, **more: str) -> dict[str, str]:
    short = {"request_timeout": "300ms", "connect_timeout": "500ms", "retry_count": "0"}
    return options(url, **{**short, **more})


# What is read, written and asked for.


def check_rows(parts: Iterable[Messages], complete: bool = True) -> None:
    """Check that each row has the contents of its sequence, and that rows ascend."""
    seqs: list[int] = []
    for part in parts:
        for seq, content in zip(
            part.seqs.tolist(), part.columns["content"].to_pylist(), strict=True
        ):
            assert content == b"%d." % seq
            seqs.append(seq)
    assert seqs == sorted(set(seqs))
    if complete:
        assert seqs == list(range(1, COUNT + 1))


def reads(consumer_from: int, direct: bool = True) -> Callable[[str, str], None]:
    def read(url: str, stream: str) -> None:
        created = CREATED[stream]
        span = StreamRange(stream, created, 1, COUNT, (), direct, consumer_from)
        check_rows(read_range(NatsSettings.from_options(impatient(url)), span, MESSAGE_COLUMNS))

    return read


def reads_singly(url: str, stream: str) -> None:
    source = Source(stream, CREATED[stream], True, False, 1 << 62)
    seqs = np.arange(1, COUNT + 1)
    settings = NatsSettings.from_options(impatient(url))
    check_rows(read_messages(settings, source, seqs, MESSAGE_COLUMNS))


def pulls(url: str, stream: str) -> None:
    settings = NatsSettings.from_options(impatient(url))
    with closing(PullConnection(settings, stream, "puller")) as connection:
        found = connection.pull(COUNT, 1 << 20)
        assert set(found.deliveries.seqs.tolist()) <= set(range(1, COUNT + 1))
        connection.acknowledge(found.ack_prefix, found.deliveries)


def writes(**more: str) -> Callable[[str, str], None]:
    def write_all(url: str, stream: str) -> None:
        target = f"T{time.monotonic_ns()}"
        honest = HONEST[0]
        with closing(Admin(honest)) as admin:
            fast = more.get("fast") == "yes"
            make_stream(admin, target, allow_batched=fast, allow_atomic="sink_atomic" in more)
            named = {name: value for name, value in more.items() if name != "fast"}
            rows = numbered(target, COUNT)
            try:
                write(impatient(url, **named), rows)
                stored = {
                    admin.run(admin.js.get_msg(target, seq)).data
                    for seq in range(1, admin.info(target).state.last_seq + 1)
                }
                assert stored >= {row["content"] for row in rows}
            finally:
                admin.delete_stream(target)

    return write_all


def asks(url: str, stream: str) -> None:
    with Control(NatsSettings.from_options(impatient(url))) as control:
        info = control.stream_info(stream)
        assert (info.name, info.last_seq) == (stream, COUNT)
        assert stream in control.stream_names()
        assert control.sequence_at(info, 0) >= 0


WORK: dict[str, Callable[[str, str], None]] = {
    "direct": reads(1 << 62),
    "consumer": reads(0),
    "single": reads_singly,
    "pull": pulls,
    "publish": writes(),
    "fast": writes(fast="yes"),
    "atomic": writes(sink_atomic="true"),
    "control": asks,
}
CREATED: dict[str, str] = {}
HONEST: list[str] = []


@pytest.fixture
def stream_of(told: EmbeddedServer, filled: str) -> str:
    """The filled stream, with a consumer that has delivered nothing."""
    with closing(Admin(told.url)) as admin:
        CREATED[filled] = admin.api(f"STREAM.INFO.{filled}")["created"]
        HONEST[:] = [told.url]
        if "puller" in admin.consumers(filled):
            admin.run(admin.js.delete_consumer(filled, "puller"))
        consuming.durable(admin, filled, "puller")
    return filled


# Lies.


def is_reply(operation: bytes) -> bool:
    return operation.startswith((b"MSG ", b"HMSG "))


@dataclass(frozen=True)
class Replies:
    """Lies with each reply."""

    lie: Lie

    def __call__(self, operation: bytes) -> Iterable[bytes | None]:
        return self.lie(operation) if is_reply(operation) else [operation]


def resized(operation: bytes, size: int) -> bytes:
    line, end, rest = operation.partition(b"\r\n")
    return re.sub(rb"\d+$", b"%d" % size, line) + end + rest


def edited(operation: bytes, pattern: bytes, by: bytes) -> bytes:
    """Return the operation with other contents, and the sizes that fit them."""
    line, _, rest = operation.partition(b"\r\n")
    words = line.split(b" ")
    words[2:] = [re.sub(pattern, by, b" ".join(words[2:]))]
    line = b" ".join(words)
    words = line.split(b" ")
    header = int(words[-2]) if line.startswith(b"HMSG") else 0
    block, payload = (re.sub(pattern, by, part) for part in (rest[:header], rest[header:-2]))
    sizes = [b"%d" % len(block)] if header else []
    words[-1 - len(sizes) :] = [*sizes, b"%d" % len(block + payload)]
    return b" ".join(words) + b"\r\n" + block + payload + b"\r\n"


def edit(pattern: bytes, by: bytes) -> Replies:
    return Replies(lambda each: [edited(each, pattern, by)])


def endless(chunk: bytes, begin: bytes = b"") -> Iterator[bytes]:
    yield begin
    yield from itertools.repeat(chunk)


def slowly(chunk: bytes, begin: bytes = b"") -> Iterator[bytes]:
    for each in endless(chunk, begin):
        yield each
        time.sleep(0.02)


class Reversed:
    """Sends replies in pairs, the second first."""

    def __init__(self) -> None:
        self.held = b""

    def __call__(self, operation: bytes) -> Iterable[bytes]:
        if not is_reply(operation) or (
            b"Nats-Sequence" not in operation and b"$JS.ACK" not in operation
        ):
            return [operation]
        if not self.held:
            self.held = operation
            return []
        held, self.held = self.held, b""
        return [operation, held]


HUGE = b"1180591620717411303424"  # 2^70
REPLIES: dict[str, Callable[[], Lie]] = {
    "garbage": lambda: Replies(lambda _: [b"\x00\xff garbage\r\n" * 3]),
    "silence": lambda: Replies(lambda _: [None]),
    "half": lambda: Replies(lambda each: [each[: len(each) // 2], None]),
    "huge size": lambda: Replies(lambda each: [resized(each, 1 << 62), None]),
    "large size": lambda: Replies(lambda each: endless(b"\0" * 65536, resized(each, 1 << 30))),
    "negative size": lambda: Replies(
        lambda each: [resized(each, 0).replace(b" 0\r\n", b" -5\r\n")]
    ),
    "huge numbers": lambda: edit(
        rb'((?:Nats-Num-Pending|Nats-Pending-Messages|Nats-Sequence): |"(?:last_seq|seq)":)\d+',
        rb"\g<1>" + HUGE,
    ),
    "wrong sequences": lambda: edit(rb'(Nats-Sequence: |\.1\.|"seq":)(\d+)', rb"\g<1>9\g<2>"),
    "huge ack subjects": lambda: edit(rb"(\$JS\.ACK\.\S+\.1\.)\d+", rb"\g<1>" + HUGE),
    "out of order": Reversed,
    "repeated": lambda: Replies(lambda each: [each, each]),
    "wrong stream": lambda: edit(
        rb'(Nats-Stream: |\$JS\.ACK\.\w+\.\w+\.|"stream":")\w+', rb"\g<1>OTHER"
    ),
    "error": lambda: Replies(lambda _: [b"-ERR 'Lies'\r\n", None]),
    "error in a reply": lambda: Replies(lambda each: [each[:-4], b"-ERR 'Lies'\r\n", None]),
    "pings": lambda: Replies(lambda _: endless(b"PING\r\n" * 500)),
    "slow pings": lambda: Replies(lambda _: slowly(b"PING\r\n")),
    "slow bytes": lambda: Replies(lambda each: slowly(b"x", resized(each, 20_000))),
    "infos": lambda: Replies(lambda _: endless(b'INFO {"max_payload":1024}\r\n' * 100)),
    "others": lambda: Replies(lambda _: endless(b"MSG _INBOX.other 1 3\r\nabc\r\n" * 100)),
    "empty": lambda: edit(rb"(?s)^\{.*\}$", b"{}"),
    "other types": lambda: edit(rb'":\s*(\d+|"[^"]*"|true)', b'":["x"]'),
    "nested": lambda: edit(rb"(?s)^\{.*\}$", b'{"a":' * 20_000),
    "surrogate": lambda: edit(rb'"(name|stream|created)":"[^"]*"', rb'"\1":"\\ud800"'),
}


def run(work: str, url: str, stream: str) -> None:
    """Do the work; a right result is as good as an error of the suite, in time."""
    in_time(lambda: WORK[work](url, stream))


def in_time(action: Callable[[], None]) -> None:
    """Call ``action``, which may raise an error of the suite, but no other, and must not hang."""
    failures: list[BaseException] = []

    def call() -> None:
        try:
            action()
        except NatsSparkError:
            pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(SOON)
    assert not thread.is_alive(), f"not over after {SOON:g} s"
    if failures:
        raise failures[0]


@pytest.mark.parametrize("lie", REPLIES)
@pytest.mark.parametrize("work", WORK)
def test_lies_in_replies(told: EmbeddedServer, stream_of: str, work: str, lie: str) -> None:
    with liar(told.url, REPLIES[lie]()) as url:
        run(work, url, stream_of)


@pytest.mark.parametrize("work", WORK)
def test_an_honest_proxy(told: EmbeddedServer, stream_of: str, work: str) -> None:
    """The work is right without lies, so that the other tests show something."""
    with liar(told.url, lambda operation: [operation]) as url:
        WORK[work](url, stream_of)


def at(start: bytes, *instead: bytes | None) -> Lie:
    """Lie with the operations that start so."""
    return lambda each: instead if each.startswith(start) else [each]


def info(**fields: Any) -> Lie:
    """Change fields of INFO."""

    def lie(operation: bytes) -> Iterable[bytes]:
        if not operation.startswith(b"INFO "):
            return [operation]
        return [b"INFO %b\r\n" % json.dumps({**json.loads(operation[5:]), **fields}).encode()]

    return lie


HANDSHAKES: dict[str, Lie] = {
    "INFO that never ends": lambda each: endless(b"x" * 65536, b'INFO {"a":"'),
    "no INFO": at(b"INFO", None),
    "half an INFO": at(b"INFO", b'INFO {"server_id":', None),
    "nested INFO": at(b"INFO", b"INFO " + b'{"a":' * 20_000 + b"\r\n"),
    "INFO of another type": at(b"INFO", b"INFO []\r\n"),
    "error instead of INFO": at(b"INFO", b"-ERR 'Lies'\r\n"),
    "error after INFO": lambda each: [each, b"-ERR 'Lies'\r\n"],
    "garbage after INFO": lambda each: [each, b"garbage\r\n"],
    "error after CONNECT": at(b"PONG", b"-ERR 'Lies'\r\n", None),
    "silence after CONNECT": at(b"PONG", None),
    "pings after CONNECT": lambda each: (
        endless(b"PING\r\n" * 500) if each.startswith(b"PONG") else [each]
    ),
    "garbage after CONNECT": at(b"PONG", b"\xff\xfe\r\n", None),
    "max_payload that is none": info(max_payload="many"),
    "huge max_payload": info(max_payload=1 << 70),
    "huge version": info(version="9" * 5_000),
    "addresses that are none": info(connect_urls=["[::1", "a b:1", 5, "x:99999", "a\u0000:1", ""]),
    "addresses of another type": info(connect_urls={"a": 1}),
    "a surrogate as nonce": lambda each: [each.replace(b"INFO {", b'INFO {"nonce":"\\ud800",')],
    "TLS that is not given": info(tls_required=True),
}


@pytest.mark.parametrize("lie", HANDSHAKES)
def test_lies_in_the_handshake(told: EmbeddedServer, lie: str) -> None:
    seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
    settings = NatsSettings.from_options(
        {**impatient("x"), "nats.nkey.seed.secret": seed} if "nonce" in lie else impatient("x")
    )
    with liar(told.url, HANDSHAKES[lie]) as url:
        settings = settings.model_copy(update={"url": (url,)})

        def handshake() -> None:
            with connect(settings) as link:
                assert link.info.jetstream
                assert all(address.partition(":")[2] for address in link.info.connect_urls)

        in_time(handshake)


#: After these, nats-py tries again until its time is over, which takes as long each time.
_SLOW = {
    *("no INFO", "half an INFO", "error after INFO", "error instead of INFO"),
    *("silence after CONNECT", "TLS that is not given"),
}


@pytest.mark.parametrize("lie", [each for each in HANDSHAKES if each not in _SLOW])
def test_lies_in_the_handshake_of_the_control_connection(
    told: EmbeddedServer, stream_of: str, lie: str
) -> None:
    """The first connection only finds a server; nats-py has the second."""
    with liar(told.url, HANDSHAKES[lie], connection=1) as url:
        run("control", url, stream_of)


@pytest.mark.parametrize("lie", ["INFO that never ends", "large size"])
@pytest.mark.parametrize("work", ["direct", "consumer", "pull", "publish"])
def test_what_never_ends_takes_little_memory(
    told: EmbeddedServer, stream_of: str, work: str, lie: str
) -> None:
    chosen = HANDSHAKES[lie] if lie in HANDSHAKES else REPLIES[lie]()
    with liar(told.url, chosen) as url:
        tracemalloc.start()
        try:
            run(work, url, stream_of)
            assert tracemalloc.get_traced_memory()[1] < LITTLE
        finally:
            tracemalloc.stop()


def test_a_server_among_honest_ones_is_passed_over(told: EmbeddedServer, stream_of: str) -> None:
    for lie in ("INFO that never ends", "INFO of another type", "garbage after CONNECT"):
        with liar(told.url, HANDSHAKES[lie]) as url:
            settings = NatsSettings.from_options(impatient(f"{url},{told.url}"))
            for _ in range(4):  # the order is random
                with connect(settings) as link:
                    assert link.server.url == told.url

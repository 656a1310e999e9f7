"""``python -m tests.fuzz.record``: records the corpus from a real nats-server.

Random parts, such as inboxes, are replaced by fixed ones of the same length, so the lengths that
the server sent still hold.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from nats_spark_common import NatsSettings
from nats_spark_common.connection.connect import connect
from nats_spark_common.connection.connection import Connection
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.protocol.operations import hpub, pub

from .._support.admin import Admin
from .._support.consuming import start as start_balanced
from .._support.reading import Driver, batch
from .._support.writing import make_stream
from . import CONSUMER, INBOX, SID, STREAM

CORPUS = Path(__file__).parent / "corpus"

#: The end of a reply with JSON.
_END = b"}\r\n"

_HEADER = b"NATS/1.0\r\nA: 1\r\nA: 2\r\nEmpty:\r\n\r\n"


def main() -> None:
    """Record everything that a server sends; the other corpora are written by hand."""
    config = "max_payload: 64KB"
    with EmbeddedServer(config) as server, closing(Admin(server.url)) as admin:
        make_stream(admin, STREAM, allow_batched=True, allow_atomic=True)
        admin.publish_raw(f"{STREAM}.a", _HEADER, b"payload")
        admin.publish_raw(f"{STREAM}.b", b"NATS/1.0 204 EOB\r\nX: \xe4\r\n\r\n", b"")
        admin.publish(f"{STREAM}.c", b"HMSG _INBOX.x 1 12 12\r\nNATS/1.0\r\n\r\n\r\n")
        for number in range(1, 9):
            admin.publish(f"{STREAM}.grün.{number}", b"\r\n" * number)
        settings = NatsSettings.from_options({"nats.url": server.url})
        with connect(settings) as link:
            _save("operations", "handshake", _handshake(server))
            _record_gets(link)
            _record_pulls(link, admin)
            _record_acks(link)
            _record_api(link)
        _record_offsets(server)


def _save(parser: str, name: str, data: bytes) -> None:
    folder = CORPUS / parser
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def _handshake(server: EmbeddedServer) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        received = b""
        sock.sendall(b"CONNECT {}\r\nSUB a 2\r\nPING\r\n" + pub("a", "b", b"x") + b"X\r\n")
        while chunk := sock.recv(1 << 16):
            received += chunk
        return received


def _received(link: Connection, done: Callable[[bytes], bool]) -> bytes:
    """Return what the server sends until ``done``, with fixed random parts."""
    received = b""
    deadline = time.monotonic() + 10
    while not done(received):
        block = link.arrived(deadline)
        link.consume(len(block))
        received += block
    return received.replace(link.inbox.encode(), INBOX)


def _numbered(data: bytes, inbox: str, number: int = 1) -> bytes:
    """Return received bytes with another number of their inbox."""
    own = inbox.rpartition(".")[2].encode()
    return data.replace(INBOX + b"." + own + b" ", INBOX + b".%d " % number)


def _ends(data: bytes) -> bool:
    return data.endswith(b"\r\n\r\n\r\n") and b"HMSG" in data


def _record_gets(link: Connection) -> None:
    subject = f"$JS.API.DIRECT.GET.{STREAM}"
    for name, request in (
        ("batch", {"seq": 1, "batch": 20}),
        ("part", {"seq": 4, "batch": 3}),
        ("nothing", {"seq": 400, "batch": 3}),
        ("filtered", {"seq": 1, "batch": 5, "next_by_subj": f"{STREAM}.grün.>"}),
    ):
        inbox = link.send_request(subject, json.dumps(request).encode())
        data = _received(link, lambda d: _ends(d) and (b" 204 EOB" in d or b" 404 " in d))
        _save(
            "direct",
            name,
            data.replace(INBOX + b"." + inbox.rpartition(".")[2].encode(), INBOX + b".1"),
        )
    none = link.send_request("$JS.API.DIRECT.GET.NONE", b'{"seq":1,"batch":1}')
    number = none.rpartition(".")[2].encode()
    _save(
        "direct",
        "no_responders",
        _received(link, _ends).replace(INBOX + b"." + number, INBOX + b".1"),
    )
    for name, call in (("direct", "DIRECT.GET"), ("leader", "STREAM.MSG.GET")):
        frames = b""
        for count, seq in enumerate((1, 2, 3, 99), 1):
            inbox = link.send_request(f"$JS.API.{call}.{STREAM}", b'{"seq":%d}' % seq)
            data = _received(link, lambda d: d.count(b"\r\n") >= 2 and d.endswith(b"\r\n"))
            frames += _numbered(data, inbox, count)
        _save(f"single_{name}", "messages", frames)


def _record_pulls(link: Connection, admin: Admin) -> None:
    for name, config in (
        ("whole", {}),
        ("headers_only", {"headers_only": True}),
        ("filtered", {"filter_subject": f"{STREAM}.grün.>"}),
    ):
        config = {
            "name": CONSUMER.decode(),
            "ack_policy": "explicit",
            "mem_storage": True,
            **config,
        }
        call = f"CONSUMER.CREATE.{STREAM}.{CONSUMER.decode()}"
        if "filter_subject" in config:
            call += f".{config['filter_subject']}"
        admin.api(call, stream_name=STREAM, config=config)
        pulled = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER.decode()}"
        inbox = link.send_request(pulled, b'{"batch":50,"no_wait":true}')
        number = inbox.rpartition(".")[2].encode()
        data = _received(link, lambda d: b" 404 " in d or b" 408 " in d)
        data = data.replace(INBOX + b"." + number, INBOX + b".1")
        _save(
            "deliveries",
            name,
            re.sub(rb"(MSG (?:FUZZ\.|_INBOX\.0)[^ ]+) 1 ", rb"\1 " + SID + b" ", data),
        )
        admin.run(admin.js.delete_consumer(STREAM, CONSUMER.decode()))


def _record_acks(link: Connection) -> None:
    inbox = link.inbox
    sent = [pub(f"{STREAM}.{i}", f"{inbox}.{i}", b"x") for i in range(1, 31)]
    link.send(b"".join(sent))
    _save("pub_acks", "plain", _received(link, lambda d: d.count(b'"seq"') == 30))
    link.send(
        hpub(f"{STREAM}.1", f"{inbox}.31", b"NATS/1.0\r\nNats-Msg-Id: m\r\n\r\n", b"x")
        + hpub(f"{STREAM}.1", f"{inbox}.32", b"NATS/1.0\r\nNats-Msg-Id: m\r\n\r\n", b"x")
        + hpub(f"{STREAM}.1", f"{inbox}.33", b"NATS/1.0\r\nNats-Expected-Stream: X\r\n\r\n", b"x")
        + pub("nobody", f"{inbox}.34", b"x")
        + pub(f"{STREAM}.1", f"{inbox}.35", b"x")
    )
    _save("pub_acks", "mixed", _received(link, lambda d: b".35 " in d and d.endswith(_END)))
    count = 60
    fast = [
        pub(
            f"{STREAM}.1",
            f"{inbox}.b1.10.fail.{i}.{0 if i == 1 else 2 if i == count else 1}.$FI",
            b"x",
        )
        for i in range(1, count + 1)
    ]
    link.send(b"".join(fast))
    _save(
        "pub_acks", "fast", _received(link, lambda d: b'"count":60' in d and d.endswith(b"}\r\n"))
    )


def _record_api(link: Connection) -> None:
    for name, call in (
        ("stream", f"STREAM.INFO.{STREAM}"),
        ("missing", "STREAM.INFO.NONE"),
    ):
        _save("api", name, link.request(f"$JS.API.{call}", b"", 10).payload)
    config = {"durable_name": "d", "ack_policy": "explicit", "backoff": [10**9], "max_deliver": 2}
    body = json.dumps({"stream_name": STREAM, "config": config}).encode()
    reply = link.request(f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.d", body, 10)
    _save("consumer_info", "durable", reply.payload)
    reply = link.request(f"$JS.API.CONSUMER.INFO.{STREAM}.none", b"", 10)
    _save("consumer_info", "missing", reply.payload)


def _record_offsets(server: EmbeddedServer) -> None:
    options = {"nats.url": server.url, "nats.stream.name": STREAM}
    with Driver(options) as driver:
        start = driver.initial()
        ends = [start, driver.latest(start)]
    for number, end in enumerate(ends):
        _save("offsets", f"v2_{number}", json.dumps(end).encode())
    entry = 'v1\n{"batchWatermarkMs":0,"batchTimestampMs":1714564800123,"conf":{}}\n'
    _save("log_entry", "v1", (entry + json.dumps(ends[1])).encode())
    _save(
        "log_entry",
        "v2",
        (entry.replace("v1", "v2") + "0:" + json.dumps(ends[1]) + "\n1:-").encode(),
    )
    with start_balanced(server.url, STREAM) as driver:
        first, _ = batch(driver, driver.initial())
        _save("balanced_offsets", "first", json.dumps(first).encode())
        with closing(Admin(server.url)) as admin:
            admin.publish_many((f"{STREAM}.more", b"x") for _ in range(20))
        second, _ = batch(driver, first)
        _save("balanced_offsets", "second", json.dumps(second).encode())
    _save("log_entry", "balanced", (entry + json.dumps(second)).encode())


if __name__ == "__main__":
    main()

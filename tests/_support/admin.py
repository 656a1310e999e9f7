"""The independent witness: everything a test does to JetStream goes through nats-py."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig, StreamInfo

_T = TypeVar("_T")


@dataclass(frozen=True)
class Stored:
    """A message as nats-py reads it."""

    seq: int
    subject: str
    payload: bytes
    headers: dict[str, str] | None
    timestamp_ns: int


class Admin:
    """nats-py, synchronously."""

    def __init__(self, url: str | list[str], **connect: Any) -> None:
        self.url = url if isinstance(url, str) else url[0]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.client: Client = self.run(nats.connect(url, **connect))
        self.js = self.client.jetstream(timeout=10)

    def close(self) -> None:
        self.run(self.client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def api(self, call: str, **request: Any) -> dict[str, Any]:
        """A raw request to the JetStream API, for what nats-py has no method for."""
        payload = json.dumps(request).encode() if request else b""
        reply = self.run(self.client.request(f"$JS.API.{call}", payload, timeout=10))
        answer: dict[str, Any] = json.loads(reply.data)
        assert "error" not in answer, answer
        return answer

    def create_stream(self, name: str, subjects: list[str] | None = None, **config: Any) -> None:
        """A file stream with ``allow_direct`` unless ``config`` says otherwise."""
        config = {"allow_direct": True, **config}
        subjects = subjects or [f"{name}.>"]
        self.run(self.js.add_stream(StreamConfig(name=name, subjects=subjects, **config)))

    def delete_stream(self, name: str) -> None:
        self.run(self.js.delete_stream(name))

    def purge(self, name: str, **how: Any) -> None:
        self.run(self.js.purge_stream(name, **how))

    def delete_message(self, name: str, seq: int) -> None:
        self.run(self.js.delete_msg(name, seq))

    def info(self, name: str) -> StreamInfo:
        return self.run(self.js.stream_info(name))

    def info_of_led(self, name: str) -> StreamInfo:
        """`info`, awaited while the stream has no leader."""
        found: StreamInfo = wait_until(lambda: self._info_if_led(name))
        return found

    def _info_if_led(self, name: str) -> StreamInfo | None:
        try:
            return self.info(name)
        except (TimeoutError, nats.errors.TimeoutError):
            return None

    def consumers(self, name: str) -> list[str]:
        return [each.name for each in self.run(self.js.consumers_info(name))]

    def publish(
        self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None
    ) -> int:
        """Publish one message and return its sequence."""
        return self.run(self.js.publish(subject, payload, headers=headers, timeout=10)).seq

    def publish_many(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Publish quickly and in order; every message is stored when this returns."""

        async def publish() -> None:
            batch: list[tuple[str, bytes]] = []
            for number, message in enumerate(messages):
                if not number:
                    await self._publish_to_new_stream(*message)
                    continue
                batch.append(message)
                if len(batch) == 2_000:
                    await self._flush(batch)
                    batch = []
            if batch:
                await self._flush(batch)

        self.run(publish())

    async def _publish_to_new_stream(self, subject: str, payload: bytes) -> None:
        """Publish to a stream whose server may not have told the others of its subjects yet."""
        deadline = time.monotonic() + 30
        while True:
            try:
                await self.js.publish(subject, payload, timeout=30)
                return
            except nats.js.errors.NoStreamResponseError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.01)

    async def _flush(self, batch: list[tuple[str, bytes]]) -> None:
        for subject, payload in batch[:-1]:
            await self.client.publish(subject, payload)
        await self.js.publish(*batch[-1], timeout=30)

    def fill(self, name: str, count: int, size: int = 20) -> None:
        """Messages on ``<name>.<i % 10>`` whose payloads begin with their number."""
        self.publish_many(
            (f"{name}.{i % 10}", str(i).encode().ljust(size, b".")) for i in range(count)
        )

    def publish_raw(self, subject: str, header: bytes, payload: bytes) -> None:
        """Publish exactly this header block, which nats-py's dict of headers cannot express."""
        where = urlsplit(self.url)
        with socket.create_connection((where.hostname, where.port or 4222), timeout=10) as sock:
            sock.recv(1 << 16)
            inbox = b"_INBOX.raw"
            sock.sendall(
                b'CONNECT {"verbose":false,"headers":true}\r\nSUB %s 1\r\n' % inbox
                + b"HPUB %s %s %d %d\r\n"
                % (subject.encode(), inbox, len(header), len(header + payload))
                + header
                + payload
                + b"\r\nPING\r\n"
            )
            received = b""
            while b'"seq"' not in received:
                chunk = sock.recv(1 << 16)
                received += chunk
                assert chunk, received
                assert b'"error"' not in received, received

    def read_all(self, name: str) -> list[Stored]:
        """Every message of the stream through an ordinary nats-py pull consumer."""
        info = self.info_of_led(name)
        total, is_queue = info.state.messages, info.config.retention == RetentionPolicy.WORK_QUEUE
        policy = AckPolicy.EXPLICIT if is_queue else AckPolicy.NONE  # acks are half of the work

        async def read() -> list[Stored]:
            subscription = await self.js.pull_subscribe(
                "", stream=name, config=ConsumerConfig(ack_policy=policy)
            )
            found: list[Stored] = []
            while len(found) < total:
                try:
                    messages = await subscription.fetch(min(500, total - len(found)), timeout=10)
                except nats.js.errors.ServiceUnavailableError:
                    assert not found, "the consumer had a leader"
                    continue  # a new consumer of a cluster gets its leader in a moment
                for message in messages:
                    tokens = message.reply.split(".")
                    base = 2 if len(tokens) == 9 else 4
                    found.append(
                        Stored(
                            int(tokens[base + 3]),
                            message.subject,
                            message.data,
                            message.headers,
                            int(tokens[base + 5]),
                        )
                    )
                    if is_queue:
                        await message.ack()
            await subscription.unsubscribe()
            return found

        return self.run(read())


def wait_until(condition: Any, seconds: float = 60.0, every: float = 0.02) -> Any:
    """Await a condition's truth and return its value; fail the test where it does not come."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise AssertionError(f"still not so after {seconds} s: {condition}")


def mirror(admin: Admin, name: str, origin: str, seq: int = 2, **config: Any) -> str:
    """Create a mirror with these fields of ``mirror``, and wait until it answers with ``seq``."""
    admin.api(f"STREAM.CREATE.{name}", name=name, mirror={"name": origin, **config})
    assert admin.api(f"STREAM.INFO.{name}")["config"]["mirror_direct"]

    def answers() -> bool:
        request = admin.client.request(f"$JS.API.DIRECT.GET.{origin}", b'{"seq":%d}' % seq)
        return (admin.run(request).headers or {}).get("Nats-Stream") == name

    wait_until(answers)
    return name

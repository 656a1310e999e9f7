"""The sides that are measured without Spark; each returns messages per second."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from bare import Bare
from nats_spark_common.connection.buffer import BLOCK_BYTES
from nats_spark_common.reading.decode import decode, marker
from nats_spark_common.rows.messages import MESSAGE_COLUMNS

FETCH_BYTES = 4 << 20
FETCH_MESSAGES = 100_000
PULL_BATCH = 500
RAW_PULL = 50_000


def pull_fetch(url: str, stream: str, count: int) -> float:
    """Read with nats-py: a pull consumer without acks, ``fetch`` in batches."""
    return asyncio.run(_pull_fetch(url, stream, count))


async def _pull_fetch(url: str, stream: str, count: int) -> float:
    client = await nats.connect(url)
    config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL)
    pull = await client.jetstream().pull_subscribe(f"{stream}.>", stream=stream, config=config)
    started = time.perf_counter()
    received = 0
    while received < count:
        received += len(await pull.fetch(PULL_BATCH, timeout=10))
    seconds = time.perf_counter() - started
    await pull.unsubscribe()
    await client.close()
    return received / seconds


def raw_socket(url: str, stream: str, count: int) -> float:
    """Read the stream in direct get batches and discard them: the limit of one connection."""
    with Bare(url) as link:
        started = time.perf_counter()
        reached = 0
        while reached < count:
            link.request_batch(stream, reached + 1, FETCH_MESSAGES, FETCH_BYTES)
            reached = link.discard_answer()
        return reached / (time.perf_counter() - started)


def raw_consumer(url: str, stream: str, count: int, pull: int = RAW_PULL) -> float:
    """Read the stream through a consumer without acks, in large pulls, and discard the messages.

    The server closes the connection if the messages of a pull are more than it keeps for a client.
    """
    with Bare(url) as link:
        link.create_consumer(stream, "raw")
        started = time.perf_counter()
        for start in range(0, count, pull):
            link.discard_deliveries(stream, "raw", min(pull, count - start))
        seconds = time.perf_counter() - started
        link.delete_consumer(stream, "raw")
        return count / seconds


@dataclass(frozen=True)
class Recording:
    """Received answers, in memory."""

    answers: list[bytes]
    mark: bytes
    stream: bytes


def record(url: str, stream: str, answers: int) -> Recording:
    """Record the stream's first ``answers`` answers, or all if there are fewer."""
    kept: list[bytes] = []
    mark = marker(Bare.inbox.decode(), "1")
    with Bare(url) as link:
        reached = 0
        for _ in range(answers):
            link.request_batch(stream, reached + 1, FETCH_MESSAGES, FETCH_BYTES)
            kept.append(link.keep_answer())
            decoded = decode(kept[-1], mark, stream.encode(), frozenset())
            reached = int(decoded.messages.seqs[-1])
            if b"Nats-Num-Pending: 0\r\n" in kept[-1][-200:]:
                break
    return Recording(kept, mark, stream.encode())


def decode_alone(recording: Recording, repeats: int) -> float:
    """Decode all columns on one core, in blocks as `Connection.block` returns them."""
    count = 0
    started = time.perf_counter()
    for _ in range(repeats):
        for answer in recording.answers:
            position = 0
            while position < len(answer):
                block = answer[position : position + BLOCK_BYTES]
                decoded = decode(block, recording.mark, recording.stream, MESSAGE_COLUMNS)
                count += len(decoded.messages)
                position += decoded.consumed
    return count / (time.perf_counter() - started)

"""Fill a stream fast: core PUBs over a bare socket, one ack per thousand messages."""

from __future__ import annotations

import asyncio
import random

import nats
from nats.js.api import StorageType, StreamConfig

from bare import Bare

_CHUNK = 1000
#: The server buffers up to 10,000 messages before they are stored, and drops the rest.
_MAX_CHUNKS_IN_FLIGHT = 4


def fill(
    url: str, stream: str, count: int, size: int, replicas: int = 1, subjects: int = 100
) -> None:
    """Create a stream in file storage, and store ``count`` messages of ``size`` random bytes.

    Random bytes contain line breaks, as real payloads may. Subjects are ``<stream>.0.0``,
    ``<stream>.1.1``, ``<stream>.0.2`` and so on, in turn.
    """
    asyncio.run(_create(url, stream, replicas))
    rng = random.Random(1)
    payloads = [rng.randbytes(size) for _ in range(64)]
    with Bare(url) as link:
        waiting = 0
        for start in range(0, count, _CHUNK):
            stop = min(start + _CHUNK, count)
            frames = [
                b"PUB %s %d\r\n%s\r\n"
                % (_subject(stream, i, subjects), size, payloads[i % len(payloads)])
                for i in range(start, stop - 1)
            ]
            i = stop - 1
            frames.append(
                b"PUB %s %s %d\r\n%s\r\n"
                % (_subject(stream, i, subjects), link.inbox, size, payloads[i % len(payloads)])
            )
            link.send(b"".join(frames))
            waiting += 1
            while waiting >= _MAX_CHUNKS_IN_FLIGHT:
                waiting -= link.count_replies()
        while waiting:
            waiting -= link.count_replies()
    asyncio.run(_check(url, stream, count))


def _subject(stream: str, number: int, subjects: int) -> bytes:
    return b"%s.%d.%d" % (stream.encode(), number % 2, number % subjects)


async def _create(url: str, stream: str, replicas: int) -> None:
    client = await nats.connect(url)
    config = StreamConfig(
        name=stream,
        subjects=[f"{stream}.>"],
        storage=StorageType.FILE,
        allow_direct=True,
        num_replicas=replicas,
    )
    await client.jetstream().add_stream(config)
    await client.close()


def allow_direct(url: str, stream: str, allowed: bool) -> None:
    """Turn direct gets from a stream on or off."""
    asyncio.run(_allow_direct(url, stream, allowed))


async def _allow_direct(url: str, stream: str, allowed: bool) -> None:
    client = await nats.connect(url)
    js = client.jetstream()
    config = (await js.stream_info(stream)).config
    config.allow_direct = allowed
    await js.update_stream(config)
    await client.close()


async def _check(url: str, stream: str, count: int) -> None:
    client = await nats.connect(url)
    state = (await client.jetstream().stream_info(stream)).state
    await client.close()
    if state.messages != count:
        raise RuntimeError(f"stream {stream} holds {state.messages} messages, not {count}")

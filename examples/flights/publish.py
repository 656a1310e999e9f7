"""Publishes the flights with nats-py: the demo's producer does not use Spark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import nats
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

_CHUNK = 5_000


async def publish(
    url: str,
    stream: str,
    messages: Iterable[tuple[str, bytes]],
    progress: Callable[[int], None],
) -> int:
    """Recreate the stream, publish the messages, and return how many the stream then holds.

    Args:
        progress: called with the number of messages sent since its last call.
    """
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        await _delete(jetstream, stream)
        await jetstream.add_stream(
            StreamConfig(name=stream, subjects=["flights.>"], allow_direct=True)
        )
        # One ack for thousands of messages: the server stores them in order, so the ack of the
        # last one means that all before it are stored too.
        for chunk in _chunks(messages):
            for subject, payload in chunk[:-1]:
                await client.publish(subject, payload)
            await jetstream.publish(*chunk[-1])
            progress(len(chunk))
        return int((await jetstream.stream_info(stream)).state.messages)
    finally:
        await client.close()


async def forget(url: str, stream: str) -> None:
    """Delete a stream that an earlier run left on the server."""
    client = await nats.connect(url)
    try:
        await _delete(client.jetstream(), stream)
    finally:
        await client.close()


async def _delete(jetstream: JetStreamContext, stream: str) -> None:
    try:
        await jetstream.delete_stream(stream)
    except NotFoundError:
        pass


def _chunks(messages: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    iterator = iter(messages)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk

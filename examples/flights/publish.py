"""Publishes the flights with nats-py: the demo's producer knows nothing of Spark."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import nats
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

_FLUSH_EVERY = 5_000


async def publish(
    url: str,
    stream: str,
    messages: Iterable[tuple[str, bytes]],
    progress: Callable[[int], None],
) -> int:
    """Make the stream anew, publish the messages, and return how many the stream then holds.

    Args:
        progress: told how many messages were sent since it was last told.
    """
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        try:
            await jetstream.delete_stream(stream)
        except NotFoundError:
            pass
        await jetstream.add_stream(
            StreamConfig(name=stream, subjects=["flights.>"], allow_direct=True)
        )
        # Publishing without waiting for each ack, then comparing the count, is quick and enough
        # for a stream that only the demo writes to.
        sent = 0
        for subject, payload in messages:
            await client.publish(subject, payload)
            sent += 1
            if sent % _FLUSH_EVERY == 0:
                await client.flush()
                progress(_FLUSH_EVERY)
        await client.flush()
        progress(sent % _FLUSH_EVERY)
        return int((await jetstream.stream_info(stream)).state.messages)
    finally:
        await client.close()

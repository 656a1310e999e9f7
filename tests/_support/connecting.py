"""A server of any configuration, and a check that the connector reads a stream of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nats_spark_common.embedded import EmbeddedServer

from .admin import Admin
from .options import named
from .reading import numbers, read_stream


@contextmanager
def filled(config: str, **nats_py: Any) -> Iterator[EmbeddedServer]:
    """Start a server of this configuration with three messages in stream S."""
    with EmbeddedServer(config) as server:
        admin = Admin(server.url, **nats_py)
        admin.create_stream("S")
        admin.fill("S", 3)
        admin.close()
        yield server


def check(server: EmbeddedServer, **short: str) -> None:
    """Read stream S from end to end, with options by their short names."""
    options = {"nats.url": server.url, **named(stream_name="S", **short)}
    assert numbers(read_stream(options)) == [1, 2, 3]

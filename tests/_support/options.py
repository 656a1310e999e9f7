"""Options by short names: ``sink_mode="..."`` for ``nats.sink.mode``."""

from __future__ import annotations


def named(**short: str) -> dict[str, str]:
    """Options out of their short names."""
    return {f"nats.{name.replace('_', '.')}": value for name, value in short.items()}


def options(url: str, **short: str) -> dict[str, str]:
    """As `named`, with the server."""
    return {"nats.url": url, **named(**short)}

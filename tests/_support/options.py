"""Options by short names: ``sink_mode="..."`` for ``nats.sink.mode``."""

from __future__ import annotations

from nats_spark_common import NatsSettings


def named(**short: str) -> dict[str, str]:
    """Options out of their short names."""
    return {f"nats.{name.replace('_', '.')}": value for name, value in short.items()}


def options(url: str, **short: str) -> dict[str, str]:
    """As `named`, with the server."""
    return {"nats.url": url, **named(**short)}


def settings(**short: str) -> NatsSettings:
    """Return the settings that the options give, without a server."""
    return NatsSettings.from_options(named(**short))

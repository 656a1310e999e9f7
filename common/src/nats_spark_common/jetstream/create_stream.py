"""Creates streams from the options, for sources and sinks whose stream does not exist."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..errors import ServerError
from ..options.settings import NatsSettings
from .api import FAST_BATCH_VERSION, STREAM_NAME_IN_USE

_log = logging.getLogger(__name__)


def stream_config(
    settings: NatsSettings, name: str, subjects: tuple[str, ...], version: tuple[int, ...]
) -> dict[str, Any]:
    """Return the configuration of a stream without limits for a server of this version."""
    config = {
        "name": name,
        "subjects": list(subjects),
        "retention": "limits",
        "storage": settings.storage_type,
        "num_replicas": settings.storage_replicas,
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msg_size": -1,
        "max_msgs_per_subject": -1,
        "discard": "old",
        "allow_direct": True,
    }
    if version >= FAST_BATCH_VERSION:
        config["allow_batched"] = True
    return config


def create_stream(
    api: Callable[[str, dict[str, Any]], dict[str, Any]], config: dict[str, Any]
) -> None:
    """Create a stream, unless a stream of its name exists.

    Args:
        api: sends a request to the JetStream API and returns the reply, as `Control.api` does.

    Raises ``ServerError`` if the server rejects the stream.
    """
    name = config["name"]
    try:
        api(f"STREAM.CREATE.{name}", config)
    except ServerError as error:
        if error.err_code != STREAM_NAME_IN_USE:
            raise
        return
    _log.info("created stream %s with subjects %s", name, ", ".join(config["subjects"]))

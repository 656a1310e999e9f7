"""Makes streams from the options, for sources and sinks that find theirs missing."""

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
    """The configuration of a stream without limits, as a server of ``version`` takes it."""
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
    """Create a stream; one that somebody else has created meanwhile is left as it is.

    Args:
        api: sends a request to the JetStream API and returns the answer, as `Control.api` does.

    Raises ``ServerError`` where the server refuses the stream, in its words.
    """
    name = config["name"]
    try:
        api(f"STREAM.CREATE.{name}", config)
    except ServerError as error:
        if error.err_code != STREAM_NAME_IN_USE:
            raise
        return
    _log.info("created stream %s with subjects %s", name, ", ".join(config["subjects"]))

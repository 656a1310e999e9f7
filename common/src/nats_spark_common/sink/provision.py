"""Makes the stream that a sink writes to, where the user asked for it and it is missing."""

from __future__ import annotations

import logging
from typing import Any

from ..api import ask
from ..errors import (
    OptionError,
    ServerError,
    StreamNotFoundError,
)
from ..jetstream import (
    ATOMIC_BATCH_VERSION,
    FAST_BATCH_VERSION,
    STREAM_NAME_IN_USE,
)
from ..pool import connection
from ..retry import UNREACHED, retrying
from ..settings import NatsSettings

_log = logging.getLogger(__name__)

_seen: set[tuple[str, str]] = set()


def ensure_stream(settings: NatsSettings) -> None:
    """Make ``nats.stream.name`` unless it exists; one that exists is never changed.

    Asks the server once a process for each stream.

    Raises:
        OptionError: the stream's name or subjects are not set.
        ServerError: the server refuses the stream, in its words.
        ConnectError, AuthError, TimeoutExpiredError, JetStreamUnavailableError: as named.
    """
    if len(settings.stream_name) != 1:
        raise OptionError(
            "nats.sink.create.stream=true needs nats.stream.name, the one stream to create, but "
            f"it is {','.join(settings.stream_name) or 'not set'}"
        )
    (name,) = settings.stream_name
    subjects = settings.stream_subjects or tuple(filter(None, [settings.sink_subject]))
    if not subjects:
        raise OptionError(
            f"nats.sink.create.stream=true needs nats.stream.subjects, the subjects of stream "
            f"{name!r}: a comma list, wildcards allowed"
        )
    key = (settings.connection_key(), name)
    if key not in _seen:
        retrying(lambda: _ensure(settings, name, subjects), settings, UNREACHED)
        _seen.add(key)


def _ensure(settings: NatsSettings, name: str, subjects: tuple[str, ...]) -> None:
    with connection(settings) as link:
        try:
            ask(link, settings, f"STREAM.INFO.{name}")
            return
        except StreamNotFoundError:
            pass
        config = _config(settings, name, subjects, link.info.version)
        try:
            ask(link, settings, f"STREAM.CREATE.{name}", config)
        except ServerError as error:
            if error.err_code != STREAM_NAME_IN_USE:  # somebody was faster
                raise
            return
    _log.info("created stream %s with subjects %s", name, ", ".join(subjects))


def _config(
    settings: NatsSettings, name: str, subjects: tuple[str, ...], version: tuple[int, ...]
) -> dict[str, Any]:
    config = {
        "name": name,
        "subjects": list(subjects),
        "retention": settings.sink_retention,
        "storage": settings.storage_type,
        "num_replicas": settings.storage_replicas,
        "duplicate_window": round(settings.sink_duplicate_window * 1e9),
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msg_size": -1,
        "max_msgs_per_subject": -1,
        "discard": "old",
        "allow_direct": True,
    }
    if version >= ATOMIC_BATCH_VERSION and settings.sink_atomic:
        config["allow_atomic"] = True
    if version >= FAST_BATCH_VERSION:
        config["allow_batched"] = True
    return config

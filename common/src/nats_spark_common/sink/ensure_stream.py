"""Creation of the stream that a sink writes to, for ``nats.sink.create.stream``."""

from __future__ import annotations

from functools import partial

from ..connection.pool import connection
from ..connection.retry import retrying
from ..errors import OptionError, StreamNotFoundError
from ..jetstream.api import ATOMIC_BATCH_VERSION, STARTING
from ..jetstream.create_stream import create_stream, stream_config
from ..jetstream.requests import request
from ..options.settings import NatsSettings

_seen: set[tuple[str, str]] = set()


def ensure_stream(settings: NatsSettings) -> None:
    """Create the stream ``nats.stream.name`` if it is missing; never change an existing one.

    Looks each stream up once per process.

    Raises:
        OptionError: the stream's name or subjects are not set.
        ServerError: the server rejects the stream; carries its description.
        ConnectError, AuthError, TimeoutExpiredError, JetStreamUnavailableError: as named.
    """
    if len(settings.stream_name) != 1:
        raise OptionError(
            "nats.sink.create.stream=true needs nats.stream.name, the one stream to create, but "
            f"it is {','.join(settings.stream_name) or 'not set'}: set it to one name"
        )
    (name,) = settings.stream_name
    subjects = settings.stream_subjects or tuple(filter(None, [settings.sink_subject]))
    if not subjects:
        raise OptionError(
            "nats.sink.create.stream=true needs nats.stream.subjects, the subjects of stream "
            f"{name!r}: set a comma-separated list; wildcards are allowed"
        )
    key = (settings.connection_key(), name)
    if key not in _seen:
        retrying(lambda: _ensure(settings, name, subjects), settings, STARTING)
        _seen.add(key)


def _ensure(settings: NatsSettings, name: str, subjects: tuple[str, ...]) -> None:
    with connection(settings) as link:
        try:
            request(link, settings, f"STREAM.INFO.{name}")
            return
        except StreamNotFoundError:
            pass
        config = stream_config(settings, name, subjects, link.info.version)
        config["retention"] = settings.sink_retention
        config["duplicate_window"] = round(settings.sink_duplicate_window * 1e9)
        if settings.sink_atomic and link.info.version >= ATOMIC_BATCH_VERSION:
            config["allow_atomic"] = True
        create_stream(partial(request, link, settings), config)

"""The configuration of the durable consumer, from the options. Pure.

Source: ADR-1 and the NATS docs, "Consumers".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nats_spark_common.errors import OptionError
from nats_spark_common.jetstream.api import FILTER_SUBJECTS_VERSION, StreamInfo
from nats_spark_common.options.catalog_tables import TABLES
from nats_spark_common.options.positions import AtSequence, AtTime, Latest, check_streams
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.protocol.timestamps import ns_to_rfc3339

_NS = 1_000_000_000

#: The fields of a consumer, besides its filters, that an update can change, and their options.
_UPDATABLE = {
    "ack_wait": "msg_ack_wait_secs",
    "max_ack_pending": "pull_consumer_max_ack_pending",
    "max_batch": "pull_consumer_max_batch",
}


#: Batches whose messages may await acks at the same time, over all queries that share a consumer.
BATCHES_PENDING = 4


def required_names(settings: NatsSettings) -> tuple[str, str]:
    """Return the names of the stream and the consumer.

    Raises ``OptionError`` if one is missing, or if ``nats.start`` names another stream.
    """
    if settings.stream_pattern or len(settings.stream_name) != 1:
        given = settings.stream_pattern or ",".join(settings.stream_name) or "not set"
        raise OptionError(
            f"nats.stream.name: nats-balanced reads one stream, and the streams are {given}: "
            f"set nats.stream.name to one stream, and use a query for each stream. {TABLES}"
        )
    if not settings.durable_name:
        raise OptionError(
            "nats.durable.name is not set: name the durable consumer, "
            "which is created if it is missing"
        )
    (stream,) = settings.stream_name
    check_streams("nats.start", settings.start, lambda name: name == stream, stream)
    return stream, settings.durable_name


def ack_policy(settings: NatsSettings) -> str:
    """Return the ack policy that the consumer must have."""
    return "none" if settings.ack_none else settings.ack_policy


def new_config(
    settings: NatsSettings, name: str, stream: StreamInfo, server_version: tuple[int, ...]
) -> dict[str, Any]:
    """Return the configuration of a consumer to create.

    Raises ``OptionError`` if the server is too old for several filter subjects.
    """
    config: dict[str, Any] = {
        "name": name,
        "durable_name": name,
        "ack_policy": ack_policy(settings),
        "replay_policy": "instant",
        "headers_only": True,  # tasks read the payloads by sequence
        **_deliver_policy(settings, stream),
    }
    if not settings.ack_none:
        config["ack_wait"] = round(settings.msg_ack_wait_secs * _NS)
        batch = settings.max_messages_per_trigger or 0
        config["max_ack_pending"] = (
            settings.pull_consumer_max_ack_pending or BATCHES_PENDING * batch or -1
        )
    if settings.pull_consumer_max_batch:
        config["max_batch"] = settings.pull_consumer_max_batch
    filters = settings.stream_subjects
    if set(filters) == set(stream.subjects):
        filters = ()
    if len(filters) == 1:
        config["filter_subject"] = filters[0]
    elif filters and server_version < FILTER_SUBJECTS_VERSION:
        raise OptionError(
            f"nats.stream.subjects={','.join(filters)}: a consumer with several filter "
            "subjects needs NATS server 2.10 or later, but this server is "
            f"{version_text(server_version)}: name one subject; it may contain wildcards"
        )
    elif filters:
        config["filter_subjects"] = list(filters)
    return config


def updated_config(
    current: Mapping[str, Any], new: Mapping[str, Any], settings: NatsSettings
) -> dict[str, Any]:
    """Return the current configuration with the changes that the options set explicitly.

    Args:
        new: what `new_config` returns for these options.
    """
    given = settings.model_fields_set
    changes = {
        name: new[name] for name, option in _UPDATABLE.items() if name in new and option in given
    }
    config = {**current, **changes}
    if "stream_subjects" in given:
        for name in ("filter_subject", "filter_subjects"):
            config.pop(name, None)
            config |= {name: new[name]} if name in new else {}
    return config


def version_text(version: tuple[int, ...]) -> str:
    """Return a server version as text, ``2.14.0`` for example."""
    return ".".join(map(str, version))


def _deliver_policy(settings: NatsSettings, stream: StreamInfo) -> dict[str, Any]:
    """Return the fields that say where a new consumer starts."""
    position = settings.start.for_stream(stream.name)
    if isinstance(position, AtSequence):
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": position.seq}
    if isinstance(position, AtTime):
        return {"deliver_policy": "by_start_time", "opt_start_time": ns_to_rfc3339(position.ns)}
    return {"deliver_policy": "new" if isinstance(position, Latest) else "all"}

"""A consumer as the server reports it, and whether this source can use it. Pure.

Source: ADR-1 and the NATS docs, "Consumers".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nats_spark_common.errors import UnsupportedConsumerError
from nats_spark_common.jetstream.api import StreamInfo, string, well_formed, whole
from nats_spark_common.options.settings import NatsSettings

from .consumer_config import ack_policy

_NS = 1_000_000_000


@dataclass(frozen=True)
class ConsumerInfo:
    """A consumer and its state, from a reply to ``$JS.API.CONSUMER.INFO``.

    Attributes:
        created: creation time, as the server formats it.
        ack_wait: seconds after which an unacknowledged message is redelivered; the shortest wait
            of the backoff, if the consumer has one.
        filters: filter subjects; empty if the consumer has none.
        push: whether it is a push consumer.
        delivered: highest stream sequence delivered.
        delivered_consumer_seq: consumer sequence of the last delivery.
        ack_floor: stream sequence up to which all messages are acknowledged.
        ack_floor_consumer_seq: the same as a consumer sequence.
        pending: messages that were never delivered.
        ack_pending: messages that were delivered and not acknowledged.
        redelivered: messages of ``ack_pending`` that were delivered more than once.
        max_ack_pending, max_batch, max_bytes, max_expires: limits of a pull (``max_expires`` in
            seconds); 0 without a limit.
        max_deliver: maximum deliveries of a message; 0 without a limit.
        has_priority_groups: whether pulls must name a priority group.
    """

    name: str
    created: str
    ack_policy: str
    ack_wait: float
    filters: tuple[str, ...]
    push: bool
    delivered: int
    delivered_consumer_seq: int
    ack_floor: int
    ack_floor_consumer_seq: int
    pending: int
    ack_pending: int
    redelivered: int
    max_ack_pending: int
    max_batch: int
    max_bytes: int
    max_expires: float
    max_deliver: int
    has_priority_groups: bool

    @staticmethod
    def from_json(info: Mapping[str, Any]) -> ConsumerInfo:
        """Return the consumer that a ``CONSUMER.INFO`` reply describes.

        Raises ``ProtocolError`` if it is not such a reply.
        """
        with well_formed("consumer info", info):
            config = info["config"]
            one = config.get("filter_subject")
            waits = config.get("backoff") or [config.get("ack_wait") or 30 * _NS]
            return ConsumerInfo(
                name=string(info["name"]),
                created=string(info["created"]),
                ack_policy=string(config.get("ack_policy", "none")),
                ack_wait=(min(map(whole, waits)) or 30 * _NS) / _NS,
                filters=tuple(map(string, config.get("filter_subjects") or ([one] if one else []))),
                push=bool(config.get("deliver_subject")),
                delivered=whole(info["delivered"]["stream_seq"]),
                delivered_consumer_seq=whole(info["delivered"]["consumer_seq"]),
                ack_floor=whole(info["ack_floor"]["stream_seq"]),
                ack_floor_consumer_seq=whole(info["ack_floor"]["consumer_seq"]),
                pending=whole(info["num_pending"]),
                ack_pending=whole(info["num_ack_pending"]),
                redelivered=whole(info["num_redelivered"]),
                max_ack_pending=max(0, int(config.get("max_ack_pending") or 0)),
                max_batch=whole(config.get("max_batch") or 0),
                max_bytes=whole(config.get("max_bytes") or 0),
                max_expires=whole(config.get("max_expires") or 0) / _NS,
                max_deliver=max(0, int(config.get("max_deliver") or 0)),
                has_priority_groups=bool(config.get("priority_groups")),
            )


def check_usable(info: ConsumerInfo, settings: NatsSettings, stream: StreamInfo) -> None:
    """Raise ``UnsupportedConsumerError`` if the consumer cannot be used with these options."""
    which = f"nats.durable.name={info.name}: consumer {info.name!r} of stream {stream.name!r}"
    if info.push:
        raise UnsupportedConsumerError(
            f"{which} is a push consumer, which tasks cannot share: "
            "name a pull consumer, or one that does not exist yet"
        )
    if info.has_priority_groups:
        raise UnsupportedConsumerError(
            f"{which} has priority groups, which this source does not support: "
            "name a consumer without priority groups"
        )
    wanted = ack_policy(settings)
    if info.ack_policy != wanted:
        fitting = {
            "none": "set nats.ack.none=true",
            "explicit": "remove nats.ack.none and nats.ack.policy",
            "all": "set nats.ack.policy=all if no other client uses the consumer",
        }.get(info.ack_policy)
        remedy = f"{fitting}, or " if fitting else ""
        remedy += f"name a consumer with ack_policy {wanted}"
        raise UnsupportedConsumerError(
            f"{which} has ack_policy {info.ack_policy}, not {wanted}: {remedy}"
        )
    subjects = settings.stream_subjects
    delivers = info.filters or stream.subjects
    if subjects and not settings.consumer_update and set(subjects) != set(delivers):
        raise UnsupportedConsumerError(
            f"{which} delivers {', '.join(delivers)}, but nats.stream.subjects="
            f"{','.join(subjects)}: remove the option, name another consumer, or set "
            "nats.consumer.update=true"
        )

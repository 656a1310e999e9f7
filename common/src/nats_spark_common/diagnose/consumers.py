"""Judges the durable consumer of a balanced query. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..options.settings import NatsSettings
from .finding import Finding, error, info, or_ok, warning

_NS = 1_000_000_000

#: Seconds of ack_wait below which a message may be redelivered while its batch still runs.
_SHORT_WAIT = 5.0


def judge_consumer(consumer: Mapping[str, Any], settings: NatsSettings) -> list[Finding]:
    """Judge the reply to ``$JS.API.CONSUMER.INFO`` for a query with these settings."""
    subject = f"consumer {consumer['name']}"
    found = [*_type(subject, consumer, settings), *_limits(subject, consumer, settings)]
    fact = (
        f"ack floor {consumer['ack_floor']['stream_seq']:,}, {consumer['num_pending']:,} not "
        f"delivered, {consumer['num_ack_pending']:,} not acknowledged"
    )
    return or_ok(found, subject, fact)


def judge_missing_consumer(name: str, settings: NatsSettings) -> Finding:
    """Judge that there is no consumer of the name."""
    if settings.js_define_consumer:
        return info(f"consumer {name}", "does not exist; the query creates it")
    return error(
        f"consumer {name}",
        "does not exist, and nats.js.define.consumer is false",
        "create it, or let the query create it",
    )


def _type(subject: str, consumer: Mapping[str, Any], settings: NatsSettings) -> Iterator[Finding]:
    config = consumer["config"]
    if config.get("deliver_subject"):
        yield error(subject, "is a push consumer", "use a pull consumer")
    policy = config.get("ack_policy", "none")
    wanted = "none" if settings.ack_none else settings.ack_policy
    if policy != wanted:
        yield error(
            subject,
            f"has ack_policy {policy}, and the options ask for {wanted}",
            "recreate it with this ack policy, or set nats.ack.policy (or nats.ack.none) to match",
        )
    if consumer.get("paused"):
        yield error(
            subject,
            f"is paused until {config.get('pause_until', 'a later time')}: nothing is delivered",
            "resume it: nats consumer resume",
        )
    if config.get("priority_groups"):
        yield error(
            subject,
            "has priority groups, which pulls must name",
            "use a consumer without priority groups",
        )
    filters = config.get("filter_subjects") or [config.get("filter_subject")]
    own = sorted(each for each in filters if each)
    if settings.stream_subjects and own != sorted(settings.stream_subjects):
        yield warning(
            subject,
            f"delivers {', '.join(own) or 'all subjects'}, and the options name "
            f"{', '.join(settings.stream_subjects)}",
            "set nats.consumer.update=true to change the consumer, or correct the option",
        )


def _limits(subject: str, consumer: Mapping[str, Any], settings: NatsSettings) -> Iterator[Finding]:
    config = consumer["config"]
    waits = config.get("backoff") or [config.get("ack_wait") or 30 * _NS]
    wait = min(waits) / _NS
    if wait < _SHORT_WAIT:
        yield warning(
            subject,
            f"redelivers messages that are not acknowledged within {wait:g} s: a longer pause of "
            "the driver gives duplicates",
            "raise ack_wait to at least 30 s",
        )
    batch = settings.max_messages_per_trigger
    pending = int(config.get("max_ack_pending") or -1)
    if batch and 0 < pending < batch:
        yield warning(
            subject,
            f"has max_ack_pending {pending:,}: batches end there, below "
            f"nats.max.messages.per.trigger={batch}",
            "raise max_ack_pending of the consumer, ideally to twice the batch",
        )
    deliveries = int(config.get("max_deliver") or -1)
    if deliveries > 0:
        yield warning(
            subject,
            f"stops delivering a message after {deliveries} attempts (max_deliver): if as many "
            "batches with it fail, the query never reads it",
            "remove max_deliver, or monitor $JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>",
        )
    inactive = int(config.get("inactive_threshold") or 0) / _NS
    if inactive:
        yield warning(
            subject,
            f"is deleted after {inactive:g} s without a pull: a query that is down for longer "
            "loses its position",
            "remove inactive_threshold",
        )
    if consumer.get("num_redelivered"):
        yield info(subject, f"{consumer['num_redelivered']:,} messages were redelivered")
    if consumer.get("num_waiting"):
        yield info(subject, f"{consumer['num_waiting']:,} pulls wait: a client is reading from it")

"""Judges a stream for a flavor or for the sink. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..jetstream.api import FAST_BATCH_VERSION
from .finding import Finding, error, info, or_ok, warning

_NS = 1_000_000_000

#: Seconds that a stream should keep messages at least: a query that is down for longer loses some.
_SHORT_AGE = 3_600

#: Seconds that the server should remember message ids at least, so that a restarted task still
#: finds its own.
_SHORT_WINDOW = 120


def judge_stream(
    stream: Mapping[str, Any],
    server_version: tuple[int, ...],
    *,
    flavor: str | None,
    sink: bool,
    exactly_once: bool = False,
) -> list[Finding]:
    """Judge the reply to ``$JS.API.STREAM.INFO``.

    Args:
        flavor: ``v2``, ``partitioned`` or ``balanced``, which reads the stream; None if none does.
        sink: whether rows are written to it.
    """
    name = stream["config"]["name"]
    subject = f"stream {name}"
    found = [*_replicas(subject, stream)]
    if flavor:
        found += _reading(subject, stream["config"], server_version, flavor)
    if sink:
        found += _writing(subject, stream["config"], server_version, exactly_once)
    state = stream["state"]
    fact = f"{state['messages']:,} messages, {state['first_seq']:,} to {state['last_seq']:,}"
    return or_ok(found, subject, fact)


def _replicas(subject: str, stream: Mapping[str, Any]) -> Iterator[Finding]:
    cluster = stream.get("cluster") or {}
    if "name" not in cluster:  # a server by itself
        return
    if not cluster.get("leader"):
        yield error(subject, "has no leader", "restore a majority of its servers")
    if int(stream["config"].get("num_replicas") or 1) == 1:
        memory = stream["config"].get("storage") == "memory"
        lost = ", and its messages are lost when it restarts" if memory else ""
        yield warning(
            subject,
            f"has one replica in a cluster: it is unavailable while its server is{lost}",
            f"scale it: nats stream edit {stream['config']['name']} --replicas 3",
        )
    for each in cluster.get("replicas") or ():
        if each.get("offline"):
            yield error(subject, f"its replica on {each['name']} is offline", "restore this server")
        elif not each.get("current"):
            yield warning(
                subject,
                f"its replica on {each['name']} lags by {int(each.get('lag') or 0):,} operations",
                "wait until it has caught up; reads ask the leader meanwhile",
            )


def _reading(
    subject: str, config: Mapping[str, Any], version: tuple[int, ...], flavor: str
) -> Iterator[Finding]:
    name, retention = config["name"], config.get("retention", "limits")
    replays = flavor != "balanced"
    if replays and retention == "workqueue":
        yield error(
            subject,
            "is a work queue: it removes acknowledged messages, so a checkpoint cannot replay them",
            "read it with nats-balanced",
        )
    if replays and retention == "interest":
        yield warning(
            subject,
            "keeps a message only until its consumers have acknowledged it: a query that is down "
            "or slower than they are loses messages",
            "use retention limits, or read it with nats-balanced",
        )
    if not config.get("allow_direct"):
        yield warning(
            subject,
            "has allow_direct off: short ranges are read through consumers, or from the leader",
            f"turn it on: nats stream edit {name} --allow-direct",
        )
    age = int(config.get("max_age") or 0) / _NS
    if age and age < _SHORT_AGE:
        yield warning(
            subject,
            f"keeps messages for {age:g} s: a query that is down for longer loses messages",
            f"keep them for longer: nats stream edit {name} --max-age 24h",
        )
    limits = [limit for limit in ("max_msgs", "max_bytes") if int(config.get(limit) or -1) > 0]
    if limits and config.get("discard", "old") == "old":
        shown = " and ".join(f"{limit} {int(config[limit]):,}" for limit in limits)
        yield info(
            subject,
            f"removes its oldest messages at {shown}, whether or not they were read",
        )
    if int(config.get("max_msgs_per_subject") or -1) > 0:
        yield info(
            subject,
            f"keeps {int(config['max_msgs_per_subject']):,} messages of each subject: older ones "
            "are removed, whether or not they were read, and that is not reported as data loss",
        )


def _writing(
    subject: str, config: Mapping[str, Any], version: tuple[int, ...], exactly_once: bool
) -> Iterator[Finding]:
    name = config["name"]
    if config.get("mirror"):
        yield error(
            subject,
            f"is a mirror of {config['mirror']['name']} and takes no messages",
            f"write to {config['mirror']['name']}",
        )
    if config.get("sealed"):
        yield error(subject, "is sealed and takes no messages", "write to another stream")
    if config.get("no_ack"):
        yield error(
            subject, "does not acknowledge messages (no_ack)", "turn no_ack off, or use best-effort"
        )
    if not config.get("allow_batched") and version >= FAST_BATCH_VERSION:
        yield info(
            subject,
            "has allow_batched off: each message needs its own ack",
            f"turn it on, which is faster: nats stream edit {name} --allow-fast",
        )
    if config.get("discard") == "new":
        yield info(subject, "rejects messages when it is full (discard new): a write then fails")
    window = int(config.get("duplicate_window") or 0) / _NS
    if exactly_once and window < _SHORT_WINDOW:
        yield warning(
            subject,
            f"remembers message ids for {window:g} s (duplicate_window): a task that is replayed "
            "later has to search the stream for its rows",
            f"remember them for longer: nats stream edit {name} --dupe-window 2m",
        )


def judge_mirrors(name: str, streams: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Report the mirrors of a stream that reply to its direct gets (ADR-31)."""
    mirrors = [
        each["config"]["name"]
        for each in streams
        if (each["config"].get("mirror") or {}).get("name") == name
        and each["config"].get("mirror_direct")
    ]
    if mirrors:
        yield info(
            f"stream {name}",
            f"its mirrors reply to direct gets for it: {', '.join(mirrors)}. Their replies are "
            "recognized and not used, which costs a request",
            "turn mirror_direct off for mirrors that need not reply",
        )

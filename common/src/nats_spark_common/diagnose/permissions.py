"""Finds which permissions of the user are missing, without an effect on streams and consumers.

The server reports a publish to a forbidden subject with ``-ERR`` before it replies to a ping. Every
probe has a payload that its API rejects, or asks for what a reader may know.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from ..connection.connection import Connection
from ..jetstream.api import api_prefix
from ..options.settings import NatsSettings
from ..protocol.operations import CRLF, PING, PONG_SIGNAL, Err, parse
from .finding import Finding, error, ok

#: A payload that is no JSON, which the API of requests with effects rejects ...
_INVALID = b"probe"
#: ... except purges, which take it for no payload, and purge. They reject two positions at once.
_INVALID_PURGE = b'{"seq":1,"keep":1}'

_PUBLISH = re.compile(r'permissions violation for publish to "(.*)"', re.IGNORECASE)


def needed(
    settings: NatsSettings,
    *,
    streams: Sequence[str],
    flavor: str | None,
    durable: str | None = None,
    by_pattern: bool = False,
    sink: bool = False,
    exactly_once: bool = False,
) -> list[str]:
    """Return the subjects to which a query must be allowed to publish, as in SECURITY.md.

    The subjects of the rows that a sink writes are not among them.

    Args:
        streams: those that are read, or written exactly once.
        flavor: ``v2``, ``partitioned`` or ``balanced``; None if nothing is read.
    """
    api, found = api_prefix(settings), []
    for stream in streams:
        found.append(f"{api}.STREAM.INFO.{stream}")
        if flavor or exactly_once:
            found += [
                f"{api}.DIRECT.GET.{stream}",
                f"{api}.STREAM.MSG.GET.{stream}",
                f"{api}.CONSUMER.CREATE.{stream}.probe",
                f"{api}.CONSUMER.MSG.NEXT.{stream}.probe",
                f"{api}.CONSUMER.DELETE.{stream}.probe",
            ]
        if flavor == "balanced" and durable:
            found += [
                f"{api}.CONSUMER.INFO.{stream}.{durable}",
                f"{api}.CONSUMER.DURABLE.CREATE.{stream}.{durable}",
                f"$JS.ACK.{stream}.{durable}.probe",
            ]
        if flavor in ("v2", "partitioned") and settings.lag_consumer:
            name = settings.lag_consumer
            found += [
                f"{api}.CONSUMER.{call}.{stream}.{name}" for call in ("INFO", "CREATE", "RESET")
            ]
        if flavor == "balanced" and durable and settings.owns_consumer:
            found.append(f"{api}.CONSUMER.RESET.{stream}.{durable}")
        if sink and settings.sink_create_stream:
            found.append(f"{api}.STREAM.CREATE.{stream}")
    if by_pattern or sink:
        found.append(f"{api}.STREAM.NAMES")
    if sink and exactly_once:
        bucket = settings.sink_bucket
        found += [
            f"{api}.STREAM.CREATE.KV_{bucket}",
            f"{api}.STREAM.MSG.GET.KV_{bucket}",
            f"{api}.STREAM.PURGE.KV_{bucket}",
            "$SYS.REQ.ACCOUNT.PING.CONNZ",
        ]
    return list(dict.fromkeys(found))


def denied(link: Connection, subjects: Iterable[str], timeout: float) -> list[str]:
    """Return those of the subjects to which the user may not publish.

    Raises ``TimeoutExpiredError`` or ``ConnectError``.
    """
    wanted = list(subjects)
    # Without a reply subject: a server answers nobody, and some APIs then do nothing at all.
    link.send(b"".join(_probe(subject) for subject in wanted) + PING)
    found: set[str] = set()
    deadline = time.monotonic() + timeout
    while True:
        events, consumed = parse(link.arrived(deadline, "the permissions"))
        link.consume(consumed)
        for event in events:
            if event is PONG_SIGNAL:
                return [each for each in wanted if each in found]
            violation = _PUBLISH.search(event.text) if isinstance(event, Err) else None
            if violation:
                found.add(violation.group(1))
            else:
                link.handle(event)


def _probe(subject: str) -> bytes:
    payload = _INVALID_PURGE if ".STREAM.PURGE." in subject else _INVALID
    return f"PUB {subject} {len(payload)}\r\n".encode() + payload + CRLF


def judge_permissions(wanted: Sequence[str], missing: Sequence[str]) -> list[Finding]:
    """Judge what `denied` has found."""
    found = [
        error(
            "permissions",
            f"the user has no permission to publish to {each}",
            f"grant the user publish to {_pattern(each)}",
        )
        for each in missing
    ]
    return found or [ok("permissions", f"the user may publish to {len(wanted)} API subjects")]


def _pattern(subject: str) -> str:
    return subject.removesuffix("probe") + ">" if subject.endswith(".probe") else subject

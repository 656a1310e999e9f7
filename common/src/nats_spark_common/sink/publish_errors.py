"""Errors of publishes: temporary or permanent, and what the user can do about them.

Source: nats-server, ``server/errors.json``.
"""

from __future__ import annotations

from typing import Any

from ..errors import PublishError

#: Errors with code 429 or 503 are temporary, except these: store failed (a full stream), resources
#: of the account or server exhausted.
_PERMANENT = {10077, 10002, 10023, 10047}

#: A replicated stream is still processing a message with this id.
_ID_IN_PROCESS = 10158

#: A message's header names a stream other than the one with its subject.
EXPECTED_ANOTHER_STREAM = 10060

#: The description of the error that a stream is full, if its storage allows no message so large.
_TOO_LARGE = "message too large"

_REMEDIES = {
    10077: "the stream is full and discards new messages (discard: new): raise its limits, or "
    "let consumers or max_age remove messages",
    10054: "raise the stream's max_msg_size, which includes headers, or make the message smaller",
    10097: "make the headers smaller: their maximum is 64 KiB",
    10109: "a sealed stream accepts no messages: write to another stream",
    10071: "the header Nats-Expected-Last-(Subject-)Sequence does not match the stream; drop the "
    "header with map_filter if messages are only copied",
    10164: "the header Nats-Expected-Last-Subject-Sequence does not match the stream",
    10070: "the header Nats-Expected-Last-Msg-Id does not match the stream",
    EXPECTED_ANOTHER_STREAM: "nats.stream.name, or the header Nats-Expected-Stream, names another "
    "stream: correct it, or remove it to write to whichever stream has the subject",
    10166: "set the stream's allow_msg_ttl, or drop the header Nats-TTL",
    10168: "set the stream's allow_msg_counter, or drop the header Nats-Incr",
    10169: "the stream counts (allow_msg_counter): set the header Nats-Incr, such as +1",
    10170: "leave the content null: the server stores the sum there",
    10188: "set the stream's allow_msg_schedules, or drop the headers Nats-Schedule-*",
    10212: "drop the headers Nats-Schedule-* and Nats-Scheduler of copied messages with map_filter",
    10052: "set the stream's allow_rollup_hdrs, or drop the header Nats-Rollup",
    10111: "set the stream's allow_rollup_hdrs, or drop the header Nats-Rollup",
    10047: "free or raise the storage of the account or server",
    10023: "free or raise the storage of the account or server",
    10002: "raise the account's limits",
}


def is_transient(body: dict[str, Any]) -> bool:
    """Return whether a retry may succeed: the server is overloaded, or a stream has no leader."""
    error = body.get("error")
    if not isinstance(error, dict):
        return False
    code = error.get("err_code")
    return code == _ID_IN_PROCESS or (error.get("code") in (429, 503) and code not in _PERMANENT)


def publish_error(subject: str, body: dict[str, Any]) -> PublishError:
    """Return the error for a message, from the server's reply that rejects it."""
    stream = f"stream {body['stream']!r}" if body.get("stream") else "the server"
    error = body.get("error")
    if not isinstance(error, dict):
        return PublishError(
            f"subject {subject!r}: {stream} stored the message, but another stream has this "
            "subject, because the server maps it to another subject: publish to the subjects of "
            "the stream itself, which nats.sink.mode=exactly-once requires"
        )
    description = error.get("description", "unknown error")
    remedy = _REMEDIES.get(int(error.get("err_code") or 0))
    if description == _TOO_LARGE:
        remedy = "a stream with file storage stores up to 32 MiB: make the message smaller"
    return PublishError(
        f"subject {subject!r}: {stream} rejected the message: {description}"
        + (f"; {remedy}" if remedy else "")
    )

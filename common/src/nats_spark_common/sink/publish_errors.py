"""What the server refuses: for the moment, or for good, and what the user can do about it.

Source: nats-server, ``server/errors.json``.
"""

from __future__ import annotations

from typing import Any

from ..errors import PublishError

#: Codes 429 and 503 ask for patience, but for these: store failed (a full stream), resources of the
#: account or server exhausted.
_FOR_GOOD = {10077, 10002, 10023, 10047}

#: A replicated stream has not settled a message with this id yet.
_ID_IN_PROCESS = 10158

#: A message asks by its header for another stream than the one that takes its subject.
EXPECTED_ANOTHER_STREAM = 10060

_REMEDIES = {
    10077: "the stream is full and discards new messages (discard: new): raise its limits, or "
    "let consumers or max_age remove messages",
    10054: "raise the stream's max_msg_size, in which headers count, or make the message smaller",
    10097: "header blocks hold up to 64 KiB",
    10109: "a sealed stream takes no more messages: write to another",
    10071: "the header Nats-Expected-Last-(Subject-)Sequence asks for another state; drop it with "
    "map_filter where messages are only copied",
    10164: "the header Nats-Expected-Last-Subject-Sequence asks for another state",
    10070: "the header Nats-Expected-Last-Msg-Id asks for another state",
    EXPECTED_ANOTHER_STREAM: "nats.stream.name, or the header Nats-Expected-Stream, names another "
    "stream: correct it, or leave it out to write to whichever stream has the subject",
    10166: "turn allow_msg_ttl on for the stream, or drop the header Nats-TTL",
    10052: "the header Nats-Rollup needs allow_rollup_hdrs on the stream",
    10111: "the header Nats-Rollup needs allow_rollup_hdrs on the stream",
    10047: "the account's or server's storage is used up",
    10023: "the account's or server's storage is used up",
    10002: "the account's limits are reached",
}


def is_transient(body: dict[str, Any]) -> bool:
    """Whether another try may succeed: an overloaded server, no leader at the moment."""
    error = body.get("error")
    if not isinstance(error, dict):
        return False
    code = error.get("err_code")
    return code == _ID_IN_PROCESS or (error.get("code") in (429, 503) and code not in _FOR_GOOD)


def refusal(subject: str, body: dict[str, Any]) -> PublishError:
    """The error for a message that the server does not take, out of its answer."""
    stream = f"stream {body['stream']!r}" if body.get("stream") else "the server"
    error = body.get("error")
    if not isinstance(error, dict):
        return PublishError(
            f"subject {subject!r}: {stream} took the message, but another stream has this subject: "
            "a subject mapping of the server leads elsewhere; nats.sink.mode=exactly-once needs "
            "the subjects that the stream itself names"
        )
    words = error.get("description", "unknown error")
    remedy = _REMEDIES.get(int(error.get("err_code") or 0))
    return PublishError(
        f"subject {subject!r}: {stream} refuses the message: {words}"
        + (f"; {remedy}" if remedy else "")
    )

"""JetStream's JSON API as values and pure functions; both planes use it.

Source: ADR-1 (API), ADR-31 (direct get), NATS docs "JetStream wire API Reference".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..connection.retry import UNREACHED
from ..errors import (
    JetStreamUnavailableError,
    NatsSparkError,
    ProtocolError,
    ServerError,
    StreamNotFoundError,
)
from ..options.settings import NatsSettings
from ..protocol.json_object import json_object
from ..protocol.operations import Msg, header_status

STREAM_NOT_FOUND = 10059
NO_MESSAGE_FOUND = 10037
STREAM_NAME_IN_USE = 10058
WRONG_LAST_SEQUENCE = 10071
#: Errors of consumers that a work queue does not allow: acks must be explicit, each subject has one
#: consumer, and it must read all messages.
REFUSED_BY_WORK_QUEUE = (10084, 10098, 10099, 10100, 10101)
JETSTREAM_NOT_ENABLED = 10076
CLUSTER_NOT_AVAILABLE = 10008
#: Errors of a cluster for a stream or consumer whose servers are all down.
OFFLINE = (10118, 10119)
JETSTREAM_NOT_ENABLED_FOR_ACCOUNT = 10039
_STREAM_IN_SUBJECT = re.compile(r"\.(?:STREAM|CONSUMER)\.(?:MSG\.)?[A-Z]+\.([^.]+)")
_NOT_ENABLED = (JETSTREAM_NOT_ENABLED, JETSTREAM_NOT_ENABLED_FOR_ACCOUNT)

NO_RESPONDERS = 503  # status of a request on a subject without subscribers

#: Minimum server version for direct gets of single messages (ADR-31) ...
DIRECT_VERSION = (2, 9)
#: ... for direct get batches ...
DIRECT_BATCH_VERSION = (2, 11)
#: ... for consumers with several filter subjects (ADR-34) ...
FILTER_SUBJECTS_VERSION = (2, 10)
#: ... for atomic batches, which may contain message ids since 2.12.1 (ADR-50) ...
ATOMIC_BATCH_VERSION = (2, 12)
#: ... and for fast-ingest batches (ADR-50).
FAST_BATCH_VERSION = (2, 14)
#: Minimum server version for resets of a consumer to a sequence (ADR-60).
RESET_VERSION = (2, 14)


class NoLeaderError(JetStreamUnavailableError):
    """The cluster elects a leader at the moment, or has lost its quorum."""


#: Errors that are temporary even before JetStream has replied once.
STARTING = (*UNREACHED, NoLeaderError)


@dataclass(frozen=True)
class StreamInfo:
    """A stream's configuration and state, from ``$JS.API.STREAM.INFO``.

    Attributes:
        created: the creation time as the server sends it; a recreated stream has another one.
        first_seq: sequence of the first message; ``last_seq + 1`` if the stream is empty.
        bytes: stored size of all messages.
        retention: ``limits``, ``interest`` or ``workqueue``.
        allow_direct: whether direct gets are allowed.
        allow_batched, allow_atomic: whether fast-ingest and atomic batches are allowed (ADR-50).
        duplicate_window: seconds for which the server detects duplicate message ids.
        replicas: number of replicas.
        transforms: whether messages are stored with other subjects than they are published to.
        sourced: whether the stream also stores messages of other streams.
        counts: whether messages are increments, whose payload is the sum so far (ADR-49).
        servers: names of the servers with a replica, the leader first; lagging replicas are
            omitted.
        clustered: whether the server is one of a cluster.
        last_ts: when the last message was stored, in RFC 3339; year 1 if none ever was.
    """

    name: str
    created: str
    first_seq: int
    last_seq: int
    messages: int
    bytes: int
    retention: str
    allow_direct: bool
    subjects: tuple[str, ...]
    allow_batched: bool = False
    allow_atomic: bool = False
    duplicate_window: float = 0.0
    replicas: int = 1
    transforms: bool = False
    sourced: bool = False
    counts: bool = False
    servers: tuple[str, ...] = ()
    clustered: bool = False
    last_ts: str = ""

    @staticmethod
    def from_json(info: Mapping[str, Any]) -> StreamInfo:
        """Parse a stream's info. Raises ``ProtocolError`` if it is not one."""
        with well_formed("stream info", info):
            config, state = info["config"], info["state"]
            last, messages = whole(state["last_seq"]), whole(state["messages"])
            # An empty stream reports first_seq 0 or last_seq + 1, depending on why it is empty.
            first = whole(state["first_seq"]) if messages else last + 1
            if first > last + 1:
                raise ValueError("its first sequence is after its last")
            return StreamInfo(
                name=string(config["name"]),
                created=string(info["created"]),
                first_seq=first,
                last_seq=last,
                messages=messages,
                bytes=whole(state["bytes"]),
                retention=string(config.get("retention", "limits")),
                allow_direct=bool(config.get("allow_direct")),
                subjects=tuple(map(string, config.get("subjects") or ())),
                allow_batched=bool(config.get("allow_batched")),
                allow_atomic=bool(config.get("allow_atomic")),
                duplicate_window=whole(config.get("duplicate_window") or 0) / 1e9,
                replicas=whole(config.get("num_replicas") or 1),
                transforms=bool(config.get("subject_transform")),
                counts=bool(config.get("allow_msg_counter")),
                sourced=bool(config.get("sources")),
                servers=_servers(info.get("cluster") or {}),
                clustered="name" in (info.get("cluster") or {}),  # a single one names itself only
                last_ts=string(state.get("last_ts", "")),
            )

    def reads_direct(self, server_version: tuple[int, ...]) -> bool:
        """Return whether a server of this version replies to direct get batches of the stream."""
        return self.allow_direct and server_version >= DIRECT_BATCH_VERSION

    @property
    def average_size(self) -> float:
        """Mean stored size of a message in bytes; 0 if there are no messages."""
        return self.bytes / self.messages if self.messages else 0.0


def _servers(cluster: Mapping[str, Any]) -> tuple[str, ...]:
    replicas = [each["name"] for each in cluster.get("replicas") or () if each.get("current")]
    return tuple(map(string, (cluster["leader"], *replicas))) if cluster.get("leader") else ()


@contextmanager
def well_formed(what: str, reply: object) -> Iterator[None]:
    """Raise ``ProtocolError`` if JSON that is read inside lacks a field, or a field is not valid.

    Args:
        what: what the JSON should be.
        reply: the JSON, shown in the error.
    """
    try:
        yield
    except NatsSparkError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ProtocolError(
            f"not a {what} of JetStream ({type(error).__name__}: {error}): {str(reply)[:200]}"
        ) from error


def whole(value: Any) -> int:
    """Return a JSON number that is a count or a sequence. Raises ``ValueError``."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r} is not a number from 0 to 2^63 - 1")
    return value


def string(value: Any) -> str:
    """Return a JSON string. Raises ``ValueError``."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a string")
    return value


def api_prefix(settings: NatsSettings) -> str:
    """Return ``$JS.API``, ``$JS.<domain>.API`` or the prefix of the settings."""
    if settings.js_api_prefix:
        return settings.js_api_prefix.rstrip(".")
    return f"$JS.{settings.domain}.API" if settings.domain else "$JS.API"


def ephemeral_consumer(inactive_seconds: float, **config: object) -> dict[str, object]:
    """Return the configuration of a consumer without acks, in memory, on one server.

    Args:
        inactive_seconds: the server removes the consumer after this time without a pull.
        config: further fields of the configuration.
    """
    return {
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": round(inactive_seconds * 1_000_000_000),
        **config,
    }


def encode(request: Mapping[str, Any]) -> bytes:
    """Return the JSON of a request, without whitespace."""
    return json.dumps(request, separators=(",", ":")).encode()


def parse_reply(reply: Msg, subject: str) -> dict[str, Any]:
    """Return the JSON of an API reply.

    Raises:
        JetStreamUnavailableError: JetStream is not available to this account, or not at the moment.
        StreamNotFoundError: the stream does not exist.
        ServerError: any other error, with the server's codes and description.
        ProtocolError: the reply is not what JetStream sends.
    """
    code, _ = header_status(reply.header) if reply.header else (0, "")
    if code == NO_RESPONDERS:
        raise JetStreamUnavailableError(
            f"no JetStream replies to {subject}: enable JetStream on the server and for this "
            "account, or set nats.domain or nats.js.api-prefix if it is in another domain"
        )
    return parse_json(reply.payload, subject)


def parse_json(payload: bytes, subject: str) -> dict[str, Any]:
    """Parse the payload of an API reply. Raises as `parse_reply`."""
    reply = json_object(payload)
    error = reply.get("error") if reply is not None else payload
    if reply is not None and error is None:
        return reply
    if not isinstance(error, dict):
        raise ProtocolError(f"{subject}: not a reply of JetStream: {payload[:80]!r}")
    with well_formed("reply", reply):
        code, err_code = whole(error.get("code", 0)), whole(error.get("err_code", 0))
    description = str(error.get("description", "unknown error"))
    if err_code == STREAM_NOT_FOUND:
        named = _STREAM_IN_SUBJECT.search(subject)
        name = named.group(1) if named else subject
        raise StreamNotFoundError(
            f"stream {name!r} does not exist: create it, or check nats.stream.name "
            "(names are case-sensitive), the account and nats.domain"
        )
    if err_code == CLUSTER_NOT_AVAILABLE:
        raise NoLeaderError(f"{subject}: {description}: the cluster has no leader")
    if err_code in OFFLINE:
        raise JetStreamUnavailableError(f"{subject}: {description}: its servers are down")
    if err_code in _NOT_ENABLED:
        raise JetStreamUnavailableError(f"{description}: enable JetStream (server option -js)")
    raise ServerError(f"{subject}: {description}", code, err_code, description)


def is_no_message(error: ServerError) -> bool:
    """Return whether a message get failed because there is no such message."""
    return error.err_code == NO_MESSAGE_FOUND or error.code == 404

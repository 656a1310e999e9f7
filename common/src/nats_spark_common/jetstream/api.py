"""JetStream's JSON API as values and pure functions; both planes use it.

Source: ADR-1 (API), ADR-31 (direct get), NATS docs "JetStream wire API Reference".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import JetStreamUnavailableError, ProtocolError, ServerError, StreamNotFoundError
from ..options.settings import NatsSettings
from ..protocol.operations import Msg, header_status

STREAM_NOT_FOUND = 10059
NO_MESSAGE_FOUND = 10037
STREAM_NAME_IN_USE = 10058
WRONG_LAST_SEQUENCE = 10071
#: A work queue takes only explicit acks, no second consumer of a subject, and every message.
REFUSED_BY_WORK_QUEUE = (10084, 10098, 10099, 10100, 10101)
JETSTREAM_NOT_ENABLED = 10076
CLUSTER_NOT_AVAILABLE = 10008
JETSTREAM_NOT_ENABLED_FOR_ACCOUNT = 10039
_STREAM_IN_SUBJECT = re.compile(r"\.(?:STREAM|CONSUMER)\.(?:MSG\.)?[A-Z]+\.([^.]+)")
_NOT_ENABLED = (JETSTREAM_NOT_ENABLED, JETSTREAM_NOT_ENABLED_FOR_ACCOUNT)

NO_RESPONDERS = 503  # status of a request that nobody takes

#: Servers from this version on answer direct gets of single messages (ADR-31).
DIRECT_VERSION = (2, 9)
#: ... and direct get batches.
DIRECT_BATCH_VERSION = (2, 11)
#: ... and take several filter subjects for a consumer (ADR-34).
FILTER_SUBJECTS_VERSION = (2, 10)
#: ... take atomic batches, which may hold message ids from 2.12.1 on (ADR-50).
ATOMIC_BATCH_VERSION = (2, 12)
#: ... and take fast-ingest batches (ADR-50).
FAST_BATCH_VERSION = (2, 14)


@dataclass(frozen=True)
class StreamInfo:
    """A stream and its state, as `$JS.API.STREAM.INFO` tells it.

    Attributes:
        created: the creation time in the server's own words; tells a recreated stream apart.
        first_seq: sequence of the first message; ``last_seq + 1`` where the stream is empty.
        bytes: stored size of all messages.
        retention: ``limits``, ``interest`` or ``workqueue``.
        allow_direct: whether direct gets are answered.
        allow_batched, allow_atomic: whether fast-ingest and atomic batches are taken (ADR-50).
        duplicate_window: seconds for which message ids are remembered.
        replicas: how many servers hold it.
        transforms: whether it stores messages under other subjects than they are published to.
        servers: names of the servers that hold it, its leader first; replicas that lag are left
            out.
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
    servers: tuple[str, ...] = ()

    @staticmethod
    def from_json(info: Mapping[str, Any]) -> StreamInfo:
        config, state = info["config"], info["state"]
        last = int(state["last_seq"])
        # An empty stream reports first_seq 0 or last_seq + 1, by how it came to be empty.
        first = int(state["first_seq"]) if state["messages"] else last + 1
        return StreamInfo(
            name=config["name"],
            created=info["created"],
            first_seq=first,
            last_seq=last,
            messages=int(state["messages"]),
            bytes=int(state["bytes"]),
            retention=config.get("retention", "limits"),
            allow_direct=bool(config.get("allow_direct")),
            subjects=tuple(config.get("subjects") or ()),
            allow_batched=bool(config.get("allow_batched")),
            allow_atomic=bool(config.get("allow_atomic")),
            duplicate_window=int(config.get("duplicate_window") or 0) / 1e9,
            replicas=int(config.get("num_replicas") or 1),
            transforms=bool(config.get("subject_transform")),
            servers=_servers(info.get("cluster") or {}),
        )

    def reads_direct(self, server_version: tuple[int, ...]) -> bool:
        """Whether a server of this version answers direct get batches of the stream."""
        return self.allow_direct and server_version >= DIRECT_BATCH_VERSION

    @property
    def average_size(self) -> float:
        """Mean stored size of a message in bytes; 0 where there is none."""
        return self.bytes / self.messages if self.messages else 0.0


def _servers(cluster: Mapping[str, Any]) -> tuple[str, ...]:
    replicas = [each["name"] for each in cluster.get("replicas") or () if each.get("current")]
    return (cluster["leader"], *replicas) if cluster.get("leader") else ()


def api_prefix(settings: NatsSettings) -> str:
    """``$JS.API``, ``$JS.<domain>.API`` or the prefix that the settings name."""
    if settings.js_api_prefix:
        return settings.js_api_prefix.rstrip(".")
    return f"$JS.{settings.domain}.API" if settings.domain else "$JS.API"


def encode(request: Mapping[str, Any]) -> bytes:
    """A request's JSON, without white space."""
    return json.dumps(request, separators=(",", ":")).encode()


def parse_reply(reply: Msg, subject: str) -> dict[str, Any]:
    """The JSON of an API reply.

    Raises:
        JetStreamUnavailableError: nobody answers at ``subject``: no JetStream for this account.
        StreamNotFoundError: the stream does not exist.
        ServerError: any other error, with the server's codes and words.
        ProtocolError: the reply is not what JetStream sends.
    """
    code, _ = header_status(reply.header) if reply.header else (0, "")
    if code == NO_RESPONDERS:
        raise JetStreamUnavailableError(
            f"no JetStream answers at {subject}: turn JetStream on at the server and for this "
            "account, or set nats.domain or nats.js.api-prefix if it lives in another domain"
        )
    return parse_json(reply.payload, subject)


def parse_json(payload: bytes, subject: str) -> dict[str, Any]:
    """`parse_reply` for a payload alone."""
    try:
        answer = json.loads(payload)
    except ValueError:
        answer = None
    error = answer.get("error") if isinstance(answer, dict) else payload
    if isinstance(answer, dict) and error is None:
        return answer
    if not isinstance(error, dict):
        raise ProtocolError(f"{subject}: not an answer of JetStream: {payload[:80]!r}")
    err_code = int(error.get("err_code", 0))
    words = str(error.get("description", "unknown error"))
    if err_code == STREAM_NOT_FOUND:
        named = _STREAM_IN_SUBJECT.search(subject)
        name = named.group(1) if named else subject
        raise StreamNotFoundError(
            f"stream {name!r} does not exist: create it, or check nats.stream.name "
            "(names are case-sensitive), the account and nats.domain"
        )
    if err_code == CLUSTER_NOT_AVAILABLE:  # between two leaders
        raise JetStreamUnavailableError(f"{subject}: {words}: the cluster has no leader")
    if err_code in _NOT_ENABLED:
        raise JetStreamUnavailableError(f"{words}: turn JetStream on (server option -js)")
    raise ServerError(f"{subject}: {words}", int(error.get("code", 0)), err_code, words)


def is_no_message(error: ServerError) -> bool:
    """Whether a message get failed because there is no such message."""
    return error.err_code == NO_MESSAGE_FOUND or error.code == 404

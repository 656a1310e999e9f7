"""Fast-ingest batches: one ack for hundreds of messages.

The server acknowledges the rows up to a number, and stores nothing after a row that it rejected or
missed. After a leader change, more rows may be stored than the reply that ends the batch counts.

Source: ADR-50 (batch publishing), nats-server 2.14 or later, streams with ``allow_batched``.
"""

from __future__ import annotations

import logging
import secrets

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..connection.connection import Connection
from ..errors import ProtocolError
from ..jetstream.api import FAST_BATCH_VERSION, whole
from ..protocol.operations import pub
from .encode import encode
from .in_flight import MAX_ROWS, Chunk
from .pub_acks import Reply
from .publish_errors import publish_error
from .rows import Rows

_log = logging.getLogger(__name__)

#: How many messages are sent per ack; the server lowers this as it sees fit.
_FLOW = 500
#: How many of these intervals may be in flight. The official clients wait at two or three.
_INTERVALS = 4

_START, _APPEND, _COMMIT, _PING = 0, 1, 2, 4

_UNKNOWN_BATCH = 10208
#: Batches are off for the stream, the server rejects their pattern or id, too many are in flight.
_NO_FAST_BATCH = (10205, 10206, 10207, 10211)


class FastBatches:
    """Encodes chunks as fast batches and applies the server's replies to them."""

    def __init__(self) -> None:
        self._supported = True
        self._flow = _FLOW
        self._acknowledged: dict[str, int] = {}

    def supported(self, link: Connection) -> bool:
        """Return whether the server may accept a fast batch."""
        return self._supported and link.info.version >= FAST_BATCH_VERSION

    def chunk(self, link: Connection, rows: Rows, max_rows: int) -> Chunk:
        """Encode rows as one batch; ``max_rows`` is the maximum of rows in flight."""
        count = len(rows)
        batch = secrets.token_hex(11)
        self._flow = min(_FLOW, max(1, max_rows // _INTERVALS))
        operations = np.full(count, _APPEND)
        operations[0], operations[-1] = _START, _COMMIT
        replies = pc.binary_join_element_wise(
            f"{link.inbox}.{batch}.{self._flow}.fail.",
            pa.array(np.arange(1, count + 1)).cast(pa.string()),
            ".",
            pa.array(operations).cast(pa.string()),
            ".$FI ",
            "",
        )
        frames = encode(rows, replies)
        return Chunk(rows, frames, batch=batch, flow=self._flow, after=dict(self._acknowledged))

    def max_in_flight(self, max_rows: int) -> int:
        """Return how many rows of a batch may be in flight."""
        # The server sends no ack before ``flow`` messages, so at least as many must be allowed.
        return max(min(_INTERVALS * self._flow, max_rows), self._flow)

    def apply(
        self, chunk: Chunk, reply: Reply, reply_suffix: str, streams: frozenset[str] | None
    ) -> int | None:
        """Apply a reply to its batch.

        Args:
            reply_suffix: the part of the reply subject after the batch id.
            streams: the streams that may store the rows; ``None`` for any.

        Returns the row that the server rejected, or ``None``.

        Raises:
            PublishError: another stream has stored the batch.
            ProtocolError: the server has dropped the batch, so how many rows it stored is unknown.
        """
        body = reply.body
        kind = body.get("type")
        if kind == "ack":
            self._flow = max(1, min(whole(body["msgs"]), MAX_ROWS))
            chunk.store_up_to(whole(body["seq"]))
        elif kind == "gap":
            pass  # the reply that closes the batch says what was stored
        elif "count" in body and "error" not in body:
            chunk.closed = True
            chunk.store_up_to(whole(body["count"]))
            if streams is not None and str(body.get("stream")) not in streams:
                raise publish_error(chunk.rows.subjects[0].as_py(), body)
            self._acknowledged[str(body["stream"])] = whole(body["seq"])
        elif self._batch_rejected(chunk, reply):
            chunk.closed = True
        else:
            row = int(body.get("seq") or 0) if kind == "err" else int(reply_suffix.split(".")[2])
            return max(0, row - 1)
        return None

    def _batch_rejected(self, chunk: Chunk, reply: Reply) -> bool:
        """Return whether the batch was rejected as a whole; rows are then published individually.

        Raises ``ProtocolError`` if the server no longer knows the batch: the reply that closed it,
        and with it the number of stored rows, was lost.
        """
        code = int((reply.body.get("error") or {}).get("err_code") or 0)
        if code == _UNKNOWN_BATCH and 0 in chunk.rejected:
            return True  # the server rejected its first row
        if code == _UNKNOWN_BATCH:
            raise ProtocolError("the server dropped a fast batch without reporting its stored rows")
        if code not in _NO_FAST_BATCH:
            return False
        _log.info("fast batch rejected: %s; publishing individually", reply.body["error"])
        self._supported = False
        chunk.unsupported = True
        return True


def ping(link: Connection, chunk: Chunk) -> None:
    """Request the state of a fast batch; the server also closes one that has a gap."""
    subject = chunk.rows.subjects[chunk.sent - 1].as_py()
    reply = f"{link.inbox}.{chunk.batch}.{chunk.flow}.fail.{chunk.sent}.{_PING}.$FI"
    link.send(pub(subject, reply, b""))

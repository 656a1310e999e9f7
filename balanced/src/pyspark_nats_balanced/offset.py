"""The end of a batch in Spark's checkpoint, with exactly the messages of the batch.

JSON: ``{"v":1,"stream":"ORDERS","created":"…","consumer":"spark","ack":"$JS.ACK.ORDERS.spark",
"consumerCreated":"…","batch":17,"messages":100000,"newest":1714564800123456789,"runs":"…",
"done":"…"}``. ``runs`` are the messages of the batch (`Deliveries.pack`), ``done`` those that the
query had committed before (`Intervals.pack`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nats_spark_common.errors import OptionError
from nats_spark_common.jetstream.api import whole

from .deliveries import Deliveries
from .intervals import Intervals

_VERSION = 1

#: Maximum intervals of committed messages in an offset: at least a batch, even if no two messages
#: are adjacent. An unshared consumer of a whole stream needs one interval.
HISTORY = 100_000


@dataclass(frozen=True)
class Offset:
    """The end of a batch.

    Attributes:
        stream, created: the stream, and its creation time, which differs if it is recreated.
        consumer: name of the durable consumer.
        ack_prefix: start of its ack subjects, without the last dot.
        batch: number of the batch in this checkpoint, from 1; 0 is the start of the query.
        deliveries: the messages of the batch.
        done: messages that were committed before the batch; of very many intervals, the newest.
        consumer_created: creation time of the consumer.
        newest: when the newest message of this and all earlier batches was stored, in nanoseconds
            since the epoch. A message under a committed sequence that was stored later is another
            message.
    """

    stream: str
    created: str
    consumer: str
    ack_prefix: str
    batch: int = 0
    deliveries: Deliveries = field(default_factory=Deliveries.empty)
    done: Intervals = field(default_factory=Intervals.empty)
    consumer_created: str = ""
    newest: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the offset as Spark logs it."""
        return {
            "v": _VERSION,
            "stream": self.stream,
            "created": self.created,
            "consumer": self.consumer,
            "consumerCreated": self.consumer_created,
            "ack": self.ack_prefix,
            "batch": self.batch,
            "messages": len(self.deliveries),
            "newest": self.newest,
            "runs": self.deliveries.pack(),
            "done": self.done.newest(HISTORY).pack(),
        }

    @staticmethod
    def from_json(logged: Mapping[str, Any]) -> Offset:
        """Return a logged offset. Raise ``OptionError`` if this source has not written it."""
        try:
            if logged["v"] != _VERSION:
                raise ValueError(f"its version is {logged['v']!r}")
            return Offset(
                stream=str(logged["stream"]),
                created=str(logged["created"]),
                consumer=str(logged["consumer"]),
                ack_prefix=str(logged["ack"]),
                batch=whole(logged["batch"]),
                deliveries=Deliveries.unpack(logged["runs"]),
                done=Intervals.unpack(logged["done"]),
                consumer_created=str(logged["consumerCreated"]),
                newest=whole(logged["newest"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise OptionError(
                f"checkpointLocation: the offset {str(logged)[:200]} was not written by this "
                f"source ({error}): use a separate checkpoint for each query, or a new one"
            ) from error

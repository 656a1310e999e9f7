"""A batch as it stands in Spark's checkpoint: exactly these messages.

JSON: ``{"v":1,"stream":"ORDERS","created":"…","consumer":"spark","ack":"$JS.ACK.ORDERS.spark",
"consumerCreated":"…","batch":17,"messages":100000,"newest":1714564800123456789,"runs":"…",
"done":"…"}``. ``runs`` are the messages of the batch that ends here, `Deliveries.pack`; ``done``
what the query had committed before, `Intervals.pack`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nats_spark_common.errors import OptionError

from .deliveries import Deliveries
from .intervals import Intervals

_VERSION = 1

#: Intervals of committed messages that an offset keeps: a batch at least, where no two messages are
#: adjacent. A consumer of a whole stream that nobody shares needs one for all.
HISTORY = 100_000


@dataclass(frozen=True)
class Offset:
    """The end of a batch.

    Attributes:
        stream, created: the stream, and its creation time, which tells it from a later one.
        consumer: the durable's name.
        ack_prefix: what the subjects of its acks begin with, without the last dot.
        batch: number of the batch in this checkpoint, from 1; 0 is the start of the query.
        deliveries: the messages of the batch.
        done: messages that were committed before the batch: the newest of them.
        consumer_created: creation time of the consumer, as ``created`` is the stream's.
        newest: when the newest message of this and all batches before was stored, in nanoseconds
            since the epoch. A message that comes under a committed sequence and is newer than that
            is another one.
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
        """As Spark logs it."""
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
        """Raises ``OptionError`` where the checkpoint holds something else."""
        try:
            if logged["v"] != _VERSION:
                raise ValueError(f"its version is {logged['v']!r}")
            return Offset(
                stream=str(logged["stream"]),
                created=str(logged["created"]),
                consumer=str(logged["consumer"]),
                ack_prefix=str(logged["ack"]),
                batch=int(logged["batch"]),
                deliveries=Deliveries.unpack(logged["runs"]),
                done=Intervals.unpack(logged["done"]),
                consumer_created=str(logged["consumerCreated"]),
                newest=int(logged["newest"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise OptionError(
                f"checkpointLocation: the offset {str(logged)[:200]} was not written by this "
                f"source ({error}): use a checkpoint of its own for each query, or a new one"
            ) from error

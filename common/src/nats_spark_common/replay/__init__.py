"""Sources whose position is in Spark's checkpoint: nats-v2 and nats-partitioned.

A batch is a range of sequences of each stream, and its offsets alone define it. Start with
`source`, which a flavor's ``DefaultSource`` inherits. `strategy` is what a flavor adds: which
streams it reads, how they share a batch, and how a batch is divided into tasks. `query` plans in
the driver, `stream_states` requests the streams' state, `offsets` is the position, and `reconcile`
compares a checkpoint with the server. `stream_reader` and `batch_reader` are what Spark calls,
`range_partition` runs in tasks, and `pushdown` narrows batch reads.
"""

from .source import ReplaySource
from .strategy import Selection, Strategy

__all__ = ["ReplaySource", "Selection", "Strategy"]

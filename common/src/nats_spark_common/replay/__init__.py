"""Reads whose position Spark's checkpoint keeps: V2's and partitioned's.

A batch is a range of sequences of each stream, and its offsets alone say which. `source` is what a
flavor's ``DefaultSource`` inherits, `layout` what it adds: which streams there are, how they share
a batch, and how a batch is divided into tasks. `query` plans in the driver (`streams` asks the
server, `offsets` is the position), `stream` and `batch` are what Spark calls, `partition` what runs
in tasks; `pushdown` narrows batch reads.
"""

from .layout import Layout, Selection
from .source import ReplaySource

__all__ = ["Layout", "ReplaySource", "Selection"]

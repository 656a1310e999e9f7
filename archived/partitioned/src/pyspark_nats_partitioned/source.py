"""The class that Spark creates for ``format("nats-partitioned")``."""

from __future__ import annotations

from nats_spark_common.replay import ReplaySource

from .strategy import ByStream


class DefaultSource(ReplaySource):
    """The streams ``<prefix>-0 … N-1``; partition i of every batch is stream i, in order."""

    flavor = "partitioned"
    path_field = "stream_prefix"
    strategy = ByStream()

"""The class that Spark creates for ``format("nats-v2")``."""

from __future__ import annotations

from nats_spark_common.replay import ReplaySource

from .strategy import ByRange


class DefaultSource(ReplaySource):
    """JetStream streams by name or pattern, each divided into several tasks."""

    flavor = "v2"
    strategy = ByRange()

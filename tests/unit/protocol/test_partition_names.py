"""Names of numbered streams."""

from __future__ import annotations

from nats_spark_common.protocol.partition_names import (
    abbreviate,
    partition_index,
    partitions_among,
)


def test_partitions_are_known_by_their_names() -> None:
    names = ["P-10", "P-2", "P-01", "P-", "P-x", "PP-3", "P-ingest", "P-0", "P-1-0", "P-٣"]
    assert partitions_among("P", names) == {0: "P-0", 2: "P-2", 10: "P-10"}
    assert partition_index("P.*", "Pxx-1") is None  # the prefix is no expression


def test_neighboring_partitions_are_shown_together() -> None:
    names = ["P-ingest", "P-0", "P-1", "P-2", "P-4", "P-5"]
    assert abbreviate("P", names) == "P-ingest, P-0 ... P-2, P-4, P-5"

"""The metadata by which the streams of a set are recognized."""

from __future__ import annotations

import pytest

from nats_spark_common.partitions.mark import Mark
from nats_spark_common.partitions.plan import plan

NEW = (2, 15, 1)


def test_the_mark_has_the_arguments_of_the_set() -> None:
    ingest, first = plan("P", "o.*", 1, ingest="I").configs(NEW)
    assert Mark.from_config(ingest) == Mark("P", 1, None, "o.*", "1", "I")
    assert Mark.from_config(first) == Mark("P", 1, 0, "o.*", "1", "I")


def test_a_copy_of_a_stream_is_not_part_of_the_set() -> None:
    first = plan("P", "o.*", 1).configs(NEW)[1]
    assert Mark.from_config(first | {"name": "BACKUP"}) is None


@pytest.mark.parametrize("metadata", [None, {}, {"nats-spark.partitions.prefix": "P"}])
def test_a_stream_with_other_metadata_has_no_mark(metadata: dict[str, str] | None) -> None:
    assert Mark.from_config({"name": "P-0", "metadata": metadata}) is None


def test_a_mark_without_a_valid_count_is_ignored() -> None:
    first = plan("P", "o.*", 1).configs(NEW)[1]
    broken = first["metadata"] | {"nats-spark.partitions.count": "many"}
    assert Mark.from_config(first | {"metadata": broken}) is None

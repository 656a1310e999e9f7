"""The format of Spark's offset log."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common.checkpoint.log_entry import LogEntry
from nats_spark_common.checkpoint.position import ConsumerPosition, ReplayPosition, positions
from nats_spark_common.errors import CheckpointError
from nats_spark_common.replay.offsets import Offset, StreamOffset

METADATA = '{"batchWatermarkMs":0,"batchTimestampMs":1764151200000,"conf":{"a":"b"}}'
ORDERS = Offset({"ORDERS": StreamOffset(17, "2026-01-01T00:00:00Z", 3)})
ENDS = st.none() | st.dictionaries(st.text(), st.integers()).map(json.dumps)
ENTRIES = st.builds(
    lambda version, metadata, ends: LogEntry(
        version, metadata, {str(i): end for i, end in enumerate(ends)}
    ),
    st.sampled_from(["v1", "v2"]),
    st.sampled_from(["", METADATA]),
    st.lists(ENDS, min_size=1, max_size=5),
)


@given(ENTRIES)
def test_an_entry_is_written_as_it_was_read(entry: LogEntry) -> None:
    assert LogEntry.parse(entry.format(), "x") == entry


def test_version_2_names_its_sources() -> None:
    entry = LogEntry.parse('v2\n{}\norders:{"a":1}\nrates:-', "x")
    assert entry.offsets == {"orders": '{"a":1}', "rates": None}
    assert entry.format() == 'v2\n{}\norders:{"a":1}\nrates:-'


@pytest.mark.parametrize("text", ["v3\n{}\n{}", "", "v1", "v1\n{}", "PK\x03"])
def test_what_is_no_entry_is_an_error_with_its_name(text: str) -> None:
    with pytest.raises(CheckpointError, match="the/file"):
        LogEntry.parse(text, "the/file")


def test_an_end_is_written_as_sparks_worker_writes_it() -> None:
    entry = LogEntry("v1", METADATA, {"0": None, "1": "{}"}).with_offset("1", ORDERS.to_json())
    assert entry.offsets == {"0": None, "1": json.dumps(ORDERS.to_json())}


def test_only_the_watermark_of_the_metadata_changes() -> None:
    changed = LogEntry("v1", METADATA, {}).at_watermark(5)
    assert json.loads(changed.metadata) == {**json.loads(METADATA), "batchWatermarkMs": 5}
    assert LogEntry("v1", "", {}).at_watermark(5).metadata == ""


def test_the_positions_of_our_sources_are_found_among_others() -> None:
    partitioned = Offset({"A-0": StreamOffset(1, "c")}, flavor="partitioned")
    balanced = {"v": 1, "stream": "S", "created": "c", "consumer": "d", "runs": "x"}
    entry = LogEntry(
        "v1",
        "",
        {
            "0": None,
            "1": json.dumps(ORDERS.to_json()),
            "2": '{"topic":{"0":5}}',
            "3": json.dumps(partitioned.to_json()),
            "4": json.dumps(balanced),
            "5": "17",
            "6": "no json",
        },
    )
    assert positions(entry, "x") == [
        ReplayPosition(1, "1", "v2", ORDERS),
        ReplayPosition(3, "3", "partitioned", partitioned),
        ConsumerPosition(4, "4", "S", "c", "d"),
    ]


def test_a_query_without_our_sources_is_an_error() -> None:
    with pytest.raises(CheckpointError, match=r"the/checkpoint .* without a NATS source"):
        positions(LogEntry("v1", "", {"0": '{"topic":{"0":5}}'}), "the/checkpoint")

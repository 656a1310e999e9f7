"""The position of a query, and its JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common import OptionError
from nats_spark_common.jetstream.api import StreamInfo
from nats_spark_common.replay.offsets import Offset, StreamOffset

INFO = StreamInfo("S", "now", 3, 9, 1, 100, "limits", True, ("S.>",))
_STREAMS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.builds(
        StreamOffset,
        st.integers(0, (1 << 63) - 1),
        st.text(max_size=12),
        st.none() | st.integers(0, (1 << 63) - 1),
    ),
    max_size=4,
)
OFFSETS = st.builds(Offset, _STREAMS, st.integers(0, 9))


@given(OFFSETS)
def test_an_offset_survives_the_checkpoint(offset: Offset) -> None:
    assert Offset.from_json(json.loads(json.dumps(offset.to_json()))) == offset


@pytest.mark.parametrize(
    "foreign",
    [
        {},
        {"topic": {"0": 5}},
        {"v": 2, "streams": {}},
        {"v": 1, "streams": {"S": 5}},
        {"v": 1, "streams": {"S": {"seq": "x", "created": ""}}},
        {"v": 1, "streams": {"S": {"seq": None, "created": ""}}},
        {"v": 1, "streams": {"S": {"seq": 5}}},
        {"v": 1, "streams": []},
        {"v": 1},
        {"v": "1", "streams": {}},
        [],
        "0",
        5,
        None,
    ],
)
def test_a_foreign_offset_is_rejected(foreign: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=r"checkpointLocation: .* was not written by this source"):
        Offset.from_json(foreign)


def test_after_is_kept_until_a_batch_reads_the_stream() -> None:
    entering = StreamOffset(4, "now", after=4)
    assert entering.advanced(0) == entering
    assert entering.advanced(3) == StreamOffset(7, "now", after=4)
    assert entering.advanced(3).advanced(2) == StreamOffset(9, "now")
    assert entering.advanced(3).advanced(0) == StreamOffset(7, "now")


def test_equal_offsets_have_equal_json() -> None:
    one, two = StreamOffset(1, "x"), StreamOffset(2, "y")
    texts = [json.dumps(Offset(o).to_json()) for o in ({"A": one, "B": two}, {"B": two, "A": one})]
    assert texts[0] == texts[1]


def test_an_offset_knows_only_its_streams() -> None:
    offset = Offset({"A": StreamOffset(1, "x")})
    assert (offset.get("A"), offset.get("B")) == (StreamOffset(1, "x"), None)


def test_the_end_of_a_stream_is_after_its_last_message() -> None:
    assert StreamOffset.end_of(INFO) == StreamOffset(9, "now")


def test_the_head_of_a_stream_is_before_its_first_message() -> None:
    assert StreamOffset.head_of(INFO) == StreamOffset(2, "now", after=2)

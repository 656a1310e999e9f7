"""What counts as data loss, and its messages."""

from __future__ import annotations

import pytest

from nats_spark_common.jetstream.api import StreamInfo
from nats_spark_common.planning.data_loss import lost_messages, recreated, truncated, vanished


def info(first: int, last: int, messages: int = 1) -> StreamInfo:
    return StreamInfo("S", "now", first, last, messages, 100, "limits", True, ("S.>",))


@pytest.mark.parametrize(
    ("first_seq", "wanted", "lost"),
    [(1, (1, 9), None), (5, (5, 9), None), (5, (1, 9), "1 to 4"), (20, (1, 9), "1 to 9")],
)
def test_only_messages_removed_from_the_head_are_lost(
    first_seq: int, wanted: tuple[int, int], lost: str | None
) -> None:
    words = lost_messages(info(first_seq, 30), *wanted)
    assert (words is None) if lost is None else (lost in str(words))


def test_nothing_is_lost_of_an_empty_range() -> None:
    assert lost_messages(info(20, 30), 9, 8) is None


@pytest.mark.parametrize(
    "words",
    [
        str(lost_messages(info(5, 30), 1, 9)),
        recreated("S", "then", "now"),
        vanished("S"),
        truncated(info(1, 30), 40),
    ],
)
def test_every_loss_names_the_stream_and_the_option_that_governs_it(words: str) -> None:
    assert "stream 'S'" in words
    assert "nats.fail.on.data.loss=false" in words


def test_the_first_sequence_of_an_empty_stream_is_after_its_last() -> None:
    state = {"first_seq": 0, "last_seq": 7, "messages": 0, "bytes": 0}
    raw = {"config": {"name": "S"}, "created": "now", "state": state}
    assert StreamInfo.from_json(raw).first_seq == 8

"""Positions: sequences, times with a zone, times before now, and positions per stream."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common import OptionError
from nats_spark_common.options.positions import (
    AtSequence,
    AtTime,
    Earliest,
    Latest,
    parse_positions,
)


@given(st.text(max_size=12))
def test_any_text_is_a_position_or_an_option_error(text: str) -> None:
    try:
        found = parse_positions("nats.start", text, Earliest())
    except OptionError:
        return
    assert found.for_stream("S") is not None


@pytest.mark.parametrize("text", ["0", str(1 << 63), "9" * 5000])
def test_what_no_sequence_can_be_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="sequences are from 1 to"):
        parse_positions("nats.start", text, Earliest())


@pytest.mark.parametrize(
    ("text", "seconds"), [("-1h", 3600), ("-90s", 90), ("- 2 D", 172800), ("-1.5h", 5400)]
)
def test_a_time_before_now_is_fixed_when_it_is_parsed(text: str, seconds: int) -> None:
    earliest = time.time_ns() - seconds * 10**9
    found = parse_positions("nats.start", text, Earliest()).default
    assert isinstance(found, AtTime)
    assert earliest <= found.ns <= time.time_ns() - seconds * 10**9


@pytest.mark.parametrize("text", ["-" + "9" * 400 + "d", "-1000000d"])
def test_a_time_before_any_stream_is_one_that_the_server_can_count(text: str) -> None:
    found = parse_positions("nats.start", text, Earliest()).default
    assert str(found).startswith("18")


@pytest.mark.parametrize("text", ["-1", "-2", "-0", "1h", "-1h30m", "-h", "--1h", "+1h", "-1y"])
def test_what_only_looks_like_a_time_before_now_is_refused(text: str) -> None:
    with pytest.raises(
        OptionError, match=r"nats\.end='.+' is not a position: use .*-30m, -1h, -2d"
    ):
        parse_positions("nats.end", text, Earliest())


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("2024-05-01T12:00:00", "2024-05-01T12:00:00Z"),
        ("2024-05-01 12:00:00.5", "2024-05-01T12:00:00.5Z"),
        ("2024-05-01 12:00", "2024-05-01T12:00:00Z"),
        ("2024-05-01", "2024-05-01T00:00:00Z"),
    ],
)
def test_a_time_without_a_zone_is_refused_with_what_to_append(text: str, remedy: str) -> None:
    with pytest.raises(OptionError) as refused:
        parse_positions("nats.start", text, Earliest())
    assert f"nats.start={text!r} has no time zone: append Z for UTC ({remedy})" in str(
        refused.value
    )
    assert isinstance(parse_positions("nats.start", remedy, Earliest()).default, AtTime)


def test_a_wrong_position_of_a_stream_names_the_stream() -> None:
    with pytest.raises(OptionError, match=r"nats\.start\[A\]='True' is not a position: use"):
        parse_positions("nats.start", '{"A": true}', Earliest())


def test_positions_per_stream() -> None:
    text = '{"A": 17, "B": "latest", "C": "1970-01-01T00:00:01.5Z"}'
    found = parse_positions("nats.start", text, Earliest())
    assert [found.for_stream(name) for name in "ABCD"] == [
        AtSequence(17),
        Latest(),
        AtTime(1_500_000_000),
        Earliest(),
    ]

"""The times of the server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common import ProtocolError
from nats_spark_common.protocol.timestamps import ns_to_rfc3339, rfc3339_to_ns


@given(st.integers(0, (1 << 63) - 1))
def test_times_survive_their_text(ns: int) -> None:
    assert rfc3339_to_ns(ns_to_rfc3339(ns)) == ns


@pytest.mark.parametrize("digits", range(10))
def test_fractions_have_up_to_nine_digits(digits: int) -> None:
    fraction = "987654321"[:digits]
    text = f"1970-01-01T00:00:00{'.' if digits else ''}{fraction}Z"
    assert rfc3339_to_ns(text) == int(fraction.ljust(9, "0"))


@pytest.mark.parametrize("text", ["2262-04-11T23:47:16.854775808Z", "9999-12-31T23:59:59Z"])
def test_a_time_beyond_64_bits_of_nanoseconds_is_rejected(text: str) -> None:
    with pytest.raises(ProtocolError, match="64 bits"):
        rfc3339_to_ns(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T02:00:00.5+02:00", 5 * 10**8),
        ("1970-01-01t00:00:00.123456789z", 123_456_789),
        ("1970-01-01 00:00:00Z", 0),
        ("1970-01-01T00:00:00.1234567899Z", 123_456_789),
        ("1969-12-31T23:59:59.5Z", -5 * 10**8),
        ("1970-01-01T00:00:00-00:30", 1800 * 10**9),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * 10**9),
        ("2262-04-11T23:47:16.854775807Z", (1 << 63) - 1),
    ],
)
def test_times_in_other_spellings(text: str, ns: int) -> None:
    assert rfc3339_to_ns(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-01-01T00:00:60Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00Z ",
        "2024-01-01T00:00:00+25:00",
        "24-01-01T00:00:00Z",
        "\u0662024-01-01T00:00:00Z",
    ],
)
def test_text_that_is_not_a_time_is_rejected(text: str) -> None:
    with pytest.raises(ProtocolError, match="not an RFC 3339 time"):
        rfc3339_to_ns(text)

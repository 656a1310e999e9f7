"""Which blocks are decoded one message after the other, because there are only few."""

from __future__ import annotations

import pytest

from nats_spark_common.reading.spans import starts_large


@pytest.mark.parametrize(
    ("block", "large"),
    [
        (b"MSG a 1 49100\r\n" + b"." * 100, False),
        (b"MSG a 1 49200\r\n" + b"." * 100, True),
        (b"HMSG a 1 12 1000000\r\nNATS/1.0\r\n\r\n", True),
        (b"HMSG a 1 12 20\r\nNATS/1.0\r\n\r\n12345678\r\nMSG a 1 99999\r\n", False),
        (b"PING\r\nMSG a 1 99999\r\n", False),
        (b"MSG a 1 99", False),
        (b"", False),
    ],
)
def test_the_first_frame_says_whether_messages_are_large(block: bytes, large: bool) -> None:
    assert starts_large(block) == large

"""Where a pattern stands in received bytes."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common.reading.spans import find_all

#: With each of the bytes that the search may start from, and with neither.
PATTERNS = st.sampled_from([b" 1 $JS.ACK.S.c.", b"HMSG _INBOX.a 1 ", b"HMSG inbox 1 ", b"01234567"])


@given(st.data())
def test_all_occurrences_are_found_and_nothing_else(data: st.DataObject) -> None:
    pattern = data.draw(PATTERNS)
    scraps = st.sampled_from([pattern, pattern[:-1], pattern[1:], b"$", b"_", b"x" * 9, b""])
    text = b"".join(data.draw(st.lists(scraps, max_size=12)))
    expected = [found.start() for found in re.finditer(re.escape(pattern), text)]
    assert find_all(text, pattern).tolist() == expected

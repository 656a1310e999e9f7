"""Numbers and tables of the command line."""

from __future__ import annotations

import pytest

from nats_spark_common.cli import text


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1023.99 * 1024, "1.0 MiB"), (None, "-")],
)
def test_sizes_are_shown_with_their_unit(number: float | None, shown: str) -> None:
    assert text.size(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0 s"), (119.0, "119.0 s"), (120.0, "2 min"), (172800, "2 d")]
)
def test_durations_are_shown_in_the_largest_fitting_unit(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_columns_are_aligned() -> None:
    assert text.table([["a", "b"], ["long", "1,000"]]) == "a         b\nlong  1,000"

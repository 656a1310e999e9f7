"""Which subjects match the subjects of a stream."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nats_spark_common.sink.targets import stream_has


def matched(patterns: list[str], subjects: list[str]) -> list[bool]:
    mask = stream_has(tuple(patterns), pa.array(subjects, pa.string()))
    assert mask.dtype == np.bool_
    return mask.tolist()


def matches(pattern: list[str], subject: list[str]) -> bool:
    """Match token by token, by the rules of the NATS documentation."""
    if pattern == [">"]:
        return len(subject) > 0
    if not pattern or not subject:
        return not pattern and not subject
    return pattern[0] in ("*", subject[0]) and matches(pattern[1:], subject[1:])


PLAIN = ["a", "b", "ab", "A", "日本", "ä", "-", "#", "&", "~", "$KV"]
TRICKY = [
    "a+",
    "a?",
    "(a",
    "[ab]",
    "a|b",
    "a*",
    ">a",
    "**",
    "^",
    "\\d",
    "{2}",
    "\\E",
    "\\",
    "(?i)a",
]
TOKENS = st.sampled_from(PLAIN + TRICKY)
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=4)


@st.composite
def patterns(draw: st.DrawFn) -> list[str]:
    head = draw(st.lists(TOKENS | st.just("*"), max_size=3))
    return [*head, draw(TOKENS | st.sampled_from(["*", ">"]))]


@given(st.lists(patterns(), max_size=4), st.lists(SUBJECTS, max_size=8))
@settings(max_examples=400)
def test_a_stream_has_a_subject_that_one_of_its_subjects_matches(
    several: list[list[str]], subjects: list[list[str]]
) -> None:
    expected = [any(matches(pattern, subject) for pattern in several) for subject in subjects]
    assert matched(list(map(".".join, several)), list(map(".".join, subjects))) == expected


@given(SUBJECTS)
def test_a_stream_has_the_subject_that_it_names(subject: list[str]) -> None:
    assert matched([".".join(subject)], [".".join(subject)]) == [True]


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("orders.*", "orders.eu", True),
        ("orders.*", "orders", False),
        ("orders.*", "orders.eu.1", False),
        ("orders.>", "orders.eu.1", True),
        ("orders.>", "orders", False),
        ("orders.>", "orders2.eu", False),
        (">", "orders", True),
        ("*.*", "a.b", True),
        ("*.*", "a", False),
        ("orders", "Orders", False),
        ("orders", "my.orders", False),
        ("orders", "orders.eu", False),
        ("a.b", "axb", False),
        ("grün.*", "grün.日本", True),
        ("$KV.b.>", "$KV.b.k", True),
    ],
)
def test_wildcards_match_whole_tokens(pattern: str, subject: str, expected: bool) -> None:
    assert matched([pattern], [subject]) == [expected]


def test_a_stream_without_subjects_matches_nothing() -> None:
    assert matched([], ["a", "a.b"]) == [False, False]


def test_the_start_of_one_subject_is_not_joined_with_the_end_of_another() -> None:
    assert matched(["a.b", "c.d"], ["a.b.d", "a.d", "a.c.d", "c.d"]) == [False, False, False, True]


def test_a_stream_may_have_very_many_subjects() -> None:
    many = [f"orders.region{number}.*.created.>" for number in range(20_000)]
    assert matched(many, ["orders.region19999.x.created.y", "other"]) == [True, False]

"""Subjects and filters."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common.protocol.subjects import (
    is_literal,
    matches,
    matches_any,
    narrow,
    overlap,
    prefix_filter,
)

TOKENS = st.sampled_from(["a", "b"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=3).map(".".join)
FILTERS = st.builds(
    lambda tokens, full: ".".join([*tokens, ">"]) if full else ".".join(tokens),
    st.lists(TOKENS | st.just("*"), min_size=1, max_size=3),
    st.booleans(),
)
EVERY_SUBJECT = [".".join(t) for n in (1, 2, 3, 4) for t in itertools.product("ab", repeat=n)]


def taken_by(filter_subject: str) -> set[str]:
    """A model: matching by walking the tokens of concrete subjects."""
    found = set()
    for subject in EVERY_SUBJECT:
        given_tokens, wanted = subject.split("."), filter_subject.split(".")
        if wanted[-1] == ">":
            fits = len(given_tokens) >= len(wanted)
            wanted, given_tokens = wanted[:-1], given_tokens[: len(wanted) - 1]
        else:
            fits = len(given_tokens) == len(wanted)
        if fits and all(w in ("*", g) for w, g in zip(wanted, given_tokens, strict=True)):
            found.add(subject)
    return found


@given(FILTERS)
def test_a_filter_matches_the_subjects_of_its_tokens(filter_subject: str) -> None:
    assert {s for s in EVERY_SUBJECT if matches(filter_subject, s)} == taken_by(filter_subject)


@given(FILTERS, FILTERS)
def test_a_filter_lies_within_another_only_if_its_subjects_do(one: str, other: str) -> None:
    if matches(one, other):
        assert taken_by(other) <= taken_by(one)


@given(FILTERS, FILTERS)
def test_filters_overlap_if_and_only_if_a_subject_matches_both(one: str, other: str) -> None:
    assert overlap(one, other) == bool(taken_by(one) & taken_by(other))


@given(st.lists(FILTERS, max_size=3).map(tuple), FILTERS)
def test_narrowing_keeps_every_subject_that_matches_both(
    filters: tuple[str, ...], extra: str
) -> None:
    wanted = {s for s in taken_by(extra) if matches_any(filters, s)}
    narrowed = narrow(filters, extra)
    kept = set() if narrowed is None else {s for s in EVERY_SUBJECT if matches_any(narrowed, s)}
    assert wanted <= kept


@given(st.lists(FILTERS, max_size=3).map(tuple), FILTERS)
def test_narrowing_adds_no_filter(filters: tuple[str, ...], extra: str) -> None:
    assert set(narrow(filters, extra) or ()) <= {*filters, extra}


def test_filters_that_exclude_each_other_narrow_to_nothing() -> None:
    assert narrow(("a.*",), "b.>") is None


def test_no_filters_match_every_subject() -> None:
    assert matches_any((), "any.thing")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("orders", None),
        ("", None),
        ("orders.", "orders.>"),
        ("orders.eu", "orders.>"),
        ("orders.eu.b", "orders.eu.>"),
        ("orders..x", None),
        (".x", None),
        ("a.*.x", None),
        ("a.>.x", None),
        ("a b.x", None),
    ],
)
def test_a_prefix_becomes_the_narrowest_filter_or_none(prefix: str, expected: str | None) -> None:
    assert prefix_filter(prefix) == expected


@pytest.mark.parametrize("subject", ["a", "a.b", "$JS.API", "a*b.c>", "grün.日本"])
def test_a_subject_of_a_message_is_literal(subject: str) -> None:
    assert is_literal(subject)


@pytest.mark.parametrize("subject", ["", ".", "a.", ".a", "a..b", "*", "a.>", "a b", "a\tb", "a\0"])
def test_an_impossible_subject_is_not_literal(subject: str) -> None:
    assert not is_literal(subject)


@given(st.text(alphabet="ab.", max_size=5))
def test_a_prefix_filter_matches_every_subject_with_the_prefix(prefix: str) -> None:
    found = prefix_filter(prefix)
    fitting = {s for s in EVERY_SUBJECT if s.startswith(prefix)}
    assert found is None or fitting <= {s for s in EVERY_SUBJECT if matches(found, s)}

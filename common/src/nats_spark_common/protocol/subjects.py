"""Subjects and filters: which subjects a filter with wildcards takes. Pure.

Source: NATS docs, "Subject-Based Messaging": ``*`` stands for one token, a closing ``>`` for one or
more.
"""

from __future__ import annotations

from itertools import combinations


def matches(filter_subject: str, subject: str) -> bool:
    """Whether ``subject`` (which may itself be a filter) lies wholly within ``filter_subject``."""
    wanted, given = filter_subject.split("."), subject.split(".")
    for i, token in enumerate(wanted):
        if token == ">":
            return len(given) > i
        if i >= len(given) or given[i] == ">":
            return False
        if token != "*" and token != given[i]:
            return False
    return len(wanted) == len(given)


def matches_any(filters: tuple[str, ...], subject: str) -> bool:
    """Whether one of the filters takes the subject; no filters take every subject."""
    return not filters or any(matches(each, subject) for each in filters)


def is_literal(subject: str) -> bool:
    """Whether the text can be the subject of a message: tokens, no wildcards, no white space."""
    return bool(subject) and not any(
        token in ("", "*", ">") or any(c.isspace() or c == "\0" for c in token)
        for token in subject.split(".")
    )


def is_name(text: str) -> bool:
    """Whether nothing in the text keeps it from being the name of a stream or consumer."""
    return text.isprintable() and not set(text) & set(" .*>/\\")


def prefix_filter(prefix: str) -> str | None:
    """The narrowest filter that takes every subject beginning with ``prefix``; None for all.

    >>> prefix_filter("orders.eu")
    'orders.>'
    """
    tokens = prefix.split(".")[:-1]
    if not tokens or not is_literal(".".join(tokens)):
        return None
    return ".".join([*tokens, ">"])


def disjoint(filters: tuple[str, ...]) -> tuple[str, ...]:
    """The filters without those that lie within others.

    Raises ``ValueError`` where two overlap otherwise: consumers and streams take no such filters.
    """
    kept = [
        each
        for each in dict.fromkeys(filters)
        if not any(matches(other, each) for other in filters if other != each)
    ]
    for one, other in combinations(kept, 2):
        if overlap(one, other):
            raise ValueError(
                f"subjects that do not overlap, as {one} and {other} do, which a server refuses: "
                "name narrower ones, or one that takes both"
            )
    return tuple(kept)


def narrow(filters: tuple[str, ...], extra: str) -> tuple[str, ...] | None:
    """Filters that take what both ``filters`` and ``extra`` take, or somewhat more.

    None where nothing fits both.
    """
    if not filters or matches_any(filters, extra):
        return (extra,)
    kept = tuple(each for each in filters if overlap(each, extra))
    return kept or None


def overlap(one: str, other: str) -> bool:
    """Whether some subject is taken by both filters."""
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(left) == len(right)

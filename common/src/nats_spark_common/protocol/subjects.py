"""Subjects and filters: which subjects a filter with wildcards matches. Pure.

Source: NATS docs, "Subject-Based Messaging": ``*`` matches one token, a final ``>`` one or more.
"""

from __future__ import annotations

from itertools import combinations


def matches(filter_subject: str, subject: str) -> bool:
    """Return whether the filter matches ``subject``, or all subjects of it if it is a filter."""
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
    """Return whether one of the filters matches the subject; no filters match every subject."""
    return not filters or any(matches(each, subject) for each in filters)


def is_literal(subject: str) -> bool:
    """Return whether the text can be a message's subject: tokens, no wildcards, no whitespace."""
    return bool(subject) and not any(
        token in ("", "*", ">") or any(c.isspace() or c == "\0" for c in token)
        for token in subject.split(".")
    )


def is_name(text: str) -> bool:
    """Return whether all characters are allowed in the name of a stream or consumer."""
    return text.isprintable() and not set(text) & set(" .*>/\\")


def prefix_filter(prefix: str) -> str | None:
    """Return the narrowest filter that matches every subject with this prefix; None if it is all.

    >>> prefix_filter("orders.eu")
    'orders.>'
    """
    tokens = prefix.split(".")[:-1]
    if not tokens or not is_literal(".".join(tokens)):
        return None
    return ".".join([*tokens, ">"])


def disjoint(filters: tuple[str, ...]) -> tuple[str, ...]:
    """Return the filters without those that another one covers.

    Raises ``ValueError`` if two overlap otherwise: servers reject such filters.
    """
    kept = [
        each
        for each in dict.fromkeys(filters)
        if not any(matches(other, each) for other in filters if other != each)
    ]
    for one, other in combinations(kept, 2):
        if overlap(one, other):
            raise ValueError(
                f"subjects that do not overlap, but {one} and {other} do, which servers reject: "
                "use narrower subjects, or one that covers both"
            )
    return tuple(kept)


def narrow(filters: tuple[str, ...], extra: str) -> tuple[str, ...] | None:
    """Return filters that match at least what both ``filters`` and ``extra`` match.

    Returns None if no subject can match both.
    """
    if not filters or matches_any(filters, extra):
        return (extra,)
    kept = tuple(each for each in filters if overlap(each, extra))
    return kept or None


def overlap(one: str, other: str) -> bool:
    """Return whether a subject exists that both filters match."""
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(left) == len(right)

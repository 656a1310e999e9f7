"""Converts Spark's filters into bounds on subject, sequence and time. Pure.

The bounds may be wider than the filters, but never narrower: Spark also evaluates the filters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ..protocol.subjects import is_literal, prefix_filter
from ..spark.newest_api import (
    EqualTo,
    Filter,
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
    StringStartsWith,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND_NS = 1000
_REPLACED = "\ufffd"


@dataclass(frozen=True)
class Bounds:
    """Limits of what a read must fetch.

    Attributes:
        first_seq, last_seq: the sequences that can match, both included.
        since_ns, until_ns: nanoseconds since the epoch; ``until_ns`` is excluded.
        subjects: filter subjects, all of which must match.
    """

    first_seq: int = 1
    last_seq: int = (1 << 63) - 1
    since_ns: int | None = None
    until_ns: int | None = None
    subjects: tuple[str, ...] = ()

    def from_seq(self, seq: int) -> Bounds:
        return replace(self, first_seq=max(self.first_seq, seq))

    def to_seq(self, seq: int) -> Bounds:
        return replace(self, last_seq=min(self.last_seq, seq))

    def from_time(self, ns: int) -> Bounds:
        return replace(self, since_ns=ns if self.since_ns is None else max(self.since_ns, ns))

    def to_time(self, ns: int) -> Bounds:
        return replace(self, until_ns=ns if self.until_ns is None else min(self.until_ns, ns))

    def on_subject(self, filter_subject: str | None) -> Bounds:
        if filter_subject is None:
            return self
        return replace(self, subjects=(*self.subjects, filter_subject))


def bounds_of(filters: Iterable[Filter]) -> Bounds:
    """Return bounds that contain every row that passes all the filters."""
    bounds = Bounds()
    for each in filters:
        column = getattr(each, "attribute", ())
        if column == ("streamSeq",):
            bounds = _by_sequence(bounds, each)
        elif column == ("timestamp",):
            bounds = _by_time(bounds, each)
        elif column == ("subject",):
            bounds = _by_subject(bounds, each)
    return bounds


def _by_sequence(bounds: Bounds, each: Filter) -> Bounds:
    match each:
        case EqualTo(value=int(seq)):
            return bounds.from_seq(seq).to_seq(seq)
        case GreaterThan(value=int(seq)):
            return bounds.from_seq(seq + 1)
        case GreaterThanOrEqual(value=int(seq)):
            return bounds.from_seq(seq)
        case LessThan(value=int(seq)):
            return bounds.to_seq(seq - 1)
        case LessThanOrEqual(value=int(seq)):
            return bounds.to_seq(seq)
    return bounds


def _by_time(bounds: Bounds, each: Filter) -> Bounds:
    """Bound the server's nanoseconds; the column has whole microseconds, rounded down."""
    ns = _nanoseconds(getattr(each, "value", None))
    if ns is None:
        return bounds
    after = ns + _MICROSECOND_NS
    match each:
        case EqualTo():
            return bounds.from_time(ns).to_time(after)
        case GreaterThan():
            return bounds.from_time(after)
        case GreaterThanOrEqual():
            return bounds.from_time(ns)
        case LessThan():
            return bounds.to_time(ns)
        case LessThanOrEqual():
            return bounds.to_time(after)
    return bounds


def _nanoseconds(value: Any) -> int | None:
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    return (value - _EPOCH) // timedelta(microseconds=1) * _MICROSECOND_NS


def _by_subject(bounds: Bounds, each: Filter) -> Bounds:
    if _REPLACED in str(getattr(each, "value", "")):
        # It replaces bytes that are not UTF-8, and the server would compare the bytes.
        return bounds
    match each:
        case EqualTo(value=str(subject)) if is_literal(subject):
            return bounds.on_subject(subject)
        case StringStartsWith(value=str(prefix)):
            return bounds.on_subject(prefix_filter(prefix))
    return bounds

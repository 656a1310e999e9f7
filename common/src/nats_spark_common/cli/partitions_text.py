"""The output of ``nats-spark partitions show``."""

from __future__ import annotations

from typing import Any

from ..partitions.mark import describe_key
from ..partitions.snapshot import Rate, SetSnapshot, StreamSnapshot
from . import text

#: A source sends a heartbeat at least once a second; a longer silence than this gets a note.
_SILENCE_SECONDS = 10.0


def as_json(prefix: str, before: SetSnapshot, after: SetSnapshot) -> dict[str, Any]:
    """Return two snapshots of a set for programs; rates are null if both are the same."""
    rates = _rates(before, after)
    total = sum(each.messages for each in after.partitions)

    def figures(each: StreamSnapshot) -> dict[str, Any]:
        rate = rates[each.name]
        return {
            "stream": each.name,
            "messages": each.messages,
            "bytes": each.bytes,
            "messages_per_second": rate and rate.messages,
            "bytes_per_second": rate and rate.bytes,
            "first_seq": each.first_seq,
            "last_seq": each.last_seq,
            "last_message_age_seconds": each.age,
        }

    partitions = [
        {
            **figures(each),
            "share": _share(each, total),
            "lag": each.lag,
            "source_heard_seconds": each.heard,
            "source_errors": list(each.errors),
        }
        for each in after.partitions
    ]
    whole = _sum([rates[each.name] for each in after.partitions])
    mark = after.mark
    return {
        "prefix": prefix,
        "subject": mark and mark.subject,
        "key": mark and mark.key,
        "interval_seconds": _seconds(before, after),
        "partitions": partitions,
        "total": {
            "messages": total,
            "bytes": sum(each.bytes for each in after.partitions),
            "messages_per_second": whole and whole.messages,
            "bytes_per_second": whole and whole.bytes,
            "lag": _lag(after.partitions),
        },
        "skew": _skew(after.partitions),
        "ingest": [figures(each) for each in after.ingest],
        "absent_sources": after.absent,
    }


def _lag(partitions: list[StreamSnapshot]) -> int | None:
    known = [each.lag for each in partitions if each.lag is not None]
    return sum(known) if known else None


def as_text(prefix: str, before: SetSnapshot, after: SetSnapshot) -> str:
    """Return two snapshots of a set as text."""
    rates = _rates(before, after)
    partitions = after.partitions
    total = sum(each.messages for each in partitions)

    def row(each: StreamSnapshot, share: str, lag: str) -> list[str]:
        return [
            each.name,
            *_amounts(each.messages, each.bytes, share, rates[each.name]),
            text.count(each.first_seq),
            text.count(each.last_seq),
            text.duration(each.age),
            lag,
        ]

    head = ["stream", "messages", "bytes", "share", "messages/s", "bytes/s", "first seq"]
    rows = [[*head, "last seq", "last message", "lag"]]
    rows += [
        row(each, text.share(_share(each, total)), text.count(each.lag)) for each in partitions
    ]
    whole = _sum([rates[each.name] for each in partitions])
    size = sum(each.bytes for each in partitions)
    amounts = _amounts(total, size, text.share(1.0 if total else None), whole)
    rows.append(["all partitions", *amounts, "", "", "", text.count(_lag(partitions))])
    rows += [row(each, "", "") for each in after.ingest]

    title = f"{prefix}: {text.plural(len(partitions), 'partition')}"
    if after.mark:
        title += f" of {after.mark.subject} by {describe_key(after.mark.key)}"
    lines = [title, "", text.table(rows), ""]
    skew = _skew(partitions)
    if skew is None:
        lines.append("skew   -")
    else:
        largest = max(partitions, key=lambda each: each.messages)
        lines.append(f"skew   {skew:.2f}: {largest.name} has {skew:.2f} times the mean")
    seconds = _seconds(before, after)
    lines.append(
        f"rates  measured over {seconds:.2f} s" if seconds else "rates  not measured (--interval 0)"
    )
    return "\n".join([*lines, *_warnings(after)])


def _amounts(messages: int, size: int, share: str, rate: Rate | None) -> list[str]:
    return [
        text.count(messages),
        text.size(size),
        share,
        text.count(rate.messages if rate else None),
        text.size(rate.bytes if rate else None, "/s"),
    ]


def _warnings(after: SetSnapshot) -> list[str]:
    lines = [f"note   the sourced stream {name} does not exist" for name in after.absent]
    for each in after.partitions:
        lines += [f"note   {each.name}: its source reports an error: {e}" for e in each.errors]
        if each.heard is not None and each.heard > _SILENCE_SECONDS and not after.absent:
            lines.append(
                f"note   {each.name} has not heard from its source for "
                f"{text.duration(each.heard)}: its lag may be greater"
            )
    return lines


def _rates(before: SetSnapshot, after: SetSnapshot) -> dict[str, Rate | None]:
    earlier = {each.name: each for each in before.streams}
    return {each.name: Rate.between(earlier[each.name], each) for each in after.streams}


def _skew(partitions: list[StreamSnapshot]) -> float | None:
    """Return the largest partition over the mean, by messages; None if there are no messages."""
    counts = [each.messages for each in partitions]
    return max(counts) * len(counts) / sum(counts) if sum(counts) else None


def _share(one: StreamSnapshot, total: int) -> float | None:
    return one.messages / total if total else None


def _sum(rates: list[Rate | None]) -> Rate | None:
    known = [rate for rate in rates if rate is not None]
    if len(known) < len(rates):
        return None
    return Rate(sum(rate.messages for rate in known), sum(rate.bytes for rate in known))


def _seconds(before: SetSnapshot, after: SetSnapshot) -> float:
    return after.partitions[0].when - before.partitions[0].when

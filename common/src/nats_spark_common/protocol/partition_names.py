"""The names of numbered streams: ``<prefix>-0``, ``<prefix>-1``, … Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: Streams whose names end in a greater number, such as a date, are no partitions.
MOST_NUMBERED = 10_000


def partition_name(prefix: str, index: int) -> str:
    """The stream of a partition."""
    return f"{prefix}-{index}"


def partition_index(prefix: str, name: str) -> int | None:
    """Which partition of the prefix a stream is by its name; None: it is none."""
    match = re.fullmatch(re.escape(prefix) + r"-(0|[1-9][0-9]{0,3})", name)
    return int(match.group(1)) if match else None


def partitions_among(prefix: str, names: Iterable[str]) -> dict[int, str]:
    """Those of the streams that are partitions of the prefix by their names, in order."""
    found = {partition_index(prefix, name): name for name in names}
    return {i: found[i] for i in sorted(i for i in found if i is not None)}


def runs(prefix: str, names: Sequence[str]) -> str:
    """Names in a line, those of neighboring partitions together: ``A-ingest, A-0 ... A-7``."""
    parts: list[list[str]] = []
    for name in names:
        last = parts[-1][-1] if parts else ""
        numbers = [each.removeprefix(f"{prefix}-") for each in (last, name)]
        if all(n.isdigit() for n in numbers) and int(numbers[1]) == int(numbers[0]) + 1:
            parts[-1].append(name)
        else:
            parts.append([name])
    return ", ".join(
        ", ".join(part) if len(part) < 3 else f"{part[0]} ... {part[-1]}" for part in parts
    )

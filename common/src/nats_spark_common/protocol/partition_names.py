"""Names of numbered streams (partitions): ``<prefix>-0``, ``<prefix>-1``, … Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: Streams whose names end in a greater number, such as a date, are not partitions.
MAX_PARTITIONS = 10_000


def partition_name(prefix: str, index: int) -> str:
    """Return the name of a partition's stream."""
    return f"{prefix}-{index}"


def partition_index(prefix: str, name: str) -> int | None:
    """Return the partition number in a stream's name; None if it is no partition of the prefix."""
    match = re.fullmatch(re.escape(prefix) + r"-(0|[1-9][0-9]{0,3})", name)
    return int(match.group(1)) if match else None


def partitions_among(prefix: str, names: Iterable[str]) -> dict[int, str]:
    """Return the names that are partitions of the prefix, by partition number, in order."""
    found = {partition_index(prefix, name): name for name in names}
    return {i: found[i] for i in sorted(i for i in found if i is not None)}


def abbreviate(prefix: str, names: Sequence[str]) -> str:
    """Join names, with consecutive partitions abbreviated: ``A-ingest, A-0 ... A-7``."""
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

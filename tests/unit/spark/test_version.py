"""What the packages say on a Spark without Python data sources."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGES = (
    "pyspark_nats",
    "pyspark_nats_v2",
    "pyspark_nats_balanced",
    "pyspark_nats_partitioned",
    "pyspark_natsjs",
    "pyspark_spark_sql_nats",
)

IMPORT = """
import importlib, sys
import nats_spark_common.errors
try:
    importlib.import_module(sys.argv[1])
except nats_spark_common.errors.UnsupportedSparkError as error:
    assert isinstance(error, ImportError)
    print(error)
"""


@pytest.fixture(scope="module")
def spark_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package ``pyspark`` that lacks what Spark 3.5 lacks."""
    folder = tmp_path_factory.mktemp("spark3")
    for package in ("pyspark", "pyspark/sql", "pyspark/sql/streaming"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
    (folder / "pyspark/__init__.py").write_text('__version__ = "3.5.8"\n')
    (folder / "pyspark/sql/__init__.py").write_text("class SparkSession: ...\n")
    return folder


@pytest.mark.parametrize("package", PACKAGES)
def test_an_import_on_spark_3_is_an_error_that_names_both_versions(
    spark_3: Path, package: str
) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    paths = [str(spark_3), *(each for each in sys.path if each.endswith("/src"))]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, package],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    needed = "4.2" if "balanced" in package else "4.0"
    assert f"needs Spark {needed} or later, but this is Spark 3.5.8" in done.stdout
    assert str(spark_3) in done.stdout

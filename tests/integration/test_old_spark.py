"""On a Spark that is too old, the user reads which version is needed and which was found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .._support import old_spark

PACKAGES = {
    "pyspark_nats": "nats",
    "pyspark_nats_v2": "nats-v2",
    "pyspark_nats_balanced": "nats-balanced",
    "pyspark_nats_partitioned": "nats-partitioned",
}

USE_ALL = f"""
import importlib, json
from nats_spark_common import UnsupportedSparkError
said = {{}}
for package in {list(PACKAGES)}:
    source = importlib.import_module(package).DefaultSource
    try:
        source({{}})
    except UnsupportedSparkError as error:
        said[source.name()] = str(error)
print(json.dumps(said))
"""

OTHER = """
from pyspark.sql.datasource import DataSource, DataSourceReader

class DefaultSource(DataSource):
    @classmethod
    def name(cls):
        return "other"

    def schema(self):
        return "number int"

    def reader(self, schema):
        return Reader()

class Reader(DataSourceReader):
    def read(self, partition):
        yield (17,)
"""

USE_IN_SPARK = """
import json
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
rows = spark.sql("select 'orders' as subject, '17' as content")
uses = {
    "stream": lambda: spark.readStream.format("nats-v2").load(),
    "batch": lambda: spark.read.format("nats-v2").load(),
    "write": lambda: rows.write.format("nats-v2").mode("append").save(),
    "chooser": lambda: spark.readStream.format("nats").load(),
}
said = {}
for name, use in uses.items():
    try:
        use()
    except Exception as error:
        said[name] = str(error)
said["other"] = spark.read.format("other").load().first().number
spark.stop()
print(json.dumps(said))
"""


def found(distribution: str, version: str) -> Path:
    try:
        return old_spark.find(distribution, version)
    except old_spark.NotAvailableError as error:
        pytest.skip(f"no {distribution} {version} here: {error}")


@pytest.mark.parametrize("version", ["4.0.1", "4.1.1"])
def test_all_packages_import_on_an_old_spark_and_say_at_use_which_is_needed(version: str) -> None:
    said = json.loads(old_spark.run(found("pyspark-client", version), USE_ALL))
    assert said.keys() == set(PACKAGES.values())
    for name, words in said.items():
        assert f'format("{name}") needs Spark 4.2 or later, but this is Spark {version}' in words
        assert "upgrade Spark" in words


@pytest.mark.slow
def test_an_old_spark_shows_the_version_needed_and_finds_the_other_python_sources(
    tmp_path: Path,
) -> None:
    (tmp_path / "pyspark_other.py").write_text(OTHER)
    folder = found("pyspark", "4.1.1")
    said = json.loads(old_spark.run(folder, USE_IN_SPARK, tmp_path).splitlines()[-1])
    assert said.pop("other") == 17
    assert said.keys() == {"stream", "batch", "write", "chooser"}
    for words in said.values():
        assert "needs Spark 4.2 or later, but this is Spark 4.1.1" in words
        assert len(words) < 1000

"""Spark sessions of the tests, in JVMs that start with little work."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession

#: For a JVM that lives for seconds or minutes: the optimizing compiler and parallel garbage
#: collection cost more than they save.
CHEAP = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xlog:disable"

#: Made by `prepare_spark`; without them, processes only start slower.
_PREPARED = Path(__file__).resolve().parents[2] / ".cache" / "spark"
ARCHIVE = _PREPARED / "classes.jsa"
HOME = _PREPARED / "home"

JVM_OPTIONS = f'{CHEAP} "-XX:SharedArchiveFile={ARCHIVE}"'


def spark_home() -> Path:
    """The folder with Spark's programs and jars: a prepared one if there is one of this pyspark."""
    installed = Path(pyspark.__file__).resolve().parent
    for home in (HOME, installed.parent / "home"):
        if (home / "jars").resolve() == installed / "jars":
            return home
    return installed


def link_home(installed: Path, home: Path) -> None:
    """Make a folder as `spark_home` from which Python workers do not import pyspark's zip file.

    Instead they import pyspark from where it is installed, which has bytecode.
    """
    shutil.rmtree(home, ignore_errors=True)
    (home / "python" / "lib").mkdir(parents=True)
    for name in ("bin", "sbin", "jars"):
        (home / name).symlink_to(installed / name)
    for file in (installed / "python" / "lib").glob("py4j-*.zip"):
        (home / "python" / "lib" / file.name).symlink_to(file)


def local_spark(
    folder: Path,
    master: str = "local[2]",
    jvm_options: str = JVM_OPTIONS,
    configuration: Mapping[str, str] | None = None,
) -> SparkSession:
    """A session whose workers run this Python; also started by processes that are to be killed."""
    # Spark looks for it with an unquoted `command -v`, which takes no path with a space in it.
    folder_of_python, python = os.path.split(sys.executable)
    os.environ["PATH"] = os.pathsep.join([folder_of_python, os.environ.get("PATH", os.defpath)])
    os.environ["PYSPARK_PYTHON"] = python
    os.environ["SPARK_HOME"] = str(spark_home())
    builder = SparkSession.builder.master(master)
    for name, value in (configuration or {}).items():
        builder = builder.config(name, value)
    session = (
        builder.appName("nats-spark tests")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.local.dir", str(folder))
        .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "FATAL")
        .config("spark.driver.extraJavaOptions", jvm_options)
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("FATAL")
    return session

"""The README's recipes for clusters, as printed, on a Spark whose executors have a bare Python."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.cluster import free_ports
from .._support.spark import JVM_OPTIONS, spark_home

SPARK = spark_home()
README = Path(__file__).parents[2] / "README.md"
COUNT = 1_000

#: What executors find by themselves: a Python without packages, perhaps none.
BARE = {
    "PATH": "/usr/bin:/bin",
    "SPARK_HOME": str(SPARK),
    "SPARK_LOCAL_IP": "127.0.0.1",
    "JDK_JAVA_OPTIONS": JVM_OPTIONS,
    **({"JAVA_HOME": os.environ["JAVA_HOME"]} if "JAVA_HOME" in os.environ else {}),
}

JOB = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
url, stream = sys.argv[1:]
options = {"nats.url": url, "nats.stream.name": stream, "nats.partitions": "4"}
frame = spark.read.format("nats-v2").options(**options).option("nats.min.range", "100").load()
pythons = spark.sparkContext.parallelize(range(4), 4).map(lambda _: sys.executable).collect()
query = (
    spark.readStream.format("nats-v2").options(**options).load()
    .writeStream.format("memory").queryName("streamed").trigger(availableNow=True).start()
)
query.awaitTermination()
print("RESULT", frame.count(), spark.table("streamed").count(), *sorted(set(pythons)))
"""

LOCAL = """
import sys
from pyspark.sql import SparkSession
build = SparkSession.builder.master("local[1]").config("spark.pyspark.python", sys.executable)
spark = build.config("spark.ui.enabled", "false").getOrCreate()
try:
    spark.read.format("nats-v2").load()
except Exception as error:
    print(error)
"""


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A standalone cluster of two workers; its master's URL."""
    folder = tmp_path_factory.mktemp("standalone")
    port, *pages = free_ports(4)
    url = f"spark://127.0.0.1:{port}"
    spot = ["--host", "127.0.0.1", "--webui-port"]
    roles = [["master.Master", "--port", str(port), *spot, str(pages[0])]]
    for page in pages[1:]:
        limits = ["--cores", "1", "--memory", "512m", "-d", str(folder / str(page))]
        roles.append(["worker.Worker", *limits, *spot, str(page), url])
    with ExitStack() as stack:
        logs = []
        for number, (role, *arguments) in enumerate(roles):
            logs.append(folder / f"{number}.log")
            log = stack.enter_context(logs[-1].open("w"))
            command = [
                str(SPARK / "bin/spark-class"),
                f"org.apache.spark.deploy.{role}",
                *arguments,
            ]
            process = subprocess.Popen(command, env=BARE, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            if not number:
                wait_until(lambda: "I have been elected leader" in logs[0].read_text(), 60)
        wait_until(lambda: logs[0].read_text().count("Registering worker") == 2, 60)
        yield url


@pytest.fixture
def filled(nats_server: EmbeddedServer, admin: Admin, stream: str) -> str:
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    return stream


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["Images or nodes that you build", "A packed environment"])
def test_a_recipe_works_as_printed(
    master: str, nats_server: EmbeddedServer, filled: str, tmp_path: Path, recipe: str
) -> None:
    everywhere = Path(sys.executable).parent
    block = re.search(rf"\*\*{recipe}\*\*.*?```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert block, "the README has the recipe"
    printed = block[1].replace("/opt/spark-env/bin", str(everywhere))
    pack_environment(tmp_path)
    (tmp_path / "job.py").write_text(JOB)
    submit = tmp_path / "bin" / "spark-submit"
    submit.parent.mkdir()
    settings = "--conf spark.driver.host=127.0.0.1 --conf spark.ui.enabled=false"
    submit.write_text(
        f'#!/bin/sh\nexec "{SPARK}/bin/spark-submit" --master {master} {settings} '
        f'--executor-memory 512m "$@" {nats_server.url} {filled}\n'
    )
    submit.chmod(0o755)
    path = os.pathsep.join([str(submit.parent), str(everywhere), BARE["PATH"]])
    done = subprocess.run(
        ["sh", "-euc", printed],
        cwd=tmp_path,
        env={**BARE, "PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    result = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), "")
    assert result, done.stderr[-3_000:]
    _, read, streamed, *pythons = result.split()
    assert (int(read), int(streamed)) == (COUNT, COUNT)
    if "packed" in recipe:  # each executor has unpacked its own
        assert all(python.endswith("/environment/bin/python") for python in pythons)


def test_a_standalone_cluster_runs_no_driver_in_python(tmp_path: Path) -> None:
    """As the README says; should Spark learn it, the README needs a recipe."""
    (tmp_path / "job.py").write_text(JOB)
    done = subprocess.run(
        [
            str(SPARK / "bin/spark-submit"),
            *("--master", "spark://127.0.0.1:1", "--deploy-mode", "cluster"),
            str(tmp_path / "job.py"),
        ],
        env=BARE,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode
    assert "not supported for python applications on standalone clusters" in done.stderr


def test_the_setting_of_sparks_python_does_not_reach_the_lookup_of_formats(tmp_path: Path) -> None:
    script = tmp_path / "local.py"
    script.write_text(LOCAL)
    said = []
    for environment in ({}, {"PYSPARK_PYTHON": sys.executable}):
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=tmp_path,
            env={**BARE, **environment},
            capture_output=True,
            text=True,
            timeout=200,
        )
        said.append(done.stdout)
    assert "DATA_SOURCE_NOT_FOUND" in said[0]
    assert "no stream is named" in said[1]


def pack_environment(folder: Path) -> None:
    """A small ``env.tar.gz`` that stands for a packed one: a Python that finds our packages."""
    made = folder / "packed"
    venv.create(made, symlinks=False)
    packages = [path for path in sys.path if path.endswith(("site-packages", "/src"))]
    (site,) = made.glob("lib/python*/site-packages")
    (site / "suite.pth").write_text("\n".join(packages) + "\n")
    with tarfile.open(folder / "env.tar.gz", "w:gz") as archive:
        archive.add(made, ".")

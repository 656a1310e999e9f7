"""A Kafka broker (KRaft, one node) and the jars of Spark's Kafka source, from Maven Central."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import SparkSession

_CACHE = Path(__file__).resolve().parent.parent / ".cache" / "kafka"

BROKER_VERSION = "4.1.0"
_BROKER = f"org.apache.kafka:kafka_2.13:{BROKER_VERSION}"
_SOURCE = "org.apache.spark:spark-sql-kafka-0-10_2.13"

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>benchmarks</groupId><artifactId>kafka</artifactId><version>1</version>
<dependencies><dependency>
<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
</dependency></dependencies></project>
"""

#: The heap and collector that Kafka's own start script sets.
_JVM = [
    "-Xms1G",
    "-Xmx1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
]

_PROPERTIES = """process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={folder}/data
num.partitions={partitions}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
"""


@dataclass(frozen=True)
class Broker:
    """A running broker, which creates topics as they are written."""

    address: str
    pid: int


@contextmanager
def broker(partitions: int) -> Iterator[Broker]:
    """Start a broker whose topics have so many partitions."""
    jars = f"{_resolve(_BROKER, 'broker')}/*"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port, controller = _free_port(), _free_port()
        properties = folder / "server.properties"
        properties.write_text(
            _PROPERTIES.format(
                port=port, controller=controller, folder=folder, partitions=partitions
            )
        )
        cluster = "bmF0cy1zcGFyay1iZW5jaA"  # any 16 bytes in base64
        tool = ["java", "-cp", jars, "kafka.tools.StorageTool", "format", "--standalone"]
        subprocess.run(
            [*tool, "-t", cluster, "-c", str(properties)], check=True, capture_output=True
        )
        command = ["java", *_JVM, "-cp", jars, "kafka.Kafka", str(properties)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await_port(port, process, folder / "log")
            yield Broker(f"127.0.0.1:{port}", process.pid)
        finally:
            process.kill()
            process.wait()


def source_jars(spark_version: str) -> str:
    """Return the jars of Spark's Kafka source, as ``spark.jars`` takes them."""
    folder = _resolve(f"{_SOURCE}:{spark_version}", f"source-{spark_version}")
    # Scala, Hadoop and slf4j are Spark's own.
    given = ("scala-", "hadoop-", "slf4j-", "spark-tags", "jsr305", "lz4-", "snappy-")
    jars = [each for each in sorted(folder.glob("*.jar")) if not each.name.startswith(given)]
    return ",".join(str(each) for each in jars)


class Producer:
    """Kafka's producer in the driver's JVM."""

    def __init__(self, session: SparkSession, address: str) -> None:
        self._jvm = session.sparkContext._jvm
        assert self._jvm is not None
        properties = self._jvm.java.util.Properties()
        properties.setProperty("bootstrap.servers", address)
        serializer = "org.apache.kafka.common.serialization.ByteArraySerializer"
        properties.setProperty("key.serializer", serializer)
        properties.setProperty("value.serializer", serializer)
        self._producer = self._jvm.org.apache.kafka.clients.producer.KafkaProducer(properties)

    def send(self, topic: str, value: bytes) -> None:
        """Send a message; it is stored after `flush`."""
        record = self._jvm.org.apache.kafka.clients.producer.ProducerRecord(topic, bytearray(value))
        self._producer.send(record)

    def flush(self) -> None:
        self._producer.flush()

    def close(self) -> None:
        self._producer.close()


def _resolve(coordinates: str, name: str) -> Path:
    """Return a folder with an artifact's jar and those that it needs."""
    folder = _CACHE / name
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        group, artifact, version = coordinates.split(":")
        pom = folder / "pom.xml"
        pom.write_text(_POM.format(group=group, artifact=artifact, version=version))
        command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={folder}"], capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{coordinates} cannot be resolved with Maven:\n{done.stdout}")
        (folder / "complete").touch()
    return folder


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the Kafka broker did not start:\n{log.read_text()[-3000:]}")

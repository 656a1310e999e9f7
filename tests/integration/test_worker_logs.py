"""What the processes of Spark log, of a real query."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nkeys
import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin
from .._support.credentials import make_certificates, make_jwt_world, new_nkey

QUERY = """
import sys
from pathlib import Path
from tests._support.queries import frame
from tests._support.spark import local_spark

folder, url, stream = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
spark = local_spark(folder / "spark")
writer = frame(spark, url, stream).writeStream.format("noop").trigger(availableNow=True)
query = writer.option("checkpointLocation", str(folder / "checkpoint")).start()
query.awaitTermination()
print(query.id)
spark.stop()
"""

#: Reads and writes with each of the given sets of options, and prints what those of them raise that
#: are wrong. Everything but py4j, which logs the calls of the program itself, logs at DEBUG.
QUERIES = """
import json, logging, sys
from pathlib import Path
from tests._support.spark import local_spark

logging.basicConfig(format="%(asctime)s %(name)s %(message)s")
for name in ("nats", "nats_spark_common", "pyspark_nats_v2"):
    logging.getLogger(name).setLevel(logging.DEBUG)
folder = Path(sys.argv[1])
spark = local_spark(folder / "spark")
spark.sparkContext.setLogLevel("INFO")
for number, (right, wrong) in enumerate(json.load(sys.stdin)):
    frame = spark.readStream.format("nats-v2").options(**right).option("nats.stream.name", "S")
    rows = frame.load().selectExpr("'T.x' as subject", "content")
    writer = rows.writeStream.format("nats-v2").options(**right).trigger(availableNow=True)
    writer = writer.option("checkpointLocation", str(folder / f"checkpoint-{number}"))
    writer.option("nats.sink.mode", "exactly-once").start().awaitTermination()
    rows = spark.range(3).selectExpr("'T.y' as subject", "'x' as content")
    for action in (
        spark.read.format("nats-v2").options(**wrong).option("nats.stream.name", "S").load,
        rows.write.format("nats-v2").options(**wrong).mode("append").save,
    ):
        try:
            action()
        except Exception as error:
            print("refused:", error)
spark.stop()
"""

#: Its tasks log, at INFO, that they read through a consumer instead.
NO_DIRECT_GETS = """
authorization { users [
    { user: admin, password: pw }
    { user: spark, password: pw, permissions: { publish: { deny: ["$JS.API.DIRECT.GET.>"] } } }
] }
"""


def logged(folder: Path, stream: str, **environment: str) -> tuple[str, list[str]]:
    """Run a query; return its id and the lines about the stream that its processes log."""
    with EmbeddedServer(NO_DIRECT_GETS) as server:
        admin_url, url = (
            server.url.replace("nats://", f"nats://{user}:pw@") for user in ("admin", "spark")
        )
        with closing(Admin(admin_url)) as admin:
            admin.create_stream(stream)
            admin.fill(stream, 10)
        ran = subprocess.run(
            [sys.executable, "-c", QUERY, str(folder), url, stream],
            env={**os.environ, **environment},
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
    return ran.stdout.strip(), [line for line in ran.stderr.splitlines() if stream in line]


@pytest.mark.slow
def test_tasks_log_their_query_and_batch_as_json(tmp_path: Path, stream: str) -> None:
    environment = {"NATS_SPARK_LOG_LEVEL": "info", "NATS_SPARK_LOG_FORMAT": "json"}
    query, lines = logged(tmp_path, stream, **environment)
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    (task, *_) = [each for each in found if "through a consumer" in each["message"]]
    assert (task["queryId"], task["batchId"], task["partition"]) == (query, "0", 0)
    assert (task["level"], task["logger"]) == ("INFO", "nats_spark_common.reading.range_reader")
    (planner,) = [each for each in found if each["message"].startswith("query at ")]
    assert planner["message"] == f"query at {stream}:0"
    assert "queryId" not in planner


@dataclass(frozen=True)
class Login:
    """A server that requires secrets, the options with the right ones, and with wrong ones.

    Attributes:
        admin: options of nats-py.
    """

    config: str
    right: dict[str, str]
    wrong: dict[str, str]
    admin: dict[str, Any] = field(default_factory=dict)


def logins(folder: Path) -> Iterator[Login]:
    """A server for each kind of secret."""
    certificates, others = (make_certificates(folder / name) for name in ("one", "two"))
    context = ssl.create_default_context(cafile=str(certificates.ca))
    context.load_cert_chain(certificates.client_cert, certificates.client_key)
    tls = {
        "nats.tls.ca.pem": certificates.ca.read_text(),
        "nats.tls.cert.pem": certificates.client_cert.read_text(),
    }
    key = "nats.tls.key.secret"
    deny = 'permissions: { publish: { deny: ["$JS.API.DIRECT.GET.>"] } }'  # tasks log that
    yield Login(
        f"authorization {{ users: [ {{ user: ada, password: passwordOne, {deny} }} ] }}\n"
        + certificates.server_block(", verify: true"),
        {**tls, "nats.password": "passwordOne", key: certificates.client_key.read_text()},
        {**tls, "nats.password": "passwordTwo", key: others.client_key.read_text()},
        {"tls": context, "user": "ada", "password": "passwordOne"},
    )
    yield Login(
        "authorization { token: tokenOne }",
        {"nats.token": "tokenOne"},
        {"nats.token": "tokenTwo"},
        {"token": "tokenOne"},
    )
    (seed, public), (other, _) = (new_nkey(nkeys.PREFIX_BYTE_USER) for _ in range(2))
    yield Login(
        f"authorization {{ users = [ {{ nkey: {public} }} ] }}",
        {"nats.nkey.seed.secret": seed},
        {"nats.nkey.seed.secret": other},
        {"nkeys_seed_str": seed},
    )
    world = make_jwt_world()
    file = folder / "user.creds"
    file.write_text(world.credentials)
    yield Login(
        world.config,
        {"nats.credential.secret": world.credentials},
        {"nats.credential.secret": make_jwt_world().credentials},
        {"user_credentials": str(file)},
    )


def secrets_of(options: dict[str, str]) -> set[str]:
    """What of the options may not be logged, line by line."""
    values = [value for name, value in options.items() if not name.startswith("nats.tls.c")]
    lines = {line for value in values for line in value.splitlines()}
    return {line for line in lines if "-----" not in line and "IMPORTANT" not in line and line}


@pytest.mark.slow
def test_no_secret_is_logged(tmp_path: Path) -> None:
    """By no process, at any level, nor in Spark's event log."""
    for name in ("one", "two", "events"):
        (tmp_path / name).mkdir()
    runs, secrets = [], set[str]()
    with ExitStack() as stack:
        for login in logins(tmp_path):
            server = stack.enter_context(EmbeddedServer(login.config))
            with closing(Admin(server.url, **login.admin)) as admin:
                for name in ("S", "T"):
                    admin.create_stream(name)
                admin.fill("S", 10)
            user = {"nats.user": "ada"} if "nats.password" in login.right else {}
            common = {"nats.url": server.url, "nats.retry.count": "0", **user}
            runs.append(({**common, **login.right}, {**common, **login.wrong}))
            secrets |= secrets_of(login.right) | secrets_of(login.wrong)
        events = {"enabled": "true", "compress": "false", "dir": tmp_path / "events"}
        submit = " ".join(f"--conf spark.eventLog.{name}={value}" for name, value in events.items())
        ran = subprocess.run(
            [sys.executable, "-c", QUERIES, str(tmp_path)],
            env={
                **os.environ,
                "NATS_SPARK_LOG_LEVEL": "DEBUG",
                "NATS_SPARK_LOG_FORMAT": "json",
                "PYSPARK_SUBMIT_ARGS": f"{submit} pyspark-shell",
            },
            cwd=Path(__file__).resolve().parents[2],
            input=json.dumps(runs),
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr[-5_000:]
    assert ran.stdout.count("refused:") == 2 * len(runs), ran.stdout
    logs = [each for each in (tmp_path / "events").rglob("*") if each.is_file()]
    written = "\n".join([ran.stdout, ran.stderr, *(each.read_text() for each in logs)])
    assert "query at S:" in written, "the planner logs"
    assert re.search(r'through a consumer.*"partition": 0', written), "tasks log"
    assert "SparkListenerApplicationEnd" in written
    assert len(secrets) > 12
    assert [each for each in secrets if each in written] == []

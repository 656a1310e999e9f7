"""``nats-spark doctor`` against servers with known faults."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nats_spark_common.connection.connect import connect
from nats_spark_common.diagnose.environment import judge_environment
from nats_spark_common.diagnose.finding import Finding
from nats_spark_common.diagnose.permissions import denied, needed
from nats_spark_common.embedded import EmbeddedServer

from ..._support import consuming
from ..._support.admin import Admin, mirror
from ..._support.credentials import make_certificates
from ..._support.options import options, settings
from ..._support.writing import numbered, write
from .conftest import Command

AsJson = Callable[..., Any]


@pytest.fixture(scope="module")
def of_this_python() -> list[Finding]:
    """What the doctor finds of this machine's interpreters, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        return list(judge_environment())


@pytest.fixture(autouse=True)
def _this_python(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    of_this_python: list[Finding],
) -> None:
    """Examine the interpreters once for all tests, but for those that change them."""
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    if "tmp_path" not in request.fixturenames:
        module = importlib.import_module("nats_spark_common.cli.doctor")
        monkeypatch.setattr(module, "judge_environment", lambda: iter(of_this_python))


def bad(found: list[dict[str, Any]]) -> list[str]:
    """The facts of the findings that ask for something."""
    return [
        f"{each['severity']} {each['subject']}: {each['fact']}"
        for each in found
        if each["severity"] in ("error", "warning")
    ]


@pytest.fixture
def doctor(as_json: AsJson) -> Callable[..., list[dict[str, Any]]]:
    """Run the doctor; return its findings. The exit code must agree with them."""

    def run(*arguments: str, **where: Any) -> list[dict[str, Any]]:
        code = where.pop("code", 0)
        found: list[dict[str, Any]] = as_json("doctor", *arguments, code=code, **where)
        assert bool(bad(found)) == bool(code)
        return found

    return run


Doctor = Callable[..., list[dict[str, Any]]]


def test_a_sound_set_up_has_nothing_to_do(
    doctor: Doctor, command: Command, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    found = doctor("--stream", stream)
    subjects = [each["subject"] for each in found]
    for wanted in ("pyspark", "Java", "data sources", "account", "permissions", f"stream {stream}"):
        assert wanted in subjects
    code, out, _ = command("doctor", "--stream", stream)
    assert code == 0
    assert "nothing to do" in out


@pytest.mark.parametrize(
    ("config", "arguments", "fact"),
    [
        ({"retention": "workqueue"}, [], "error stream {}: is a work queue"),
        ({"retention": "interest"}, [], "warning stream {}: keeps a message only until"),
        ({"allow_direct": False}, [], "warning stream {}: has allow_direct off"),
        ({"max_age": 60}, [], "warning stream {}: keeps messages for 60 s"),
        ({"no_ack": True}, ["--sink"], "error stream {}: does not acknowledge messages"),
        (
            {"duplicate_window": 10},
            ["--sink", "-o", "nats.sink.mode=exactly-once"],
            "warning stream {}: remembers message ids for 10 s",
        ),
    ],
)
def test_what_a_stream_lacks_is_found(
    doctor: Doctor,
    admin: Admin,
    stream: str,
    config: dict[str, Any],
    arguments: list[str],
    fact: str,
) -> None:
    admin.create_stream(stream, **config)
    found = bad(doctor("--stream", stream, *arguments, code=1))
    assert any(each.startswith(fact.format(stream)) for each in found), found


def test_a_work_queue_is_fine_for_balanced(doctor: Doctor, admin: Admin, stream: str) -> None:
    admin.create_stream(stream, retention="workqueue")
    found = doctor("--stream", stream, "--durable", "spark")
    facts = {each["subject"]: each["fact"] for each in found}
    assert facts["consumer spark"] == "does not exist; the query creates it"


@pytest.mark.parametrize(
    ("config", "fact"),
    [
        ({"max_ack_pending": 10}, "has max_ack_pending 10: batches end there"),
        ({"max_deliver": 3}, "stops delivering a message after 3 attempts"),
        ({"ack_wait": 2}, "redelivers messages that are not acknowledged within 2 s"),
        ({"inactive_threshold": 60.0}, "is deleted after 60 s without a pull"),
        ({"deliver_subject": "push.here"}, "is a push consumer"),
        ({"ack_policy": "all"}, "has ack_policy all, and the options ask for explicit"),
    ],
)
def test_what_a_consumer_lacks_is_found(
    doctor: Doctor, admin: Admin, stream: str, config: dict[str, Any], fact: str
) -> None:
    admin.create_stream(stream)
    consuming.durable(admin, stream, **{"max_ack_pending": 200_000, **config})
    found = bad(doctor("--stream", stream, "--durable", consuming.DURABLE, code=1))
    assert any(fact in each for each in found), found


def test_a_paused_consumer_is_found(doctor: Doctor, admin: Admin, stream: str) -> None:
    admin.create_stream(stream)
    consuming.durable(admin, stream, max_ack_pending=200_000)
    until = {"pause_until": "2999-01-01T00:00:00Z"}
    admin.api(f"CONSUMER.PAUSE.{stream}.{consuming.DURABLE}", **until)
    found = bad(doctor("--stream", stream, "--durable", consuming.DURABLE, code=1))
    assert any("is paused until 2999-01-01" in each for each in found), found


def test_mirrors_that_answer_direct_gets_are_named(
    doctor: Doctor, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 5)
    mirror(admin, f"{stream}M", stream)
    found = doctor("--stream", stream)
    assert any(f"{stream}M" in each["fact"] for each in found if each["severity"] == "info")


def test_a_stream_that_does_not_exist_is_found(doctor: Doctor, stream: str) -> None:
    found = bad(doctor("--stream", stream, code=1))
    assert found == [f"error stream {stream}: does not exist"]


def test_an_old_server_is_told_from_a_new_one(
    doctor: Doctor, server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    found = doctor("--stream", stream, url=server.url)
    (version,) = [each for each in found if each["subject"].startswith("server ")]
    old = "2.9.10" in version["fact"]
    assert version["severity"] == ("info" if old else "ok")


LIMITED = """
authorization { users [
    { user: admin, password: pw }
    { user: spark, password: pw, permissions: {
        publish: { deny: ["$JS.API.DIRECT.GET.>", "$JS.API.CONSUMER.CREATE.>", "$KV.>"] }
    } }
] }
"""


@pytest.fixture
def limited() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(LIMITED) as server:
        yield server


def as_user(server: EmbeddedServer, user: str) -> str:
    return server.url.replace("nats://", f"nats://{user}:pw@")


def test_missing_permissions_are_named(
    doctor: Doctor, limited: EmbeddedServer, stream: str
) -> None:
    with closing(Admin(as_user(limited, "admin"))) as admin:
        admin.create_stream(stream)
    found = bad(doctor("--stream", stream, url=as_user(limited, "spark"), code=1))
    subjects = [f"$JS.API.DIRECT.GET.{stream}", f"$JS.API.CONSUMER.CREATE.{stream}.probe"]
    fact = "error permissions: the user has no permission to publish to"
    assert found == [f"{fact} {each}" for each in subjects]


def test_the_password_is_not_printed(
    command: Command, limited: EmbeddedServer, stream: str
) -> None:
    url = limited.url.replace("nats://", "nats://spark:hunter2@")
    code, out, err = command("doctor", "--stream", stream, url=url)
    assert code == 2
    assert "hunter2" not in out + err


def test_probing_permissions_changes_nothing(server: EmbeddedServer, server_admin: Admin) -> None:
    stream, admin = "PROBED", server_admin
    admin.create_stream(stream)
    admin.fill(stream, 10)
    consuming.durable(admin, stream)
    consuming.durable(admin, stream, "probe")
    write(options(server.url, sink_mode="exactly-once"), numbered(stream, 10))
    names = [stream, "KV_nats_spark_sink"]

    def state() -> list[Any]:
        streams = [admin.api(f"STREAM.INFO.{name}") for name in names]
        consumers = [
            admin.api(f"CONSUMER.INFO.{stream}.{name}") for name in (consuming.DURABLE, "probe")
        ]
        return [
            [each["state"], each["config"], each.get("ack_floor"), each.get("num_pending")]
            for each in ({"state": None, **found} for found in (*streams, *consumers))
        ]

    before, existing = state(), admin.api("STREAM.NAMES")["streams"]
    everything = needed(
        settings(),
        streams=names,
        flavor="balanced",
        durable=consuming.DURABLE,
        by_pattern=True,
        sink=True,
        exactly_once=True,
    )
    assert len(everything) > 15
    with connect(settings(url=server.url)) as link:
        assert denied(link, everything, 10.0) == []
    assert state() == before
    assert admin.api("STREAM.NAMES")["streams"] == existing
    admin.delete_stream(stream)


def test_the_probed_permissions_are_the_documented_ones() -> None:
    document = (Path(__file__).resolve().parents[3] / "SECURITY.md").read_text()
    everything = needed(
        settings(),
        streams=["<stream>"],
        flavor="balanced",
        durable="<durable>",
        by_pattern=True,
        sink=True,
        exactly_once=True,
    )
    for subject in everything:
        shown = subject.replace("KV_nats_spark_sink", "KV_<bucket>").replace(".probe", ".>")
        assert f"`{shown}`" in document


def test_a_full_account_is_found(doctor: Doctor, stream: str) -> None:
    config = """
    accounts { A: { jetstream: { max_streams: 1 }, users: [ { user: a, password: pw } ] } }
    """
    with EmbeddedServer(config) as server:
        url = as_user(server, "a")
        with closing(Admin(url)) as admin:
            admin.create_stream(stream)
        found = bad(doctor("--stream", stream, url=url, code=1))
    assert found == ["error account: 1 of 1 streams are used"]


def test_a_certificate_that_expires_soon_is_found(
    doctor: Doctor, tmp_path: Path, stream: str
) -> None:
    certificates = make_certificates(tmp_path)
    with EmbeddedServer(certificates.server_block()) as server:
        tls = ["-o", f"nats.tls.ca={certificates.ca}"]
        tls += ["-o", f"nats.tls.cert={certificates.client_cert}"]
        tls += ["-o", f"nats.tls.key={certificates.client_key}"]
        found = doctor("--stream", stream, *tls, url=server.url, code=1)
    subjects = {each["subject"]: each["severity"] for each in found}
    assert subjects["server certificate"] == "warning"
    assert subjects["client certificate"] == "warning"


def test_a_server_that_is_down_is_found(doctor: Doctor, admin: Admin, stream: str) -> None:
    admin.create_stream(stream)
    found = bad(doctor("--stream", stream, url=f"{admin.url},nats://127.0.0.1:1", code=1))
    (problem,) = found
    assert problem.startswith("warning server 127.0.0.1:1: cannot connect")


def test_an_interpreter_without_the_packages_is_found(
    doctor: Doctor, admin: Admin, stream: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    admin.create_stream(stream)
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setenv("PYSPARK_PYTHON", str(bare))
    found = bad(doctor("--stream", stream, code=1))
    (problem,) = found
    assert problem.startswith(f"error PYSPARK_PYTHON={bare}: has no pyspark")


def test_a_package_that_breaks_sparks_look_up_is_found(
    doctor: Doctor, admin: Admin, stream: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    admin.create_stream(stream)
    (tmp_path / "pyspark_broken.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = bad(doctor("--stream", stream, code=1))
    (problem,) = found
    assert problem.startswith("error package pyspark_broken: cannot be imported")
    assert "no_such_module" in problem


@pytest.mark.slow
def test_the_executors_of_a_cluster_are_compared(
    command: Command, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "nats_spark_common.cli", "doctor", "--stream", stream),
            *("--url", admin.url, "--master", "local-cluster[1,1,1024]", "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(ran.stdout)
    executors = [each for each in found if each["subject"].startswith("executor on ")]
    assert [each["severity"] for each in executors] == ["ok"], found

"""Arguments of ``nats-spark partitions``: wrong ones, secrets, and where the server is named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from nats_spark_common.cli import main
from nats_spark_common.embedded import EmbeddedServer

from ...._support.admin import Admin
from ...._support.partitions_command import Run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "a.b", "--subject", "a.*", "--partitions", "2"], "PREFIX 'a.b'"),
        (["create", "a", "--subject", ">", "--partitions", "2"], "--subject '>'"),
        (["create", "a", "--subject", "*.>", "--partitions", "2"], "--subject '*.>'"),
        (["create", "a", "--subject", "a.*", "--partitions", "0"], "--partitions 0"),
        (
            ["create", "a", "--subject", "a.*", "--partitions", "x"],
            "--partitions: 'x' is not a valid int",
        ),
        (["create", "a", "--subject", "a.*", "--partitions", "2", "--key", "2"], "--key 2"),
        (
            ["create", "a", "--subject", "a.*", "--partitions", "2", "--max-age", "soon"],
            "--max-age: 'soon': expected a duration",
        ),
        (
            ["create", "a", "--subject", "a.*", "--partitions", "2", "--max-bytes", "0"],
            "--max-bytes: '0' is not greater than 0",
        ),
        (
            ["create", "a", "--subject", "a.*", "--partitions", "2", "--replicas", "9"],
            "--replicas: 9 is not in the range",
        ),
        (["create", "a"], "Missing option '--subject'"),
        (["show", "a.*"], "PREFIX 'a.*'"),
        (["show", "a", "--intervall", "1s"], "unknown option --intervall"),
        (["delete", "a b"], "PREFIX 'a b'"),
        (["show", "a", "-o", "nats.strem.name=x"], "did you mean nats.stream.name"),
        (["show", "a", "-o", "user=x"], "use a name that begins with nats."),
        (["show", "a", "-o", "nats.user=x", "-o", "nats.USER=y"], "-o nats.USER is given twice"),
        (["show", "a", "-o", "nats.url=nats://h"], "--url and -o nats.url set the same option"),
        (["show", "a", "--context", "no-such-context"], "nats.context=no-such-context"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(
    fails: Callable[..., str], arguments: list[str], words: str
) -> None:
    assert words in fails(*arguments, code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "hunter2"],
        ["-o", "nats.password", "hunter2"],
        ["-o", "nats.user=u", "-o", "nats.password=hunter2"],
        ["-o", "nats.token=hunter2"],
    ],
)
def test_secrets_are_not_printed(run: Run, accounts: EmbeddedServer, arguments: list[str]) -> None:
    code, out, err = run("show", "X", *arguments, url=accounts.url)
    assert code in (1, 2)
    assert "hunter2" not in out + err


def test_the_environment_and_contexts_name_the_server(
    admin: Admin,
    nats_server: EmbeddedServer,
    stream: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    admin.create_stream(f"{stream}-0")
    show = ["partitions", "show", stream, "--interval", "0"]
    context = tmp_path / "here.json"
    context.write_text(json.dumps({"url": nats_server.url}))
    assert main([*show, "--context", str(context)]) == 0
    monkeypatch.setenv("NATS_URL", nats_server.url)
    assert main(show) == 0
    capsys.readouterr()


def test_the_command_runs_as_a_module(nats_server: EmbeddedServer, stream: str) -> None:
    command = [sys.executable, "-m", "nats_spark_common.cli", "partitions"]
    where = ["-s", nats_server.url]
    arguments = ["create", stream, "--subject", f"{stream}.*", "--partitions", "2"]
    created = subprocess.run(
        [*command, *arguments, *where], capture_output=True, text=True, check=True
    )
    assert created.stdout.startswith(f"created  {stream}-ingest, {stream}-0, {stream}-1\n")
    missing = subprocess.run(
        [*command, "show", f"no{stream}", *where], capture_output=True, text=True, check=False
    )
    assert missing.returncode == 1
    assert missing.stderr.startswith(f"nats-spark: stream no{stream}-0 does not exist")
    assert "Traceback" not in missing.stderr

"""``create`` when the server rejects it: what is rolled back, kept and reported."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.control import Control

from ...._support.admin import Admin
from ...._support.partitions_command import Run, as_user, names, wait_for


def half(prefix: str) -> list[str]:
    timeout = ["-o", "nats.request.timeout=400ms"]
    return ["create", prefix, "--subject", f"{prefix}.*.>", "--partitions", "3", *timeout]


def test_a_rejected_stream_rolls_back_those_before_it(
    fails: Callable[..., str], accounts: EmbeddedServer, account_admin: Admin
) -> None:
    line = fails(*half("HALF"), url=as_user(accounts, "some"))
    assert "stream HALF-1 could not be created: the server reports: " in line
    assert "rolled back: HALF-ingest, HALF-0" in line
    assert names(account_admin, "HALF") == []


def test_a_limit_of_the_account_rolls_back_the_created_streams(
    fails: Callable[..., str], accounts: EmbeddedServer
) -> None:
    line = fails(*half("L"), url=as_user(accounts, "limited"))
    assert "stream L-1 could not be created: maximum number of streams reached" in line
    assert "rolled back: L-ingest, L-0" in line
    admin = Admin(as_user(accounts, "limited"))
    assert names(admin) == []
    admin.close()


def test_a_stream_with_messages_is_not_rolled_back(
    fails: Callable[..., str],
    accounts: EmbeddedServer,
    account_admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = Control.api

    def publishing(self: Control, call: str, request: Any = None) -> dict[str, Any]:
        """FULL-1 cannot be created; a message is stored before that."""
        if call == "STREAM.CREATE.FULL-1":
            account_admin.publish("FULL.k.x", b"1")
        return answered(self, call, request)

    monkeypatch.setattr(Control, "api", publishing)
    line = fails(*half("FULL"), url=as_user(accounts, "some"))
    assert "kept because of new messages: FULL-ingest" in line
    assert "run the command again" in line
    assert account_admin.info("FULL-ingest").state.messages == 1


def test_a_stream_that_cannot_be_rolled_back_is_reported(
    fails: Callable[..., str], accounts: EmbeddedServer, account_admin: Admin
) -> None:
    line = fails(*half("DENY"), url=as_user(accounts, "some"))
    assert "rolled back: DENY-ingest; could not be rolled back: DENY-0" in line
    assert names(account_admin, "DENY") == ["DENY-0"]


def test_an_interrupted_run_rolls_back_the_stream_in_creation(
    fails: Callable[..., str], admin: Admin, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = Control.api

    def interrupted(self: Control, call: str, request: Any = None) -> dict[str, Any]:
        answer = answered(self, call, request)
        if call == f"STREAM.CREATE.{stream}-1":  # created, but the reply is lost
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(Control, "api", interrupted)
    line = fails("create", stream, "--subject", f"{stream}.*", "--partitions", "3", code=130)
    deleted = f"{stream}-ingest, {stream}-0, {stream}-1"
    assert f"{stream}-1 could not be created: interrupted; rolled back: {deleted}" in line
    assert names(admin, stream) == []


KILLED = """
import os, signal, sys
from nats_spark_common.cli import main
from nats_spark_common.jetstream.control import Control

answered = Control.api

def killed(self, call, request=None):
    if call == "STREAM.CREATE.DIES-1":
        os.kill(os.getpid(), signal.SIGKILL)
    return answered(self, call, request)

Control.api = killed
main(sys.argv[1:])
"""


def test_a_killed_run_is_completed_by_the_next(
    run: Run, accounts: EmbeddedServer, account_admin: Admin
) -> None:
    arguments = ["create", "DIES", "--subject", "DIES.*.>", "--partitions", "3"]
    command = ["partitions", *arguments, "-s", as_user(accounts, "all")]
    killed = subprocess.run([sys.executable, "-c", KILLED, *command], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert names(account_admin, "DIES") == ["DIES-0", "DIES-ingest"]
    account_admin.publish("DIES.k.x", b"1")
    code, out, _ = run(*arguments, url=as_user(accounts, "all"))
    assert code == 0
    assert out.startswith("created  DIES-1, DIES-2\nexisted  DIES-ingest, DIES-0\n")
    wait_for(account_admin, "DIES", 1)


def test_an_account_without_jetstream(fails: Callable[..., str], accounts: EmbeddedServer) -> None:
    line = fails(*half("N"), url=as_user(accounts, "none"), code=2)
    assert "enable JetStream" in line


def test_no_server(fails: Callable[..., str]) -> None:
    line = fails("show", "X", url="nats://127.0.0.1:1", code=2)
    assert "cannot connect to nats://127.0.0.1:1: Connection refused" in line

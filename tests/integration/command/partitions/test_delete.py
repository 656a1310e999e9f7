"""``delete``: what it deletes and keeps, and its confirmation."""

from __future__ import annotations

import io

import pytest

from nats_spark_common.embedded import EmbeddedServer

from ...._support.admin import Admin
from ...._support.partitions_command import Run, as_user, config, create, names, wait_for


def test_delete_removes_only_the_streams_of_the_command(
    run: Run, admin: Admin, stream: str
) -> None:
    create(run, stream, 2, "--ingest", f"{stream}-all")
    create(run, f"{stream}-x", 1)
    admin.create_stream(f"{stream}-7", [f"other.{stream}"])
    copied = config(admin, f"{stream}-1") | {"name": f"{stream}-copy"}
    admin.api(f"STREAM.CREATE.{stream}-copy", **copied)
    admin.publish(f"{stream}.k.x", b"")
    wait_for(admin, stream, 1, 2)
    code, out, _ = run("delete", stream, "--yes")
    assert code == 0
    kept = [f"{stream}-7", f"{stream}-copy", f"{stream}-x-0", f"{stream}-x-ingest"]
    assert names(admin, stream) == kept
    assert f"kept: {stream}-7, not created by this command" in out
    assert f"kept: {stream}-copy, sources {stream}-all" in out
    assert "deleted 3 streams with 2 messages" in out


def test_a_dry_run_deletes_nothing(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream)
    code, out, err = run("delete", stream, "--dry-run")
    assert (code, len(names(admin, stream))) == (0, 4)
    assert f"{stream}-ingest" in out
    assert "nothing was deleted: 4 streams with 0 messages" in err


def test_delete_without_a_terminal_needs_yes(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream)
    code, _, err = run("delete", stream)
    assert (code, len(names(admin, stream))) == (2, 4)
    assert "--yes is needed to delete 4 streams" in err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("yes\n", 0), ("\n", 4), ("", 4)])
def test_delete_asks_for_confirmation_on_a_terminal(
    run: Run, admin: Admin, stream: str, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    create(run, stream)
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    code, out, _ = run("delete", stream)
    assert (code, len(names(admin, stream))) == (0, left)
    assert "Delete 4 streams with 0 messages?" in out
    assert ("nothing was deleted" in out) == (left > 0)


def test_nothing_to_delete_is_no_error(run: Run, stream: str) -> None:
    code, out, _ = run("delete", stream, "--yes")
    assert (code, out.startswith("nothing to delete: ")) == (0, True)


def test_a_stream_that_cannot_be_deleted_is_named_with_the_remaining_streams(
    run: Run, accounts: EmbeddedServer, account_admin: Admin
) -> None:
    create(run, "KEEP", url=as_user(accounts, "all"))
    brief = ["-o", "nats.request.timeout=400ms"]
    code, _, err = run("delete", "KEEP", "--yes", *brief, url=as_user(accounts, "some"))
    assert (code, names(account_admin, "KEEP")) == (1, ["KEEP-1", "KEEP-2"])
    assert "stream KEEP-1 could not be deleted: " in err
    assert "remaining: KEEP-1, KEEP-2" in err

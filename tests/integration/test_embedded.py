"""The servers that tests, demo and benchmarks run against."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from nats_spark_common.embedded import EmbeddedServer, EmbeddedServerError

from .._support.admin import Admin, wait_until


def test_jetstream_answers_as_soon_as_the_server_is_there() -> None:
    with EmbeddedServer() as server:
        admin = Admin(server.url)
        admin.create_stream("S")
        assert admin.publish("S.a", b"1") == 1
        admin.close()


def test_two_servers_run_at_once() -> None:
    with EmbeddedServer() as one, EmbeddedServer() as other:
        assert one.port != other.port
        assert one.pid != other.pid
        admin = Admin(one.url)
        admin.create_stream("S")
        assert one.statistics("jsz")["streams"] == 1
        assert other.statistics("jsz")["streams"] == 0
        admin.close()


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_messages_and_port_survive(how: str) -> None:
    with EmbeddedServer() as server:
        port = server.port
        admin = Admin(server.url)
        admin.create_stream("S")
        admin.fill("S", 3)
        admin.close()
        if how == "kill":
            server.kill()
            server.start()
        else:
            server.restart()
        assert server.port == port
        admin = Admin(server.url)
        assert [message.seq for message in admin.read_all("S")] == [1, 2, 3]
        admin.close()


def test_a_start_on_the_same_port_waits_until_the_port_is_free_again() -> None:
    with EmbeddedServer() as server:
        server.kill()
        squatter = socket.create_server(("127.0.0.1", server.port))

        def leave_when_the_server_was_refused() -> None:
            try:
                wait_until(lambda: b"address already in use" in server.log_path.read_bytes())
            finally:
                squatter.close()

        leaving = threading.Thread(target=leave_when_the_server_was_refused)
        leaving.start()
        try:
            server.start()
        finally:
            leaving.join()
        assert server.statistics("jsz")["streams"] == 0


def test_a_fixed_port_that_is_taken_is_an_error_at_once() -> None:
    with (
        EmbeddedServer() as server,
        pytest.raises(EmbeddedServerError, match="address already in use") as caught,
        EmbeddedServer(port=server.port),
    ):
        pass
    _remove_log(caught.value)


def test_a_bad_configuration_is_an_error_that_shows_the_log_and_keeps_it() -> None:
    server = EmbeddedServer("no_such_setting: 1")
    with pytest.raises(EmbeddedServerError, match="no_such_setting") as caught, server:
        pass
    assert str(server.log_path) in str(caught.value)
    assert [left.name for left in server.log_path.parent.iterdir()] == ["server.log"]
    _remove_log(caught.value)


def test_a_program_that_does_not_run_is_an_error_that_names_it(tmp_path: Path) -> None:
    with (
        pytest.raises(EmbeddedServerError, match=r"cannot run .*no-server: No such file") as caught,
        EmbeddedServer(binary=tmp_path / "no-server"),
    ):
        pass
    _remove_log(caught.value)


def test_nothing_is_left_of_a_server_but_the_store_that_it_was_given(tmp_path: Path) -> None:
    with EmbeddedServer(store_dir=tmp_path) as server:
        pid, folder = server.pid, server.log_path.parent
    assert not folder.exists()
    assert list(tmp_path.iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_log_of_a_server_that_crashed_is_kept() -> None:
    with EmbeddedServer() as server:
        os.kill(server.pid, signal.SIGKILL)
        os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
    assert b"Server is ready" in server.log_path.read_bytes()
    server.log_path.unlink()
    server.log_path.parent.rmdir()


def _remove_log(error: BaseException) -> None:
    """What a failed server leaves behind, whose place the error names."""
    log = Path(str(error).partition("the end of its log ")[2].partition(":\n")[0])
    log.unlink()
    log.parent.rmdir()

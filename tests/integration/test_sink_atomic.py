"""Atomic batches: all rows of a task are stored, or none."""

from __future__ import annotations

import pytest

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.errors import OptionError, PublishError

from .._support.admin import Admin
from .._support.options import options
from .._support.writing import make_stream, new_task, numbered, write


def atomically(url: str, **more: str) -> dict[str, str]:
    return options(url, sink_atomic="true", **more)


@pytest.mark.parametrize("mode", ["at-least-once", "exactly-once"])
@pytest.mark.parametrize("count", [1, 2, 1_000])
def test_up_to_a_thousand_rows_are_stored_as_one_batch(
    nats_server: EmbeddedServer, admin: Admin, stream: str, count: int, mode: str
) -> None:
    make_stream(admin, stream, allow_atomic=True)
    rows = [{**row, "headers": [("a", ["b"])]} for row in numbered(stream, count)]
    write(atomically(nats_server.url, sink_mode=mode), rows, batch_rows=300)
    found = admin.read_all(stream)
    assert [m.payload for m in found] == [row["content"] for row in rows]
    assert {(m.headers or {})["a"] for m in found} == {"b"}
    assert len({(m.headers or {})["Nats-Batch-Id"] for m in found}) == 1


def test_more_rows_are_rejected_before_any_is_sent(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream, allow_atomic=True)
    with pytest.raises(PublishError, match=r"more than 1,000 rows.*repartition"):
        write(atomically(nats_server.url), numbered(stream, 1_001), batch_rows=500)
    assert admin.info(stream).state.messages == 0


@pytest.mark.parametrize("position", [0, 250, 499])
def test_no_row_is_stored_if_one_is_rejected(
    nats_server: EmbeddedServer, admin: Admin, stream: str, position: int
) -> None:
    make_stream(admin, stream, allow_atomic=True, max_msg_size=200)
    rows = numbered(stream, 500)
    rows[position] = {"subject": f"{stream}.large", "content": b"x" * 300}
    with pytest.raises(PublishError, match=rf"'{stream}\.large': .*max_msg_size"):
        write(atomically(nats_server.url), rows)
    assert admin.info(stream).state.messages == 0


def test_a_stream_without_atomic_batches_is_named_in_the_error(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream)
    with pytest.raises(
        PublishError, match=rf"'{stream}' does not allow atomic batches.*allow_atomic"
    ):
        write(atomically(nats_server.url), numbered(stream, 2))


def test_an_old_server_is_an_error_that_names_the_version(
    old_nats_server: EmbeddedServer, stream: str
) -> None:
    admin = Admin(old_nats_server.url)
    admin.create_stream(stream)
    with pytest.raises(PublishError, match=r"allow_atomic.*2\.12"):
        write(atomically(old_nats_server.url), numbered(stream, 2))
    admin.close()


def test_rows_of_two_streams_are_rejected(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    for name in (stream, f"{stream}b"):
        make_stream(admin, name, allow_atomic=True)
    with pytest.raises(PublishError, match=rf"{stream}, {stream}b"):
        write(atomically(nats_server.url), [*numbered(stream, 2), *numbered(f"{stream}b", 2)])


def test_a_replay_of_a_stored_batch_stores_nothing(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream, allow_atomic=True, duplicate_window=100_000_000)
    task, rows = new_task(), numbered(stream, 400)
    for _ in range(2):
        write(atomically(nats_server.url, sink_mode="exactly-once"), rows, task=task)
    assert admin.info(stream).state.messages == 400


def test_headers_of_an_atomic_batch_are_not_copied(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream, allow_atomic=True)
    row = {
        "subject": f"{stream}.a",
        "headers": [
            ("Nats-Batch-Id", ["x"]),
            ("Nats-Batch-Sequence", ["7"]),
            ("Nats-Batch-Commit", ["1"]),
        ],
    }
    write(options(nats_server.url), [row])
    assert [m.headers for m in admin.read_all(stream)] == [None]


def test_best_effort_and_atomic_contradict() -> None:
    with pytest.raises(OptionError, match=r"nats\.sink\.atomic.*best-effort"):
        write(atomically("nats://localhost:4222", sink_mode="best-effort"), [])

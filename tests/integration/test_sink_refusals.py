"""A rejected message is one error that names its subject, however it was sent."""

from __future__ import annotations

from typing import Any

import pytest

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.errors import AuthError, ConnectError, PublishError

from .._support.admin import Admin, wait_until
from .._support.options import options
from .._support.writing import WAYS, Row, make_stream, numbered, write

MODES = ["at-least-once", "exactly-once"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    return WAYS[request.param]


def assert_rejected(url: str, rows: list[Row], words: str, mode: str = "at-least-once") -> None:
    with pytest.raises(PublishError, match=words):
        write(options(url, sink_mode=mode), rows)


@pytest.mark.parametrize("mode", MODES)
def test_a_subject_without_a_stream(
    nats_server: EmbeddedServer, admin: Admin, stream: str, way: dict[str, Any], mode: str
) -> None:
    make_stream(admin, stream, **way)
    rows = [*numbered(stream, 10), {"subject": f"no.{stream}.x", "content": b"1"}]
    assert_rejected(
        nats_server.url,
        rows,
        rf"'no\.{stream}\.x': no stream has this subject.*nats stream edit",
        mode,
    )


@pytest.mark.parametrize(
    ("mode", "atomic"),
    [*((mode, atomic) for mode in MODES for atomic in (False, True)), ("best-effort", False)],
)
def test_a_stream_that_is_not_the_named_one(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    way: dict[str, Any],
    mode: str,
    atomic: bool,
) -> None:
    make_stream(admin, stream, allow_atomic=True, **way)
    named = options(
        nats_server.url, sink_mode=mode, stream_name="OTHER", sink_atomic=str(atomic).lower()
    )
    words = rf"'{stream}\.\d': .*nats\.stream\.name.*correct it"
    with pytest.raises(PublishError, match=words):
        write(named, numbered(stream, 900))
    assert admin.info(stream).state.messages == 0
    copied = [{**row, "headers": [("Nats-Expected-Stream", ["S"])]} for row in numbered(stream, 9)]
    write({**named, "nats.stream.name": stream}, copied)
    wait_until(lambda: admin.info(stream).state.messages == 9)


@pytest.mark.parametrize("mode", MODES)
def test_a_subject_with_only_a_core_subscriber(
    nats_server: EmbeddedServer, admin: Admin, stream: str, mode: str
) -> None:
    """The subscriber receives the message and does not answer."""

    async def hear(_: Any) -> None:
        pass

    async def subscribe() -> None:
        await admin.client.subscribe(f"{stream}.>", cb=hear)
        await admin.client.flush()

    admin.run(subscribe())
    named = options(nats_server.url, sink_mode=mode, request_timeout="500ms")
    with pytest.raises(PublishError, match=rf"'{stream}\.0': no stream has this subject"):
        write(named, numbered(stream, 10))


def test_a_subject_without_stream_on_an_old_server(
    old_nats_server: EmbeddedServer, stream: str
) -> None:
    assert_rejected(
        old_nats_server.url, numbered(stream, 3), f"'{stream}.0': no stream has this subject"
    )


def test_best_effort_needs_no_stream(nats_server: EmbeddedServer, stream: str) -> None:
    settings = options(nats_server.url, sink_mode="best-effort")
    assert write(settings, numbered(stream, 10_000)).counts.messages == 10_000


@pytest.mark.parametrize("limit", [{"max_msgs": 5}, {"max_bytes": 1_000}])
def test_a_full_stream(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    way: dict[str, Any],
    limit: dict[str, int],
) -> None:
    make_stream(admin, stream, discard="new", **limit, **way)
    words = rf"subject '{stream}\.\d': .* rejected the message: maximum.*discard: new"
    assert_rejected(nats_server.url, numbered(stream, 3_000, size=100), words)
    info = admin.info(stream)
    assert 0 < info.state.messages < 10  # those that fit


def test_more_messages_of_a_subject_than_its_limit(
    nats_server: EmbeddedServer, admin: Admin, stream: str, way: dict[str, Any]
) -> None:
    make_stream(
        admin,
        stream,
        discard="new",
        max_msgs_per_subject=1,
        discard_new_per_subject=True,
        **way,
    )
    rows = [{"subject": f"{stream}.{name}", "content": b"1"} for name in ("a", "b", "a", "c")]
    assert_rejected(nats_server.url, rows, rf"'{stream}\.a': .*maximum messages per subject")


def test_a_sealed_stream(
    nats_server: EmbeddedServer, admin: Admin, stream: str, way: dict[str, Any]
) -> None:
    make_stream(admin, stream, **way)
    config = admin.api(f"STREAM.INFO.{stream}")["config"]
    admin.api(f"STREAM.UPDATE.{stream}", **{**config, "sealed": True})
    assert_rejected(
        nats_server.url, numbered(stream, 3), rf"'{stream}\.0': .*sealed.*write to another"
    )


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_message_above_the_streams_max_msg_size(
    nats_server: EmbeddedServer, admin: Admin, stream: str, way: dict[str, Any], position: int
) -> None:
    make_stream(admin, stream, max_msg_size=100, **way)
    rows = [{"subject": f"{stream}.{i}", "content": b"x" * 10} for i in range(3)]
    rows[position]["content"] = b"x" * 101
    words = rf"'{stream}\.{position}': stream '{stream}' rejected.*max_msg_size"
    assert_rejected(nats_server.url, rows, words)


@pytest.mark.parametrize(
    "header",
    ["Nats-Expected-Last-Sequence", "Nats-Expected-Last-Subject-Sequence", "Nats-TTL"],
)
def test_a_condition_in_the_headers_that_does_not_hold(
    nats_server: EmbeddedServer, admin: Admin, stream: str, way: dict[str, Any], header: str
) -> None:
    make_stream(admin, stream, **way)
    row = {"subject": f"{stream}.a", "content": b"1", "headers": [(header, ["99"])]}
    assert_rejected(
        nats_server.url, [row], rf"'{stream}\.a': stream '{stream}' rejected.*{header[:13]}"
    )


@pytest.mark.parametrize("mode", ["at-least-once", "exactly-once", "best-effort"])
def test_a_user_who_may_not_publish(stream: str, way: dict[str, Any], mode: str) -> None:
    users = (
        "authorization { users: ["
        "{user: root, password: pw}, "
        '{user: ada, password: pw, permissions: {publish: {deny: "*.secret"}}}]}'
    )
    with EmbeddedServer(users) as server:
        admin = Admin(server.url, user="root", password="pw")
        make_stream(admin, stream, **way)
        settings = options(server.url, user="ada", password="pw", sink_mode=mode)
        write(settings, numbered(stream, 10))
        with pytest.raises(AuthError, match=rf"{stream}\.secret"):
            write(settings, [{"subject": f"{stream}.secret", "content": b"1"}])
        assert admin.info(stream).state.messages == 10
        admin.close()


def test_a_user_who_may_only_publish_writes_without_fast_batches(stream: str) -> None:
    users = (
        "authorization { users: ["
        "{user: root, password: pw}, "
        '{user: ada, password: pw, permissions: {publish: "S*.>", subscribe: "_INBOX.>"}}]}'
    ).replace("S*", stream)
    with EmbeddedServer(users) as server:
        admin = Admin(server.url, user="root", password="pw")
        make_stream(admin, stream, allow_batched=True)
        write(options(server.url, user="ada", password="pw"), numbered(stream, 1_000))
        assert admin.info(stream).state.messages == 1_000
        admin.close()


def test_mapped_subjects_are_published_except_in_mode_exactly_once(stream: str) -> None:
    with EmbeddedServer(f'mappings = {{ "from.*": "{stream}.$1" }}') as server:
        admin = Admin(server.url)
        make_stream(admin, stream)
        rows = [{"subject": "from.here", "content": b"1"}]
        write(options(server.url), rows)
        assert [m.subject for m in admin.read_all(stream)] == [f"{stream}.here"]
        assert_rejected(server.url, rows, "'from.here': no stream has this subject", "exactly-once")
        admin.close()


def test_no_server_is_an_error_that_names_it() -> None:
    settings = options("nats://127.0.0.1:1", retry_count="0")
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1.*nats\.url"):
        write(settings, numbered("S", 1))

"""Written rows, read back with nats-py and with our own source."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.errors import PublishError

from .._support.admin import Admin, wait_until
from .._support.options import options
from .._support.reading import read_stream
from .._support.writing import HEADERS, SCHEMA, WAYS, Row, make_stream, new_task, numbered, write

#: Bytes below the limit that the sink's documentation reserves for the ids of exactly-once.
ROOM_FOR_IDS = 128
MAX_PAYLOAD = 1 << 20


@pytest.fixture(params=WAYS)
def target(request: pytest.FixtureRequest, admin: Admin, stream: str) -> str:
    """A stream of the current server, for each way of publishing."""
    make_stream(admin, stream, **WAYS[request.param])
    return stream


def headers_of(pairs: dict[str, list[str]]) -> list[tuple[str, list[str]]]:
    return list(pairs.items())


@pytest.mark.parametrize("mode", ["at-least-once", "exactly-once", "best-effort"])
def test_every_row_is_a_message_in_order(
    nats_server: EmbeddedServer, admin: Admin, target: str, mode: str
) -> None:
    rows = numbered(target, 25_000)
    written = write(options(nats_server.url, sink_mode=mode), rows)
    assert written.counts.messages == 25_000
    found = admin.read_all(target)
    assert [m.payload for m in found] == [row["content"] for row in rows]
    assert [m.subject for m in found] == [row["subject"] for row in rows]


@pytest.mark.parametrize("mode", ["at-least-once", "exactly-once", "best-effort"])
def test_every_mode_works_on_an_old_server(
    old_nats_server: EmbeddedServer, stream: str, mode: str
) -> None:
    admin = Admin(old_nats_server.url)
    admin.create_stream(stream)
    rows = numbered(stream, 12_000)
    write(options(old_nats_server.url, sink_mode=mode), rows)
    assert [m.payload for m in admin.read_all(stream)] == [row["content"] for row in rows]
    admin.close()


def test_no_rows_are_no_messages(nats_server: EmbeddedServer, admin: Admin, target: str) -> None:
    assert write(options(nats_server.url), []).counts.messages == 0
    assert admin.info(target).state.messages == 0


def test_fast_batches_are_used_if_the_stream_allows_them(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream, allow_batched=True)
    before = nats_server.statistics("varz")["out_msgs"]
    write(options(nats_server.url), numbered(stream, 20_000))
    acks = nats_server.statistics("varz")["out_msgs"] - before
    assert acks < 500  # individually, there would be one per message


@pytest.mark.parametrize("size", [0, 1, 4096, MAX_PAYLOAD])
def test_payloads_of_any_size_up_to_the_servers_limit(
    nats_server: EmbeddedServer, admin: Admin, target: str, size: int
) -> None:
    payload = b"\r\n\x00x" * (size // 4) + b"y" * (size % 4)
    write(options(nats_server.url), [{"subject": f"{target}.a", "content": payload}] * 3)
    assert [m.payload for m in admin.read_all(target)] == [payload] * 3


@pytest.mark.parametrize("mode", ["at-least-once", "exactly-once", "best-effort"])
def test_a_payload_one_byte_above_the_limit_is_rejected_before_it_is_sent(
    nats_server: EmbeddedServer, admin: Admin, target: str, mode: str
) -> None:
    row = {"subject": f"{target}.big", "content": b"x" * (MAX_PAYLOAD + 1)}
    with pytest.raises(PublishError, match=rf"{target}\.big.*max_payload is {MAX_PAYLOAD}:"):
        write(options(nats_server.url, sink_mode=mode), [row])
    assert admin.info(target).state.messages == 0


def test_the_servers_limit_counts_headers(
    nats_server: EmbeddedServer, admin: Admin, target: str
) -> None:
    fits = MAX_PAYLOAD - len("NATS/1.0\r\na: b\r\n\r\n")
    row = {"subject": f"{target}.a", "headers": headers_of({"a": ["b"]})}
    write(options(nats_server.url), [{**row, "content": b"x" * fits}])
    with pytest.raises(PublishError, match="headers included"):
        write(options(nats_server.url), [{**row, "content": b"x" * (fits + 1)}])
    assert admin.info(target).state.messages == 1


@pytest.mark.parametrize("way", WAYS)
def test_the_error_names_the_largest_payload_that_fits_with_ids(
    nats_server: EmbeddedServer, admin: Admin, stream: str, way: str
) -> None:
    make_stream(admin, stream, **WAYS[way])
    exactly = options(nats_server.url, sink_mode="exactly-once")
    row, task = {"subject": f"{stream}.big"}, new_task()
    with pytest.raises(PublishError) as rejected:
        write(exactly, [{**row, "content": b"x" * MAX_PAYLOAD}], task=task)
    found = re.search(
        r"headers need (\d+) bytes \(including (.*)\), which leaves (\d+)", str(rejected.value)
    )
    assert found
    headers, line, largest = int(found[1]), found[2], int(found[3])
    assert line == f"Nats-Msg-Id: {task.id_prefix}0"
    assert headers == len(f"NATS/1.0\r\n{line}\r\n\r\n") < ROOM_FOR_IDS
    assert largest == MAX_PAYLOAD - headers
    write(exactly, [{**row, "content": b"x" * largest}], task=task)
    assert [len(m.payload) for m in admin.read_all(stream)] == [largest]


def test_null_content_is_an_empty_payload(
    nats_server: EmbeddedServer, admin: Admin, target: str
) -> None:
    write(options(nats_server.url), [{"subject": f"{target}.a", "content": None}])
    assert [m.payload for m in admin.read_all(target)] == [b""]


def test_headers_arrive_with_unicode_empty_and_repeated_values(
    nats_server: EmbeddedServer, admin: Admin, target: str
) -> None:
    headers = {"Name": ["Zoë 🚀", "", "Ωμέγα"], "empty": [""], "X-1": ["a: b", "c"]}
    write(
        options(nats_server.url),
        [{"subject": f"{target}.a", "content": b"1", "headers": headers_of(headers)}],
    )
    (row,) = read_stream({"nats.url": nats_server.url, "nats.stream.name": target})
    assert dict(row["headers"]) == headers
    (message,) = admin.read_all(target)
    assert message.headers is not None
    assert message.headers["Name"] == "Ωμέγα"  # nats-py keeps the last value


def test_rows_with_and_without_headers_mix(
    nats_server: EmbeddedServer, admin: Admin, target: str
) -> None:
    rows: list[Row] = [
        {"subject": f"{target}.a", "content": b"1", "headers": headers_of({"a": ["1"]})},
        {"subject": f"{target}.b", "content": b"2", "headers": None},
        {"subject": f"{target}.c", "content": b"3", "headers": []},
        {"subject": f"{target}.d", "content": b"", "headers": headers_of({"a": ["2"]})},
    ]
    write(options(nats_server.url), rows)
    found = admin.read_all(target)
    assert [m.headers for m in found] == [{"a": "1"}, None, None, {"a": "2"}]
    assert [m.payload for m in found] == [b"1", b"2", b"3", b""]


@pytest.mark.parametrize(
    "row",
    [
        {"headers": headers_of({"a": ["x\r\nNats-Rollup: all"]})},
        {"headers": headers_of({"a": ["x\nb"]})},
        {"headers": headers_of({"a\r\nb": ["x"]})},
        {"headers": headers_of({"a b": ["x"]})},
        {"headers": headers_of({"a:b": ["x"]})},
        {"headers": headers_of({"": ["x"]})},
        {"msgId": "x\r\nNats-Rollup: all"},
        {"subject": "{stream}.a 5\r\nhello\r\nPUB {stream}.b"},
        {"subject": "{stream}.a\r\n"},
        {"subject": "{stream}.a b"},
        {"subject": "{stream}..a"},
        {"subject": "{stream}.*"},
        {"subject": "{stream}.>"},
        {"subject": ""},
    ],
)
@pytest.mark.parametrize("mode", ["at-least-once", "best-effort"])
def test_text_that_would_break_the_protocol_is_rejected(
    nats_server: EmbeddedServer, admin: Admin, target: str, row: Row, mode: str
) -> None:
    row = {"subject": f"{target}.a", "content": b"1", **row}
    row["subject"] = row["subject"].replace("{stream}", target)
    with pytest.raises(PublishError, match="subject"):
        write(options(nats_server.url, sink_mode=mode), [row])
    assert admin.info(target).state.messages == 0


def test_a_message_id_makes_the_server_drop_duplicates(
    nats_server: EmbeddedServer, admin: Admin, target: str
) -> None:
    rows = [{"subject": f"{target}.a", "content": b"1", "msgId": each} for each in "aab"]
    write(options(nats_server.url), [*rows, {"subject": f"{target}.a", "content": b"no id"}])
    found = [(m.headers or {}).get("Nats-Msg-Id") for m in admin.read_all(target)]
    assert found == ["a", "b", None]


def test_rows_that_share_a_copied_id_are_all_stored(
    nats_server: EmbeddedServer, admin: Admin, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    copied = [("Nats-Msg-Id", ["x"]), ("A", ["1"])]
    rows = [{"subject": f"{target}.a", "content": b"1", "headers": copied}] * 300
    schema = pa.schema([field for field in SCHEMA if field.name != "msgId"])
    for mode in ("at-least-once", "exactly-once", "best-effort"):
        before = admin.info(target).state.messages
        write(options(nats_server.url, sink_mode=mode), rows, schema=schema, batch_rows=100)
        wait_until(lambda: admin.info(target).state.messages == before + 300)  # noqa: B023
    assert all((m.headers or {}).get("A") == "1" for m in admin.read_all(target))
    warnings = [each.getMessage() for each in caplog.records if "Nats-Msg-Id" in each.getMessage()]
    assert len(warnings) == 3, "one for each task"
    assert "column msgId" in warnings[0]


def test_rows_that_were_read_can_be_written_unchanged(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    copy = f"{stream}copy"
    admin.create_stream(stream)
    make_stream(admin, copy, subject_transform={"src": f"{stream}.>", "dest": f"{stream}.>"})
    make_stream(admin, f"{copy}in", subjects=[f"in.{stream}.>"])
    blocks = [
        b"NATS/1.0\r\nA: 1\r\nA: 2\r\nb: \xc3\xa9\r\n\r\n",
        b"NATS/1.0\r\nNats-Msg-Id2: x\r\nempty:\r\n\r\n",
        b"NATS/1.0\r\nNats-Sequence: 7\r\nNats-Subject: nobody\r\n\r\n",
    ]
    for number, block in enumerate(blocks):
        admin.publish_raw(f"{stream}.{number}", block, b"\x00\r\n" * number)
    admin.publish(f"{stream}.plain", b"")
    source = {"nats.url": nats_server.url, "nats.stream.name": stream}
    original = read_stream(source)
    schema = pa.schema([("subject", pa.string()), ("content", pa.binary()), ("headers", HEADERS)])
    moved = [{**row, "subject": f"in.{row['subject']}"} for row in original]
    write(options(nats_server.url), moved, schema=schema)
    copied = read_stream({**source, "nats.stream.name": f"{copy}in"})
    assert [(r["headers"], r["content"]) for r in copied] == [
        (r["headers"], r["content"]) for r in original
    ]


@pytest.mark.parametrize("kind", ["zlib", "gzip", "zstd"])
def test_the_source_decompresses_payloads(
    nats_server: EmbeddedServer, admin: Admin, target: str, kind: str
) -> None:
    rows = numbered(target, 100, size=2_000)
    write(options(nats_server.url, payload_compression=kind), rows)
    assert max(len(m.payload) for m in admin.read_all(target)) < 200
    source = {"nats.stream.name": target, "nats.payload.on.error": "fail"}
    found = read_stream({**options(nats_server.url, payload_compression=kind), **source})
    assert [row["content"] for row in found] == [row["content"] for row in rows]


def test_rows_of_one_task_go_to_several_streams(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    names = [f"{stream}{i}" for i in range(3)]
    for i, name in enumerate(names):
        make_stream(admin, name, allow_batched=i != 1)
    rows = [{"subject": f"{names[i % 3]}.x", "content": str(i).encode()} for i in range(3_000)]
    for mode in ("at-least-once", "exactly-once"):
        write(options(nats_server.url, sink_mode=mode), rows)
    for i, name in enumerate(names):
        expected = [str(n).encode() for n in range(i, 3_000, 3)]
        assert [m.payload for m in admin.read_all(name)] == expected * 2


def test_the_default_subject_is_for_rows_without_one(
    nats_server: EmbeddedServer, admin: Admin, target: str
) -> None:
    rows: list[Row] = [{"subject": f"{target}.own"}, {"subject": None}]
    write(options(nats_server.url, sink_subject=f"{target}.default"), rows)
    assert [m.subject for m in admin.read_all(target)] == [f"{target}.own", f"{target}.default"]
    with pytest.raises(PublishError, match=r"row 1 .*nats\.sink\.subject"):
        write(options(nats_server.url), rows)


def test_rows_larger_than_the_window_together_are_all_stored(
    nats_server: EmbeddedServer, admin: Admin, target: str
) -> None:
    rows = numbered(target, 300, size=100_000)
    write(options(nats_server.url, sink_max_in_flight="256KiB"), rows)
    assert admin.info(target).state.messages == 300

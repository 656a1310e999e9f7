"""``nats-spark partitions``: what it creates, shows and deletes, and what it does not touch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nats_spark_common.cli import main, partitions
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.control import Control

from .._support import transforms
from .._support.admin import Admin, wait_until
from .._support.options import options
from .._support.writing import write

Run = Callable[..., tuple[int, str, str]]

# Account C: one user may do everything, another may not create or delete certain streams.
# Account LIMITED can have two streams, account NONE has no JetStream.
ACCOUNTS = """
accounts {
  C: {
    jetstream: enabled
    users: [
      { user: all, password: pw }
      { user: some, password: pw, permissions: { publish: { deny: [
        "$JS.API.STREAM.CREATE.HALF-1", "$JS.API.STREAM.CREATE.FULL-1",
        "$JS.API.STREAM.CREATE.DIES-1", "$JS.API.STREAM.DELETE.KEEP-1",
        "$JS.API.STREAM.CREATE.DENY-1", "$JS.API.STREAM.DELETE.DENY-0" ] } } }
    ]
  }
  LIMITED: { jetstream: { max_streams: 2 }, users: [ { user: limited, password: pw } ] }
  NONE: { users: [ { user: none, password: pw } ] }
}
"""


@pytest.fixture
def run(
    nats_server: EmbeddedServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run ``nats-spark partitions`` in this process; return exit code, stdout and stderr."""
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal

    def run(*arguments: str, url: str = nats_server.url) -> tuple[int, str, str]:
        code = main(["partitions", *arguments, "-s", url])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def fails(run: Run) -> Callable[..., str]:
    """Run a command that must fail; return its one line of error."""

    def fails(*arguments: str, code: int = 1, **where: str) -> str:
        got, out, err = run(*arguments, **where)
        assert (got, out) == (code, "")
        assert err.startswith("nats-spark: ")
        assert err.count("\n") == 1, err
        return err

    return fails


@pytest.fixture(scope="module")
def accounts() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(ACCOUNTS) as server:
        yield server


@pytest.fixture
def account_admin(accounts: EmbeddedServer) -> Iterator[Admin]:
    """Connect nats-py as the user who may do everything."""
    admin = Admin(as_user(accounts, "all"))
    yield admin
    admin.close()


def as_user(server: EmbeddedServer, user: str) -> str:
    return server.url.replace("nats://", f"nats://{user}:pw@")


def create(run: Run, prefix: str, count: int = 3, *more: str, **where: str) -> str:
    """Create a set of ``<prefix>.*.>``; return what the command prints."""
    arguments = ("--subject", f"{prefix}.*.>", "--partitions", str(count))
    code, out, err = run("create", prefix, *arguments, *more, **where)
    assert (code, err) == (0, "")
    return out


def names(admin: Admin, prefix: str = "") -> list[str]:
    found = admin.api("STREAM.NAMES")["streams"] or []
    return sorted(name for name in found if name.startswith(prefix))


def wait_for(admin: Admin, prefix: str, messages: int, count: int = 3) -> None:
    """Wait until the partitions hold this many messages in total."""
    streams = [f"{prefix}-{i}" for i in range(count)]
    wait_until(lambda: sum(admin.info(s).state.messages for s in streams) == messages)


def config(admin: Admin, name: str) -> dict[str, Any]:
    found: dict[str, Any] = admin.api(f"STREAM.INFO.{name}")["config"]
    return found


# What a set does with messages


@pytest.mark.parametrize("count", [1, 3])
def test_a_key_is_in_one_partition_in_order_under_its_own_subjects(
    run: Run, admin: Admin, stream: str, count: int
) -> None:
    create(run, stream, count)
    sent = [(f"{stream}.k{i % 37}.a.{i % 5}", str(i).encode()) for i in range(2_000)]
    admin.publish_many(sent)
    wait_for(admin, stream, len(sent), count)
    for number in range(count):
        expected = [
            (subject, payload)
            for subject, payload in sent
            if transforms.partition(count, [subject.split(".")[1]]) == number
        ]
        assert expected, "every partition has a share of these keys"
        stored = admin.read_all(f"{stream}-{number}")
        assert [(each.subject, each.payload) for each in stored] == expected


def test_a_key_of_several_wildcards(run: Run, admin: Admin, stream: str) -> None:
    arguments = ["--subject", f"{stream}.*.x.*.*", "--partitions", "3", "--key", "3,1"]
    assert run("create", stream, *arguments)[0] == 0
    subjects = [f"{stream}.a{i % 4}.x.b{i}.c{i % 3}" for i in range(60)]
    admin.publish_many((subject, b"") for subject in subjects)
    wait_for(admin, stream, len(subjects))
    for number in range(3):
        for each in admin.read_all(f"{stream}-{number}"):
            _, a, _, _, c = each.subject.split(".")
            assert transforms.partition(3, [c, a]) == number


def test_a_subject_without_a_token_wildcard_is_divided_by_the_whole_subject(
    run: Run, admin: Admin, stream: str
) -> None:
    assert run("create", stream, "--subject", f"{stream}.>", "--partitions", "3")[0] == 0
    subjects = [f"{stream}.{i}.x" for i in range(40)]
    admin.publish_many((subject, b"") for subject in subjects * 2)
    wait_for(admin, stream, 80)
    found = [{each.subject for each in admin.read_all(f"{stream}-{i}")} for i in range(3)]
    assert sorted(set.union(*found)) == sorted(subjects)
    assert sum(map(len, found)) == 40


def test_headers_are_kept_and_the_server_adds_the_source_of_a_message(
    run: Run, admin: Admin, stream: str
) -> None:
    create(run, stream, 1)
    admin.publish(f"{stream}.k.x", b"1", {"A": "b", "Nats-Expected-Last-Sequence": "0"})
    wait_for(admin, stream, 1, 1)
    [stored] = admin.read_all(f"{stream}-0")
    assert stored.headers is not None
    assert stored.headers.pop("Nats-Stream-Source").startswith(f"{stream}-ingest 1 ")
    assert stored.headers == {"A": "b"}  # the ingest stream has checked it


def test_only_duplicates_of_the_ingest_stream_are_dropped(
    run: Run, admin: Admin, stream: str
) -> None:
    create(run, stream, 1)
    ingest = config(admin, f"{stream}-ingest")
    admin.api(f"STREAM.UPDATE.{stream}-ingest", **(ingest | {"duplicate_window": 100_000_000}))

    def publish(payload: bytes) -> bool:
        headers = {"Nats-Msg-Id": "1"}
        ack = admin.run(admin.js.publish(f"{stream}.k.x", payload, headers=headers))
        return not ack.duplicate

    assert [publish(b"first"), publish(b"repeat")] == [True, False]
    wait_until(lambda: publish(b"after the window"))
    wait_for(admin, stream, 2, 1)
    stored = [each.payload for each in admin.read_all(f"{stream}-0")]
    assert stored == [b"first", b"after the window"]


def test_the_sink_writes_fast_batches_to_the_subject(
    run: Run, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    create(run, stream)
    assert config(admin, f"{stream}-ingest")["allow_batched"] is True
    rows = [{"subject": f"{stream}.k{i % 9}.x", "content": str(i).encode()} for i in range(3_000)]
    before = nats_server.statistics()["out_msgs"]
    assert write(options(nats_server.url), rows).rows == 3_000
    assert nats_server.statistics()["out_msgs"] - before < 3_000  # fewer acks than rows
    wait_for(admin, stream, 3_000)


# create


def test_create_reports_the_streams_and_the_options_of_a_query(
    run: Run, admin: Admin, stream: str
) -> None:
    out = create(run, stream, 4)
    assert names(admin, stream) == [f"{stream}-{i}" for i in range(4)] + [f"{stream}-ingest"]
    assert f"created  {stream}-ingest, {stream}-0 ... {stream}-3\n" in out
    assert f'.option("nats.stream.prefix", "{stream}")' in out
    assert '.option("nats.num.partitions", "4")' in out
    assert "stored twice" in out
    assert "--ingest-max-age" in out


def test_every_stream_allows_direct_gets_and_has_the_requested_limits(
    run: Run, admin: Admin, stream: str
) -> None:
    limits = ["--max-age", "7d", "--max-bytes", "1GiB", "--ingest-max-age", "1h"]
    create(run, stream, 2, *limits, "--storage", "memory", "--ingest", f"{stream}-all")
    ingest, first = config(admin, f"{stream}-all"), config(admin, f"{stream}-0")
    assert (ingest["max_age"], ingest["max_bytes"]) == (3_600 * 10**9, -1)
    assert (first["max_age"], first["max_bytes"]) == (7 * 86_400 * 10**9, 1 << 30)
    assert [each["allow_direct"] for each in (ingest, first)] == [True, True]
    assert [each["storage"] for each in (ingest, first)] == ["memory", "memory"]


def test_a_second_create_changes_nothing_and_says_so(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream)
    before = [admin.api(f"STREAM.INFO.{name}")["created"] for name in names(admin, stream)]
    out = create(run, stream)
    assert out.startswith(f"existed  {stream}-ingest, {stream}-0 ... {stream}-2\n")
    assert "created " not in out
    after = [admin.api(f"STREAM.INFO.{name}")["created"] for name in names(admin, stream)]
    assert before == after


def test_a_second_create_creates_what_is_missing_and_it_catches_up(
    run: Run, admin: Admin, stream: str
) -> None:
    create(run, stream)
    admin.delete_stream(f"{stream}-1")
    admin.publish_many((f"{stream}.k{i}.x", b"") for i in range(30))
    out = create(run, stream)
    assert out.startswith(f"created  {stream}-1\nexisted  {stream}-ingest, {stream}-0, {stream}-2")
    wait_for(admin, stream, 30)


def test_a_second_create_reports_messages_that_a_new_partition_misses(
    run: Run, admin: Admin, stream: str
) -> None:
    create(run, stream)
    admin.publish_many((f"{stream}.k{i}.x", b"") for i in range(30))
    admin.purge(f"{stream}-ingest")
    admin.delete_stream(f"{stream}-1")
    assert f"{stream}-ingest has removed its first 30 messages" in create(run, stream)


@pytest.mark.parametrize(
    ("count", "more", "words"),
    [
        (4, [], "-ingest exists and differs: --partitions is 3, not 4"),
        (2, [], "-ingest exists and differs: --partitions is 3, not 2"),
        (3, ["--key", "subject"], "-ingest exists and differs: --key is 1, not subject"),
        (3, ["--max-age", "1h"], "-0 exists and differs: --max-age is unlimited, not 3600s"),
        (3, ["--ingest", "OTHER"], "-0 exists and differs: --ingest is"),
        (3, ["--storage", "memory"], "-ingest exists and differs: --storage is file, not memory"),
    ],
)
def test_a_set_that_differs_is_left_as_it_is(
    run: Run,
    fails: Callable[..., str],
    admin: Admin,
    stream: str,
    count: int,
    more: list[str],
    words: str,
) -> None:
    create(run, stream)
    admin.delete_stream(f"{stream}-1")  # it would be recreated
    before = {name: config(admin, name) for name in names(admin, stream)}
    subject = ["--subject", f"{stream}.*.>", "--partitions", str(count)]
    line = fails("create", stream, *subject, *more)
    assert f"stream {stream}{words}" in line
    assert "nothing was changed" in line
    assert {name: config(admin, name) for name in names(admin, stream)} == before


def test_a_stream_of_the_same_name_is_rejected_before_anything_is_created(
    fails: Callable[..., str], admin: Admin, stream: str
) -> None:
    admin.create_stream(f"{stream}-2", ["other." + stream])
    line = fails("create", stream, "--subject", f"{stream}.*", "--partitions", "3")
    assert f"stream {stream}-2 exists and was not created by this command" in line
    assert names(admin, stream) == [f"{stream}-2"]


def test_a_stream_that_would_be_one_more_partition_is_rejected(
    fails: Callable[..., str], admin: Admin, stream: str
) -> None:
    admin.create_stream(f"{stream}-3", ["other." + stream])
    line = fails("create", stream, "--subject", f"{stream}.*", "--partitions", "3")
    assert f"stream {stream}-3 exists and would be partition 3" in line
    assert names(admin, stream) == [f"{stream}-3"]


@pytest.mark.parametrize("theirs", ["{}.>", "{}.a.b", "{}.*.b"])
def test_a_subject_of_another_stream_is_rejected_before_anything_is_created(
    fails: Callable[..., str], admin: Admin, stream: str, theirs: str
) -> None:
    other, theirs = f"X{stream}", theirs.format(stream)
    admin.create_stream(other, [theirs])
    line = fails("create", stream, "--subject", f"{stream}.*.>", "--partitions", "3")
    assert f"overlaps with stream {other}, which stores {theirs}" in line
    assert names(admin, stream) == []
    admin.delete_stream(other)


def test_a_dry_run_prints_the_configurations_and_creates_nothing(
    run: Run, admin: Admin, stream: str
) -> None:
    arguments = ["--subject", f"{stream}.*.>", "--partitions", "2"]
    code, out, err = run("create", stream, *arguments, "--dry-run")
    planned = json.loads(out)
    assert (code, names(admin, stream)) == (0, [])
    assert "nothing was created: 3 streams to create" in err
    create(run, stream, 2)
    for each in planned:
        found = config(admin, each["name"])
        found["metadata"] = {k: v for k, v in found["metadata"].items() if k[0] != "_"}
        assert {field: found.get(field) for field in each} == each


def test_an_old_server_is_rejected(
    fails: Callable[..., str], old_nats_server: EmbeddedServer, stream: str
) -> None:
    arguments = ["--subject", f"{stream}.*", "--partitions", "2"]
    line = fails("create", stream, *arguments, url=old_nats_server.url)
    assert "NATS server 2.9.10 has no subject transforms, which partitioned sets need" in line


# create, when the server rejects it


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
    fails: Callable[..., str], accounts: EmbeddedServer, account_admin: Admin
) -> None:
    # FULL-1 fails after the request's timeout; the message is stored before that.
    def publish() -> None:
        wait_until(lambda: "FULL-0" in names(account_admin))
        account_admin.publish("FULL.k.x", b"1")

    publisher = threading.Thread(target=publish)
    publisher.start()
    line = fails(*half("FULL"), url=as_user(accounts, "some"))
    publisher.join()
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


def test_a_killed_run_is_completed_by_the_next(
    run: Run, accounts: EmbeddedServer, account_admin: Admin
) -> None:
    # The request for DIES-1 is rejected, which the client notices only after the timeout.
    slow = ["-o", "nats.request.timeout=60s", "-s", as_user(accounts, "some")]
    command = [sys.executable, "-m", "nats_spark_common.cli", "partitions"]
    arguments = ["create", "DIES", "--subject", "DIES.*.>", "--partitions", "3"]
    with subprocess.Popen([*command, *arguments, *slow]) as killed:
        wait_until(lambda: "DIES-0" in names(account_admin))
        killed.kill()
    account_admin.publish("DIES.k.x", b"1")
    code, out, _ = run(*arguments, url=as_user(accounts, "all"))
    assert code == 0
    assert out.startswith("created  DIES-1, DIES-2\nexisted  DIES-ingest, DIES-0\n")
    wait_for(account_admin, "DIES", 1)


def test_an_account_without_jetstream(fails: Callable[..., str], accounts: EmbeddedServer) -> None:
    line = fails(*half("N"), url=as_user(accounts, "none"))
    assert "enable JetStream" in line


def test_no_server(fails: Callable[..., str]) -> None:
    line = fails("show", "X", url="nats://127.0.0.1:1")
    assert "cannot connect to nats://127.0.0.1:1: Connection refused" in line


# show


def figures(run: Run, prefix: str, *more: str) -> dict[str, Any]:
    code, out, err = run("show", prefix, "--json", *(more or ("--interval", "0")))
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_show_reports_the_state_of_the_server(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream)
    admin.publish_many((f"{stream}.k{i % 11}.x", b"p" * 50) for i in range(110))
    wait_for(admin, stream, 110)
    shown = figures(run, stream)
    for each in [*shown["partitions"], *shown["ingest"]]:
        state = admin.info(each["stream"]).state
        assert (each["messages"], each["bytes"]) == (state.messages, state.bytes)
        assert (each["first_seq"], each["last_seq"]) == (state.first_seq, state.last_seq)
        assert 0 < each["last_message_age_seconds"] < 20
    assert [each["stream"] for each in shown["ingest"]] == [f"{stream}-ingest"]
    assert [each["lag"] for each in shown["partitions"]] == [0, 0, 0]
    assert shown["total"]["messages"] == 110
    assert sum(each["share"] for each in shown["partitions"]) == pytest.approx(1.0)
    assert (shown["subject"], shown["key"]) == (f"{stream}.*.>", "1")


def test_show_reports_the_skew_of_a_set(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream)
    admin.publish_many((f"{stream}.k.x", b"") for _ in range(30))  # one key
    wait_for(admin, stream, 30)
    assert figures(run, stream)["skew"] == pytest.approx(3.0)
    full = transforms.partition(3, ["k"])
    assert (
        f"skew   3.00: {stream}-{full} has 3.00 times the mean"
        in run("show", stream, "--interval", "0")[1]
    )


def test_rates_are_measured_between_two_snapshots(
    run: Run, admin: Admin, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(run, stream)
    admin.publish_many((f"{stream}.k{i}.x", b"") for i in range(10))
    wait_for(admin, stream, 10)
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        time.sleep(seconds)  # long compared with the time that a snapshot takes
        admin.publish_many((f"{stream}.k{i}.x", b"") for i in range(20))
        wait_for(admin, stream, 30)

    monkeypatch.setattr(partitions, "time", SimpleNamespace(sleep=sleep))
    shown = figures(run, stream, "--interval", "1500ms")
    assert waited == [1.5]
    seconds, total = shown["interval_seconds"], shown["total"]
    assert total["messages_per_second"] * seconds == pytest.approx(20)
    assert total["bytes_per_second"] * seconds == pytest.approx(total["bytes"] * 2 / 3, rel=0.1)
    assert shown["ingest"][0]["messages_per_second"] * seconds == pytest.approx(20, rel=0.2)


def test_show_reports_the_lag_of_a_full_partition(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream, 1)
    full = config(admin, f"{stream}-0") | {"max_msgs": 5, "discard": "new"}
    admin.api(f"STREAM.UPDATE.{stream}-0", **full)
    admin.publish_many((f"{stream}.k.x", b"") for _ in range(25))
    shown = wait_until(lambda: (s := figures(run, stream))["total"]["lag"] and s)
    assert shown["total"]["messages"] == 5
    assert 0 < shown["total"]["lag"] <= 20


def test_show_reads_a_set_that_was_created_by_hand_on_any_server(
    run: Run, server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    for i in range(2):
        server_admin.create_stream(f"{stream}-{i}", [f"{stream}.{i}.>"])
    server_admin.publish(f"{stream}.1.x", b"")
    code, out, _ = run("show", stream, "--json", "--interval", "0", url=server.url)
    shown = json.loads(out)
    assert code == 0
    assert [each["messages"] for each in shown["partitions"]] == [0, 1]
    assert (shown["ingest"], shown["subject"], shown["total"]["lag"]) == ([], None, None)
    assert run("show", stream, "--interval", "0", url=server.url)[0] == 0


def test_show_is_a_table_with_aligned_columns(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream)
    admin.publish_many((f"{stream}.k{i}.x", b"") for i in range(1_200))
    wait_for(admin, stream, 1_200)
    code, out, _ = run("show", stream, "--interval", "10ms")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"{stream}: 3 partitions of {stream}.*.> by wildcard 1"
    *_, total, ingest = [line for line in lines if line.startswith((f"{stream}-", "all "))]
    ends = {line.index("1,200") + len("1,200") for line in (total, ingest)}
    assert ends == {lines[2].index("messages") + len("messages")}


def test_show_notes_a_missing_ingest_stream(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream)
    admin.delete_stream(f"{stream}-ingest")
    out = run("show", stream, "--interval", "0")[1]
    assert f"note   the sourced stream {stream}-ingest does not exist" in out


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_gap_in_the_numbering_is_an_error_with_the_existing_streams(
    run: Run, fails: Callable[..., str], admin: Admin, stream: str, gone: int
) -> None:
    create(run, stream)
    admin.delete_stream(f"{stream}-{gone}")
    line = fails("show", stream)
    left = ", ".join(f"{stream}-{i}" for i in range(3) if i != gone)
    assert f"{stream}-{gone} missing, {left} found" in line


def test_a_missing_set_is_an_error_with_the_existing_sets(
    run: Run, fails: Callable[..., str], stream: str
) -> None:
    create(run, stream)
    line = fails("show", stream.lower())
    assert f"stream {stream.lower()}-0 does not exist" in line
    assert stream in line


# delete


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


# Arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "a.b", "--subject", "a.*", "--partitions", "2"], "PREFIX 'a.b'"),
        (["create", "a", "--subject", ">", "--partitions", "2"], "--subject '>'"),
        (["create", "a", "--subject", "*.>", "--partitions", "2"], "--subject '*.>'"),
        (["create", "a", "--subject", "a.*", "--partitions", "0"], "--partitions 0"),
        (["create", "a", "--subject", "a.*", "--partitions", "x"], "--partitions: invalid int"),
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
            "--replicas: invalid choice: 9",
        ),
        (["create", "a"], "the following arguments are required: --subject, --partitions"),
        (["show", "a.*"], "PREFIX 'a.*'"),
        (["show", "a", "--intervall", "1s"], "unknown option --intervall"),
        (["delete", "a b"], "PREFIX 'a b'"),
        (["show", "a", "-o", "nats.strem.name=x"], "did you mean nats.stream.name"),
        (["show", "a", "-o", "user=x"], "use a name that begins with nats."),
        (["show", "a", "-o", "nats.user=x", "-o", "nats.USER=y"], "-o nats.USER is given twice"),
        (["show", "a", "-o", "nats.url=nats://h"], "--server and -o nats.url set the same option"),
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

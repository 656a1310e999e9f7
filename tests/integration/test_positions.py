"""Where a query begins, and which streams it reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from nats_spark_common import DataLossError, OptionError, StreamNotFoundError
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.api import StreamInfo
from nats_spark_common.protocol.timestamps import ns_to_rfc3339

from .._support import consuming
from .._support.admin import Admin
from .._support.reading import ALWAYS, Driver, numbers, read_stream
from .test_permissions import STREAM, granted, restricted


@pytest.fixture
def options(server: EmbeddedServer, stream: str) -> dict[str, str]:
    return {"nats.url": server.url, "nats.stream.name": stream}


@pytest.fixture
def filled(server_admin: Admin, stream: str) -> str:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 20)
    return stream


@pytest.mark.parametrize(("floor", "start"), [(7, None), (7, "earliest"), (0, None), (None, None)])
def test_a_position_that_only_a_durable_knows_is_told_of(
    server_admin: Admin,
    options: dict[str, str],
    filled: str,
    caplog: pytest.LogCaptureFixture,
    floor: int | None,
    start: str | None,
) -> None:
    if floor is not None:
        consuming.durable(server_admin, filled)
    if floor:
        server_admin.run(consume(server_admin, filled, floor))
    options |= {"nats.durable.name": consuming.DURABLE, **({"nats.start": start} if start else {})}
    with Driver(options) as driver:
        end = driver.everything(driver.initial())
        driver.everything(end)
        assert end["streams"][filled]["seq"] == 20
    told = [each.getMessage() for each in caplog.records if "durable" in each.getMessage()]
    if not floor or start:  # none is lost, or the user has said where to begin
        assert told == []
        return
    (words,) = told
    assert f"{filled}:7" in words
    assert f"begins at sequence {filled}:1" in words
    assert "nats.start=8" in words
    assert "nats-balanced" in words


@pytest.mark.parametrize("exists", [True, False])
def test_a_position_of_a_durable_that_may_not_be_read_is_told_of(
    caplog: pytest.LogCaptureFixture, exists: bool
) -> None:
    """Also if there is no durable: without the permission, nobody can know."""
    with restricted(granted("all", "v2, partitioned"), [STREAM], 20) as (admin, url):
        if exists:
            consuming.durable(admin, STREAM)
            admin.run(consume(admin, STREAM, 7))
        options = {"nats.url": url, "nats.stream.name": STREAM}
        with Driver(options | {"nats.durable.name": consuming.DURABLE}) as driver:
            end = driver.everything(driver.initial())
            driver.everything(end)
            assert end["streams"][STREAM]["seq"] == 20
    (words,) = (each.getMessage() for each in caplog.records if each.levelname == "WARNING")
    assert f"nats.durable.name={consuming.DURABLE}" in words
    assert f"$JS.API.CONSUMER.INFO.{STREAM}.{consuming.DURABLE}" in words
    assert f"begins at sequence {STREAM}:1" in words
    assert "nats.start" in words


async def consume(admin: Admin, stream: str, count: int) -> None:
    """Acknowledge so many messages, as another client of the durable."""
    subscription = await admin.js.pull_subscribe_bind(consuming.DURABLE, stream)
    for message in await subscription.fetch(count, timeout=5):
        await message.ack_sync()


@pytest.mark.usefixtures("filled")
def test_earliest_is_the_default(options: dict[str, str]) -> None:
    assert numbers(read_stream(options)) == list(range(1, 21))


def test_latest_reads_only_what_comes(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    options |= {"nats.start": "latest", "nats.poll.interval": ALWAYS}
    with Driver(options) as driver:
        start = driver.initial()
        assert driver.everything(start) == start
        server_admin.publish(f"{filled}.new")
        assert numbers(driver.rows(start, driver.everything(start))) == [21]


def test_the_first_batch_is_the_same_after_a_crash_that_leaves_no_other(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    options |= {"nats.start": "latest", "nats.poll.interval": "1ms"}
    with Driver(options) as driver:
        start = driver.initial()
        server_admin.publish_many((f"{filled}.new", b"") for _ in range(3))
        end = driver.latest(start)
        assert numbers(driver.rows(start, end)) == [21, 22, 23]
    server_admin.publish(f"{filled}.newer")
    with Driver(options) as again:
        # Spark logs only the end of a batch, and asks anew where the first one began.
        assert numbers(again.rows(again.initial(), end)) == [21, 22, 23]
        assert numbers(again.rows(end, again.latest(end))) == [24]


def test_the_first_batch_is_replayed_whatever_the_start_has_become(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    with Driver({**options, "nats.start": "15"}) as driver:
        end = driver.latest(driver.initial())
    with Driver({**options, "nats.start": "1000"}) as again:
        assert numbers(again.rows(again.initial(), end)) == list(range(15, 21))


def test_a_query_to_the_present_end_may_begin_behind_it(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    with Driver({**options, "nats.start": "latest"}) as driver:
        driver.reader.prepareForTriggerAvailableNow()
        server_admin.publish(f"{filled}.new")
        start = driver.initial()
        assert start["streams"][filled]["seq"] == 21
        assert driver.latest(start) == start


def test_offsets_of_the_first_release_go_on(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    created = StreamInfo.from_json(server_admin.api(f"STREAM.INFO.{filled}")).created

    def logged(seq: int, created: str = created) -> dict[str, object]:
        return {"v": 1, "streams": {filled: {"seq": seq, "created": created}}}

    with Driver(options) as driver:
        assert numbers(driver.rows(logged(4), logged(9))) == [5, 6, 7, 8, 9]
        assert driver.latest(logged(20)) == logged(20)
        end = driver.latest(logged(18))
        assert numbers(driver.rows(logged(18), end)) == [19, 20]
        entered = logged(0), logged(0, "2020-01-01T00:00:00Z")
        assert driver.rows(entered[1], entered[0]) == []


def test_an_idle_stream_gives_no_batch_once_its_first_is_done(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    with Driver({**options, "nats.poll.interval": "1ms"}) as driver:
        end = driver.latest(driver.initial())
        assert driver.latest(end) == end


@pytest.mark.usefixtures("filled")
def test_a_sequence_is_included(options: dict[str, str]) -> None:
    assert numbers(read_stream({**options, "nats.start": "15"})) == list(range(15, 21))


@pytest.mark.usefixtures("filled")
def test_the_sequence_behind_the_last_waits_for_it(options: dict[str, str]) -> None:
    assert read_stream({**options, "nats.start": "21"}) == []


@pytest.mark.usefixtures("filled")
def test_a_sequence_beyond_the_end_is_refused(options: dict[str, str], stream: str) -> None:
    with pytest.raises(OptionError, match=rf"nats\.start=22 .*{stream}.*20.*latest"):
        read_stream({**options, "nats.start": "22"})


def test_a_time_starts_at_the_first_message_stored_then_or_later(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    times = [m.timestamp_ns for m in server_admin.read_all(filled)]
    server_admin.publish(f"{filled}.late")
    at = ns_to_rfc3339(times[11])
    assert numbers(read_stream({**options, "nats.start": at})) == list(range(12, 22))
    just_after = ns_to_rfc3339(times[11] + 1)
    assert numbers(read_stream({**options, "nats.start": just_after})) == list(range(13, 22))


@pytest.mark.usefixtures("filled")
def test_a_time_before_the_stream_starts_at_its_head(options: dict[str, str]) -> None:
    rows = read_stream({**options, "nats.start": "2001-01-01T00:00:00+02:00"})
    assert numbers(rows) == list(range(1, 21))


@pytest.mark.usefixtures("filled")
def test_a_time_after_the_last_message_waits_for_the_next(options: dict[str, str]) -> None:
    now = datetime.now(UTC).isoformat()
    assert read_stream({**options, "nats.start": now}) == []


def test_a_time_before_now_is_that_of_the_first_start_in_a_replay_too(
    server_admin: Admin, options: dict[str, str], filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_admin.publish_many((f"{filled}.new", b"") for _ in range(3))
    first_new = server_admin.read_all(filled)[20].timestamp_ns
    options |= {"nats.start": "-10s"}
    clock = first_new + 10_000_000_000
    monkeypatch.setattr("time.time_ns", lambda: clock)
    with Driver(options) as driver:
        end = driver.latest(driver.initial())
        assert numbers(driver.rows(driver.initial(), end)) == [21, 22, 23]
    clock += 60_000_000_000  # the same text now means a time after these messages
    server_admin.publish(f"{filled}.newer")
    with Driver(options) as again:
        assert numbers(again.rows(again.initial(), end)) == [21, 22, 23]
        assert numbers(again.rows(end, again.latest(end))) == [24]


@pytest.mark.usefixtures("filled")
def test_a_time_in_the_future_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(OptionError, match=r"nats\.start=2199.*future"):
        read_stream({**options, "nats.start": "2199-01-01T00:00:00Z"})


def test_a_sequence_that_is_no_longer_stored_is_data_loss(
    server_admin: Admin, options: dict[str, str], filled: str
) -> None:
    server_admin.purge(filled, seq=11)
    with pytest.raises(DataLossError, match=rf"nats\.start=5.*{filled}.*5 to 10.*earliest"):
        read_stream({**options, "nats.start": "5"})
    rows = read_stream({**options, "nats.start": "5", "nats.fail.on.data.loss": "false"})
    assert numbers(rows) == list(range(11, 21))


def test_each_stream_can_have_its_own_start(
    server_admin: Admin, server: EmbeddedServer, stream: str
) -> None:
    names = [f"{stream}A", f"{stream}B", f"{stream}C"]
    for name in names:
        server_admin.create_stream(name)
        server_admin.fill(name, 5)
    start = json.dumps({names[0]: 4, names[1]: "latest", "*": "earliest"})
    options = {"nats.url": server.url, "nats.stream.name": ",".join(names), "nats.start": start}
    rows = read_stream(options)
    assert [(r["stream"], r["streamSeq"]) for r in rows] == [
        (names[0], 4),
        (names[0], 5),
        *((names[2], i) for i in range(1, 6)),
    ]


def test_a_pattern_reads_the_streams_it_matches(
    server_admin: Admin, server: EmbeddedServer, stream: str
) -> None:
    for name in (f"{stream}-1", f"{stream}-2", f"other-{stream}"):
        server_admin.create_stream(name)
        server_admin.fill(name, 3)
    rows = read_stream({"nats.url": server.url, "nats.stream.pattern": f"{stream}-*"})
    assert [r["stream"] for r in rows] == [f"{stream}-1"] * 3 + [f"{stream}-2"] * 3


def test_a_stream_that_appears_under_a_pattern_is_read_from_its_head(
    admin: Admin,
    nats_server: EmbeddedServer,
    stream: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nats_spark_common.replay.stream_states.DISCOVERY_INTERVAL", 0.0)
    admin.create_stream(f"{stream}-1")
    options = {"nats.url": nats_server.url, "nats.stream.pattern": f"{stream}-*"}
    with Driver({**options, "nats.start": "latest", "nats.poll.interval": "1ms"}) as driver:
        start = driver.initial()
        admin.create_stream(f"{stream}-2")
        admin.fill(f"{stream}-2", 3)
        end = driver.latest(start)
        assert [(r["stream"], r["streamSeq"]) for r in driver.rows(start, end)] == [
            (f"{stream}-2", i) for i in (1, 2, 3)
        ]


def test_many_streams_are_read_together(
    server_admin: Admin, server: EmbeddedServer, stream: str
) -> None:
    for i in range(20):
        server_admin.create_stream(f"{stream}-{i:02}")
        server_admin.fill(f"{stream}-{i:02}", 2)
    rows = read_stream({"nats.url": server.url, "nats.stream.pattern": f"{stream}-*"})
    assert [r["stream"] for r in rows] == [f"{stream}-{i:02}" for i in range(20) for _ in (1, 2)]


def test_a_pattern_that_matches_nothing_is_refused_with_what_there_is(
    admin: Admin, nats_server: EmbeddedServer, stream: str
) -> None:
    admin.create_stream(stream)
    options = {"nats.url": nats_server.url, "nats.stream.pattern": f"no-{stream}-*"}
    with pytest.raises(StreamNotFoundError, match=rf"nats\.stream\.pattern=no-.*{stream}"):
        read_stream(options)

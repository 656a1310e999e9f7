"""The permissions that SECURITY.md and the READMEs list are enough."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from nats_spark_common import NatsSettings
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.control import Control

from .._support import consuming
from .._support import numbered as numbered_streams
from .._support.admin import Admin
from .._support.options import options
from .._support.reading import Driver, drain, numbers
from .._support.writing import make_stream, numbered, write

ROOT = Path(__file__).resolve().parents[2]
SECURITY, V2 = ROOT / "SECURITY.md", ROOT / "v2" / "README.md"
PARTITIONED = ROOT / "archived" / "partitioned" / "README.md"
STREAM, BUCKET = "ORDERS", "nats_spark_sink"
#: More streams than are asked for singly, if the user may list the account.
MANY = [f"{STREAM}-{number}" for number in range(17)]


def documented(document: Path, *uses: str) -> list[str]:
    """The subjects, with placeholders, that a document's table lists for some uses."""
    rows = re.findall(r"^\| ([a-z`].*?) \| (.*?) \|", document.read_text(), re.MULTILINE)
    table = {use: re.findall(r"`(\$[^`]+)`", subjects) for use, subjects in rows}
    return [subject for use in uses for subject in table[use]]


def granted(
    *uses: str, document: Path = SECURITY, streams: Collection[str] = (STREAM,)
) -> list[str]:
    """The subjects that a document lists for some uses of the streams."""
    others = {"<durable>": consuming.DURABLE, "<bucket>": BUCKET}
    found = []
    for subject in documented(document, *uses):
        for placeholder, name in others.items():
            subject = subject.replace(placeholder, name)
        found += [subject.replace("<stream>", name) for name in streams]
    return list(dict.fromkeys(found))


def server_for(subjects: list[str]) -> EmbeddedServer:
    """A server whose user ``spark`` may publish only to the subjects, beside an administrator."""
    return EmbeddedServer(
        f"""
        authorization {{ users [
            {{ user: admin, password: pw }}
            {{ user: spark, password: pw, permissions: {{
                publish: {json.dumps(subjects)}, subscribe: ["_INBOX.>"]
            }} }}
        ] }}
        """
    )


@contextmanager
def restricted(
    subjects: list[str], streams: list[str], count: int, *, direct: bool = True
) -> Iterator[tuple[Admin, str]]:
    """A server with streams, its administrator, and the URL of a user with these permissions."""
    with server_for(subjects) as server:
        admin_url, url = (
            server.url.replace("nats://", f"nats://{user}:pw@") for user in ("admin", "spark")
        )
        with closing(Admin(admin_url)) as admin:
            for name in streams:
                make_stream(admin, name, allow_direct=direct)
                admin.fill(name, count)
            yield admin, url


def count_rows(driver: Driver) -> int:
    with driver:
        start = driver.initial()
        return len(driver.rows(start, driver.everything(start)))


def read_v2(url: str) -> None:
    assert count_rows(Driver(options(url, stream_name=STREAM))) == 100


def read_pattern(url: str) -> None:
    assert count_rows(Driver(options(url, stream_pattern="ORD*"))) == 100


def read_balanced(url: str) -> None:
    with consuming.start(url, STREAM) as driver:
        assert numbers(drain(driver)) == list(range(1, 101))


def write_rows(url: str) -> None:
    write(options(url), numbered(STREAM, 10))


def write_exactly_once(url: str) -> None:
    write(options(url, sink_mode="exactly-once"), numbered(STREAM, 10))


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(
    ("uses", "also", "work"),
    [
        (["all", "v2, partitioned"], [], read_v2),
        (
            ["all", "v2, partitioned", "v2 with a pattern, partitioned"],
            [],
            read_pattern,
        ),
        (["all", "v2, partitioned", "balanced"], [], read_balanced),
        (["all", "sink"], [f"{STREAM}.>"], write_rows),
        (
            ["all", "v2, partitioned", "sink", "sink, exactly-once"],
            [f"{STREAM}.>"],
            write_exactly_once,
        ),
    ],
    ids=["v2", "pattern", "balanced", "sink", "exactly-once"],
)
def test_the_documented_permissions_are_enough(
    uses: list[str], also: list[str], work: Callable[[str], None], direct: bool
) -> None:
    allowed = [*granted(*uses), *also]
    with restricted(allowed, [STREAM], 100, direct=direct) as (admin, url):
        before = admin.info(STREAM).state.last_seq
        work(url)
        stored = admin.info(STREAM).state.last_seq - before
        assert stored == (10 if "sink" in uses else 0)


def by_name(url: str) -> Driver:
    return Driver(options(url, stream_name=",".join(MANY)))


def by_pattern(url: str) -> Driver:
    return Driver(options(url, stream_pattern=f"{STREAM}-*"))


def by_prefix(url: str) -> Driver:
    return numbered_streams.start(url, STREAM)


BASE = ["all", "v2, partitioned"]
LISTED = [*BASE, "v2 with a pattern, partitioned"]


@pytest.mark.parametrize(
    ("document", "uses", "start"),
    [
        (SECURITY, BASE, by_name),
        (SECURITY, LISTED, by_pattern),
        (SECURITY, LISTED, by_prefix),
        (V2, ["reads"], by_name),
        (V2, ["reads", "`nats.stream.pattern`"], by_pattern),
        (PARTITIONED, ["reads"], by_prefix),
    ],
    ids=["security-name", "security-pattern", "security-prefix", "v2-name", "v2-pattern", "prefix"],
)
def test_the_documented_permissions_are_enough_for_many_streams(
    document: Path, uses: list[str], start: Callable[[str], Driver]
) -> None:
    with restricted(granted(*uses, document=document, streams=MANY), MANY, 2) as (_, url):
        assert count_rows(start(url)) == 2 * len(MANY)


def test_the_documents_list_the_same_permissions() -> None:
    assert set(documented(V2, "reads")) == set(documented(SECURITY, *BASE))
    with_pattern = set(documented(V2, "reads", "`nats.stream.pattern`"))
    assert with_pattern == set(documented(SECURITY, *LISTED))
    assert set(documented(PARTITIONED, "reads")) == with_pattern


def test_an_account_that_may_not_be_listed_is_asked_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        restricted(granted(*BASE, streams=MANY), MANY, 1) as (_, url),
        Control(NatsSettings.from_options({"nats.url": url})) as control,
    ):
        caplog.set_level(logging.INFO)
        for _ in range(3):
            assert list(control.stream_infos([*MANY, f"{STREAM}-9"])) == MANY
        begun = time.monotonic()
        control.stream_infos(MANY)
        assert time.monotonic() - begun < 2.0, "no request waits for a reply that never comes"
    refused = [each for each in caplog.records if "STREAM.LIST" in each.getMessage()]
    assert [each.levelname for each in refused] == ["INFO"]

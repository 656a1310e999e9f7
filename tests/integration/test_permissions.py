"""The permissions that SECURITY.md lists are enough."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support import consuming
from .._support.admin import Admin
from .._support.options import options
from .._support.reading import Driver, drain, numbers
from .._support.writing import make_stream, numbered, write

DOCUMENT = Path(__file__).resolve().parents[2] / "SECURITY.md"
STREAM, BUCKET = "ORDERS", "nats_spark_sink"


def granted(*uses: str) -> list[str]:
    """The subjects that the document lists for some uses."""
    rows = re.findall(r"^\| ([a-z].*?) \| (.*?) \|", DOCUMENT.read_text(), re.MULTILINE)
    table = {use: re.findall(r"`(\$[^`]+)`", subjects) for use, subjects in rows}
    names = {"<stream>": STREAM, "<durable>": consuming.DURABLE, "<bucket>": BUCKET}
    found = [subject for use in uses for subject in table[use]]
    for placeholder, name in names.items():
        found = [subject.replace(placeholder, name) for subject in found]
    return found


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


def read_v2(url: str) -> None:
    with Driver(options(url, stream_name=STREAM)) as driver:
        start = driver.initial()
        assert len(driver.rows(start, driver.everything(start))) == 100


def read_pattern(url: str) -> None:
    with Driver(options(url, stream_pattern="ORD*")) as driver:
        start = driver.initial()
        assert len(driver.rows(start, driver.everything(start))) == 100


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
    with server_for([*granted(*uses), *also]) as server:
        admin_url, url = (
            server.url.replace("nats://", f"nats://{user}:pw@") for user in ("admin", "spark")
        )
        with closing(Admin(admin_url)) as admin:
            make_stream(admin, STREAM, allow_direct=direct)
            admin.fill(STREAM, 100)
            before = admin.info(STREAM).state.last_seq
            work(url)
            stored = admin.info(STREAM).state.last_seq - before
            assert stored == (10 if "sink" in uses else 0)

"""Many subjects, many streams, and streams of which little is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support import consuming
from .._support.admin import Admin
from .._support.options import options
from .._support.reading import Driver, drain, numbers, read_stream
from .._support.writing import WAYS, begin, exactly, make_stream, new_task, write
from .filling import fill

SUBJECTS, STREAMS = 10_000, 1_000

pytestmark = pytest.mark.limits


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def admin(server: EmbeddedServer) -> Iterator[Admin]:
    with closing(Admin(server.url)) as admin:
        yield admin


@pytest.mark.usefixtures("via")
@pytest.mark.parametrize("filters", [0, 1, 100])
def test_a_stream_of_many_subjects_is_read(
    server: EmbeddedServer, admin: Admin, stream: str, filters: int
) -> None:
    fill(admin, stream, 10 * SUBJECTS, subject=lambda numbers: numbers % SUBJECTS)
    short = {"stream_subjects": ",".join(f"{stream}.{i}" for i in range(filters))}
    rows = read_stream(options(server.url, stream_name=stream, **(short if filters else {})))
    wanted = range(10 * SUBJECTS)
    assert numbers(rows) == [i + 1 for i in wanted if not filters or i % SUBJECTS < filters]
    assert all(row["subject"] == f"{stream}.{(row['streamSeq'] - 1) % SUBJECTS}" for row in rows)


def test_balanced_reads_a_stream_of_many_subjects(
    server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    fill(admin, stream, 10 * SUBJECTS, subject=lambda numbers: numbers % SUBJECTS)
    with consuming.start(server.url, stream) as driver:
        assert numbers(drain(driver)) == list(range(1, 10 * SUBJECTS + 1))
    assert consuming.is_settled(admin, stream)


@pytest.mark.parametrize("way", WAYS)
def test_a_task_writes_to_many_subjects_once(
    server: EmbeddedServer, admin: Admin, stream: str, way: str
) -> None:
    make_stream(admin, stream, **WAYS[way])
    rows = [{"subject": f"{stream}.{i}", "content": b"%d" % i} for i in range(SUBJECTS)]
    task = new_task()
    begin(server.url, rows, SUBJECTS // 2, task)
    write(exactly(server.url), rows, task=task)
    assert sorted(int(each.payload) for each in admin.read_all(stream)) == list(range(SUBJECTS))


@pytest.fixture
def streams(admin: Admin, stream: str) -> Iterator[list[str]]:
    """Many streams, in memory; each task of the tests needs all of them."""
    names = [f"{stream}-{i}" for i in range(STREAMS)]
    for name in names:
        make_stream(admin, name, storage="memory")
    yield names
    for name in names:
        admin.delete_stream(name)


def test_a_task_writes_to_many_streams_once_and_a_query_reads_them_all(
    server: EmbeddedServer, stream: str, streams: list[str]
) -> None:
    rows = [{"subject": f"{name}.a", "content": b"%d" % i} for i in range(4) for name in streams]
    task = new_task()
    begin(server.url, rows, len(rows) // 2, task)
    write(exactly(server.url), rows, task=task)
    read = read_stream(options(server.url, stream_pattern=f"{stream}-*"))
    assert len(read) == len(rows)
    assert {(row["stream"], int(row["content"])) for row in read} == {
        (name, i) for i in range(4) for name in streams
    }


LONG, LEFT = 1_000_000, 10_000


@pytest.fixture
def sparse(admin: Admin, stream: str) -> list[int]:
    """The sequences that remain of a stream of which 99 % are gone, all over."""
    keep = LONG // LEFT

    def subject(numbers: np.typing.NDArray[np.int64]) -> np.typing.NDArray[np.int64]:
        return np.where(numbers % keep == 0, numbers, 1)

    fill(admin, stream, LONG, subject=subject, max_msgs_per_subject=1)
    left = [*range(1, LONG + 1, keep), LONG]
    assert admin.info(stream).state.messages == len(left)
    return left


@pytest.mark.usefixtures("via")
def test_what_is_left_of_a_long_stream_is_read(
    server: EmbeddedServer, stream: str, sparse: list[int]
) -> None:
    with Driver(options(server.url, stream_name=stream, partitions="4")) as driver:
        start = driver.initial()
        tasks = [numbers(each) for each in driver.tasks(start, driver.everything(start))]
    assert len(tasks) == 4
    assert [seq for task in tasks for seq in task] == sparse


def test_balanced_reads_what_is_left_of_a_long_stream(
    server: EmbeddedServer, admin: Admin, stream: str, sparse: list[int]
) -> None:
    with consuming.start(server.url, stream) as driver:
        assert numbers(drain(driver)) == sparse
    assert consuming.is_settled(admin, stream)

"""Counts of a run, between the processes that commit and a listener."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from pathlib import Path

import pytest

from nats_spark_common.sink.counts import (
    Counts,
    add_counts,
    read_counts,
    start_counting,
    stop_counting,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"nats-spark-counts-{os.getuid()}"


def test_batches_are_added_up() -> None:
    start_counting("r")
    add_counts("r", Counts(3, 60, 1))
    start_counting("r")  # a second listener
    add_counts("r", Counts(1, 5, 0))
    assert read_counts("r") == Counts(4, 65, 1)
    stop_counting("r")
    assert read_counts("r") == Counts()


def test_without_a_listener_nothing_is_kept(folder: Path) -> None:
    add_counts("r", Counts(3, 60, 1))
    assert read_counts("r") == Counts()
    assert not folder.exists()


def _commit(times: int) -> None:
    for _ in range(times):
        add_counts("r", Counts(1, 2, 3))


def test_processes_add_at_the_same_time() -> None:
    start_counting("r")
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_commit, args=(200,)) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert read_counts("r") == Counts(800, 1_600, 2_400)


def test_a_folder_that_others_may_write_is_not_used(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    start_counting("r")
    assert "others may write to it" in caplog.text
    assert not list(folder.iterdir())
    (folder / "r").write_text('{"messages": 9}')
    assert read_counts("r") == Counts()


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "r").symlink_to(tmp_path / "elsewhere")
    start_counting("r")
    assert not (tmp_path / "elsewhere").exists()

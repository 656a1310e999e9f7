"""Help, completion, and what the command needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import Command

COMMANDS = ["bench", "completion", "doctor", "lag", "offsets", "partitions", "peek", "streams"]


def test_the_help_lists_every_command(command: Command) -> None:
    code, out, _ = command("--help", url=None)
    assert code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(command: Command, name: str) -> None:
    code, out, err = command(name, "--help", url=None)
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: nats-spark {name}")


def test_no_command_is_a_usage_error_with_the_help(command: Command) -> None:
    code, out, err = command(url=None)
    assert (code, out) == (2, "")
    assert "Usage: nats-spark" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "No such command 'nothing'; see nats-spark --help"),
        (["lag"], "Missing argument 'CHECKPOINT'; see nats-spark lag --help"),
        (["streams", "--jsno"], "unknown option --jsno"),
        (["streams", "-x"], "unknown option -x"),
        (["lag", "a", "secret"], "too many arguments; see nats-spark lag --help"),
        (["peek", "S", "-n", "0"], "-n: 0 is not in the range x>=1"),
    ],
)
def test_wrong_usage_is_one_line(command: Command, arguments: list[str], words: str) -> None:
    code, out, err = command(*arguments, url=None)
    assert (code, out) == (2, "")
    assert words in err
    assert "secret" not in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(command: Command, shell: str) -> None:
    code, out, _ = command("completion", shell, url=None)
    assert code == 0
    assert "_NATS_SPARK_COMPLETE" in out


def test_completion_completes() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "nats_spark_common.cli"],
        env={
            "_NATS_SPARK_COMPLETE": "bash_complete",
            "COMP_WORDS": "nats-spark off",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.stdout == "plain,offsets\n"


def test_without_its_packages_the_command_says_what_to_install() -> None:
    script = """
import sys
sys.modules["click"] = None
from nats_spark_common.cli import main
sys.exit(main(["streams"]))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "pip install 'nats-spark-common[cli]'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_connectors_do_not_need_the_packages_of_the_command() -> None:
    script = """
import sys
for name in ("click", "rich", "cryptography"):
    sys.modules[name] = None
import pyspark_nats_v2, pyspark_nats_balanced, pyspark_nats_partitioned, pyspark_nats
"""
    subprocess.run([sys.executable, "-c", script], check=True)

"""The commands of ``nats-spark``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .bench import bench
from .doctor import doctor
from .lag import lag
from .offsets import offsets
from .partitions import partitions
from .peek import peek
from .streams import streams

_COMPLETION = "_NATS_SPARK_COMPLETE"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="nats-spark-common", prog_name="nats-spark")
def app() -> None:
    """Tools for NATS JetStream and Apache Spark.

    Exit codes: 0 success, 1 a problem or failure, 2 wrong arguments, unusable checkpoint or no
    server.
    """


@app.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion of a shell.

    In bash: source <(nats-spark completion bash)
    """
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(app, {}, "nats-spark", _COMPLETION).source())


for command in (doctor, streams, peek, lag, offsets, partitions, bench):
    app.add_command(command)

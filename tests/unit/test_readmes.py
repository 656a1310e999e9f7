"""The READMEs say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from nats_spark_common.options.reference import options_reference
from nats_spark_common.rows.schema import SCHEMA

ROOT = Path(__file__).resolve().parents[2]


def test_the_tables_of_options_are_those_of_the_model() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "option-tables"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0


def test_every_option_stands_in_the_common_readme() -> None:
    text = (ROOT / "common" / "README.md").read_text()
    assert [o.name for o in options_reference() if f"`{o.name}`" not in text] == []


def test_every_column_stands_in_the_v2_readme() -> None:
    text = (ROOT / "v2" / "README.md").read_text()
    assert [name for name in SCHEMA.fieldNames() if f"`{name}`" not in text] == []


def test_every_option_of_the_sink_stands_in_its_document() -> None:
    text = (ROOT / "common" / "SINK.md").read_text()
    sink = [each.name for each in options_reference() if each.group == "sink"]
    assert [name for name in sink if f"`{name}`" not in text] == []


def test_the_error_tree_of_the_readme_is_that_of_the_code() -> None:
    from nats_spark_common import errors

    tree = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    text = (ROOT / "common" / "README.md").read_text()
    assert re.findall(r"[├└]── (\w+)", text) == tree
    assert {name for name in vars(errors) if name.endswith("Error")} - {"NatsSparkError"} == set(
        tree
    )

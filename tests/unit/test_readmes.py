"""The READMEs say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

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


LINK = re.compile(r"\]\(([^)\s:]+\.(?:md|py|yml))?(?:#([^)]+))?\)")
DOCUMENTS = sorted(
    path for path in ROOT.rglob("*.md") if not {".venv", ".cache", "node_modules"} & {*path.parts}
)


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_between_documents_leads_somewhere(path: Path) -> None:
    for file, anchor in LINK.findall(path.read_text()):
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), file
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), (file, anchor)


def test_the_error_tree_of_the_readme_is_that_of_the_code() -> None:
    from nats_spark_common import errors

    tree = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    text = (ROOT / "common" / "README.md").read_text()
    assert re.findall(r"[├└]── (\w+)", text) == tree
    assert {name for name in vars(errors) if name.endswith("Error")} - {"NatsSparkError"} == set(
        tree
    )

"""How the packages depend on each other."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLAVORS = {
    "pyspark_nats_v2": ROOT / "v2",
    "pyspark_nats_balanced": ROOT / "balanced",
    "pyspark_nats_partitioned": ROOT / "archived" / "partitioned",
}


def imported(folder: Path) -> set[str]:
    """The top-level packages that the code of a distribution imports."""
    found = set()
    for path in (folder / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module or "")
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("name", FLAVORS)
def test_a_flavor_imports_common_and_no_other_flavor(name: str) -> None:
    used = imported(FLAVORS[name])
    assert "nats_spark_common" in used
    assert not used & (FLAVORS.keys() - {name})


@pytest.mark.parametrize("name", FLAVORS)
def test_a_flavor_is_installed_with_common_and_no_other_flavor(name: str) -> None:
    project = tomllib.loads((FLAVORS[name] / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == [f"nats-spark-common=={project['version']}"]


def test_common_imports_no_flavor() -> None:
    assert not imported(ROOT / "common") & FLAVORS.keys()


@pytest.mark.parametrize("folder", [ROOT / "common", *FLAVORS.values()])
def test_every_package_of_a_distribution_is_in_its_wheel(folder: Path) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    found = {path.parent for path in (folder / "src").glob("*/__init__.py")}
    assert {folder / each for each in listed} == found

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
    needed = [each for each in project["dependencies"] if not each.startswith("pyspark>=")]
    assert needed == [f"nats-spark-common=={project['version']}"]


def test_common_imports_no_flavor() -> None:
    assert not imported(ROOT / "common") & FLAVORS.keys()


#: The rooms of common from the lowest up; those of a line do not import one another.
ROOMS = (
    ("errors", "embedded"),
    ("protocol",),
    ("rows",),
    ("options",),
    ("connection",),
    ("jetstream",),
    ("planning", "partitions"),
    ("reading",),
    ("sink",),
    ("spark",),
    ("replay",),
    ("checkpoint", "diagnose", "observe"),
    ("cli",),
)
COMMON = ROOT / "common" / "src" / "nats_spark_common"


def rooms_imported(path: Path) -> set[str]:
    """The rooms of common whose code a module of common imports, its own among them."""
    package = ("nats_spark_common", *path.relative_to(COMMON).parts[:-1])
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            full = (*above, *(node.module or "").split("."))
            targets = [(*full, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        else:
            continue
        for target in targets:
            parts = [part for part in target if part]
            if parts[0] == "nats_spark_common":
                rooms.add(parts[1])
    return rooms


MODULES = sorted(path for path in COMMON.rglob("*.py") if path.parent != COMMON)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(COMMON)))
def test_a_room_imports_only_rooms_below_it(path: Path) -> None:
    room = path.relative_to(COMMON).parts[0]
    floor = next(i for i, rooms in enumerate(ROOMS) if room in rooms)
    allowed = {room, *(each for rooms in ROOMS[:floor] for each in rooms)}
    assert rooms_imported(path) <= allowed


def test_no_module_stands_outside_a_room() -> None:
    outside = {path.stem for path in COMMON.glob("*.py")} - {"__init__"}
    assert outside <= {"errors", "embedded"}


@pytest.mark.parametrize("folder", [ROOT / "common", *FLAVORS.values()])
def test_every_package_of_a_distribution_is_in_its_wheel(folder: Path) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    found = {path.parent for path in (folder / "src").glob("*/__init__.py")}
    assert {folder / each for each in listed} == found

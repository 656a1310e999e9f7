"""The dashboard, the alerts and the compose profile use metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from nats_spark_common.observe import PrometheusListener

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "observability"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "nats-spark.json"


def exported() -> set[str]:
    """The names of the samples that the listener exports."""
    families = PrometheusListener(registry=CollectorRegistry()).describe()
    return {f"{each.name}_total" if each.type == "counter" else each.name for each in families}


def used(text: str) -> set[str]:
    return set(re.findall(r"\bnats_spark_[a-z_]+", text))


@pytest.mark.parametrize("name", ["alerts.yml", "alerts_test.yml"])
def test_the_alerts_use_metrics_that_are_exported(name: str) -> None:
    assert used((FOLDER / name).read_text()) <= exported()


def test_the_dashboard_uses_metrics_that_are_exported() -> None:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    expressions = [each["expr"] for panel in dashboard["panels"] for each in panel["targets"]]
    queries = [each["query"] for each in dashboard["templating"]["list"]]
    assert used(" ".join(expressions)) <= exported()
    assert used(" ".join(map(str, queries))) <= exported()
    assert len(expressions) >= 8


def test_every_exported_metric_is_documented() -> None:
    guide = (FOLDER.parents[1] / "common" / "OPERATING.md").read_text()
    assert exported() <= used(guide)


def test_the_panels_do_not_overlap() -> None:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    cells: list[tuple[int, int]] = []
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells += [
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))


def test_the_dashboard_agrees_with_grafanas_schema() -> None:
    models = pytest.importorskip(
        "grafana_foundation_sdk.models.dashboard", reason="Grafana's models are not installed"
    )
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    given = json.loads(DASHBOARD.read_text())
    parsed = json.loads(JSONEncoder().encode(models.Dashboard.from_json(given)))
    for key, value in given.items():
        if key not in ("panels", "templating"):
            assert parsed[key] == value, key
    assert [each["title"] for each in parsed["panels"]] == [e["title"] for e in given["panels"]]
    assert [each["targets"] for each in parsed["panels"]] == [e["targets"] for e in given["panels"]]


def test_promtool_accepts_the_alerts() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian's package prometheus) is not installed")
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        ran = subprocess.run(
            [promtool, *command], cwd=FOLDER, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr

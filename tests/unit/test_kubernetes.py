"""The manifests for Kubernetes agree with its schema, and with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "kubernetes"
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all((FOLDER / "job.yaml").read_text()))
VERSIONS = ("1.30", "1.35")


def of(kind: str) -> dict[str, Any]:
    (found,) = [each for each in DOCUMENTS if each["kind"] == kind]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: each["kind"])
def test_each_document_agrees_with_the_schema(document: dict[str, Any], version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="no schemas of Kubernetes here")
    validate.validate(document, version, strict=True)


def test_the_template_of_executors_is_a_pod() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="no schemas of Kubernetes here")
    template = yaml.safe_load(of("ConfigMap")["data"]["executor.yaml"])
    assert template["spec"] == {"enableServiceLinks": False}
    template["spec"]["containers"] = [{"name": "spark-kubernetes-executor"}]  # Spark adds it
    validate.validate(template, VERSIONS[-1], strict=True)


def test_names_refer_to_what_is_there() -> None:
    pod = of("Job")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    command = container["command"]
    assert pod["metadata"]["labels"] == of("Service")["spec"]["selector"]
    assert pod["spec"]["serviceAccountName"] == of("ServiceAccount")["metadata"]["name"]
    assert f"spark.driver.host={of('Service')['metadata']['name']}" in command
    ports = {each["name"]: each["port"] for each in of("Service")["spec"]["ports"]}
    assert f"spark.driver.port={ports['driver']}" in command
    assert f"spark.blockManager.port={ports['blocks']}" in command
    job = FOLDER.parents[1] / command[-1].removeprefix("/opt/nats-spark/")
    assert job.exists()
    used = {each["name"] for each in container["env"]} - {"NATS_CREDENTIAL_FILE", "NATS_FILES_SHIP"}
    assert all(f'"{name}"' in job.read_text() or f"'{name}'" in job.read_text() for name in used)
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in pod["spec"]["volumes"]}

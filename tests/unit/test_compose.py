"""What docker-compose.yml must have in common with the tests; CI starts it for the rest."""

from __future__ import annotations

from pathlib import Path

from .._support.containers import OFFICIAL_IMAGE

COMPOSE = Path(__file__).resolve().parents[2] / "docker-compose.yml"


def test_servers_are_of_the_image_that_the_tests_use() -> None:
    assert f"image: ${{NATS_IMAGE:-{OFFICIAL_IMAGE}}}\n" in COMPOSE.read_text()

"""Settings of the connectors that integration tests change."""

from __future__ import annotations

import pytest

from nats_spark_common.replay import stream_states


@pytest.fixture
def discovers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a query search for new streams with each request."""
    monkeypatch.setattr(stream_states, "DISCOVERY_INTERVAL", 0.0)

"""Metrics of running queries, for Prometheus and OpenTelemetry.

A listener of Spark's keeps the last progress of each query (`queries`), as the values that
`measures` finds in it. `prometheus` and `opentelemetry` export them; each needs the extra of its
name::

    from nats_spark_common.observe import PrometheusListener

    spark.streams.addListener(PrometheusListener(port=9464))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .opentelemetry import OpenTelemetryListener
    from .prometheus import PrometheusListener

__all__ = ["OpenTelemetryListener", "PrometheusListener"]

_MODULES = {"PrometheusListener": "prometheus", "OpenTelemetryListener": "opentelemetry"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    extra = "otel" if name == "OpenTelemetryListener" else "prometheus"
    try:
        module = import_module(f".{_MODULES[name]}", __name__)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name} needs its packages: pip install 'nats-spark-common[{extra}]'"
        ) from error
    return getattr(module, name)

"""The measurements of a run, and the ratios computed from them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

PULL, JETSTREAM, RAW, RAW_CONSUMER, DECODE = "pull", "jetstream", "raw", "raw consumer", "decode"
WHOLE, TRIGGER, BATCH = "query", "trigger", "batch"
WHOLE_2, TRIGGER_2, BATCH_2 = "query_2", "trigger_2", "batch_2"
VIA_DIRECT, FILTERS, NO_DIRECT = "via direct", "filters", "no direct"

#: In display order.
LABELS = {
    PULL: "nats-py pull fetch",
    JETSTREAM: "nats-jetstream fetch",
    RAW: "raw socket, direct gets, discarded",
    RAW_CONSUMER: "raw socket, consumer, discarded",
    DECODE: "decode alone, one core",
    WHOLE: "nats-v2, whole query",
    TRIGGER: "nats-v2, triggers of the query",
    BATCH: "nats-v2, addBatch",
    WHOLE_2: "nats-v2, subject and content: whole query",
    TRIGGER_2: "nats-v2, subject and content: triggers",
    BATCH_2: "nats-v2, subject and content: addBatch",
    VIA_DIRECT: "nats-v2, nats.read.via=direct",
    FILTERS: "nats-v2, two filter subjects",
    NO_DIRECT: "nats-v2, stream without allow_direct",
}

#: A side over the faster of one or several.
_RATIOS = {
    "d/a": (WHOLE, (PULL,)),
    "d/faster b": (WHOLE, (RAW, RAW_CONSUMER)),
    "d/faster b, triggers": (TRIGGER, (RAW, RAW_CONSUMER)),
    "d/b, direct gets": (WHOLE, (RAW,)),
    "d/b, subject and content": (WHOLE_2, (RAW,)),
    "c/b": (DECODE, (RAW,)),
    "two filter subjects / direct": (FILTERS, (VIA_DIRECT,)),
    "without allow_direct / direct": (NO_DIRECT, (VIA_DIRECT,)),
}

#: Minimum ratios of 200-byte payloads, and the maximum memory ratio.
TARGETS: dict[str, float] = {
    "d/a": 13.0,
    "d/faster b": 0.6,
    "c/b": 1.2,
    "two filter subjects / direct": 0.9,
    "without allow_direct / direct": 0.9,
}
MEMORY_TARGET = 1.2


@dataclass
class SizeResult:
    """One payload size.

    Attributes:
        rates: messages per second by side, one per round.
        usage: core-seconds per million messages of the whole query, by kind of process.
        elsewhere: cores used by unrelated processes meanwhile, by side.
    """

    size: int
    messages: int
    rates: dict[str, list[float]] = field(default_factory=dict)
    usage: dict[str, list[float]] = field(default_factory=dict)
    elsewhere: dict[str, list[float]] = field(default_factory=dict)

    def add_elsewhere(self, side: str, cores: float) -> None:
        self.elsewhere.setdefault(side, []).append(cores)

    def add_usage(self, seconds: dict[str, float]) -> None:
        """Add the core-seconds of one query over all columns."""
        for kind, value in seconds.items():
            self.usage.setdefault(kind, []).append(value / self.messages * 1e6)

    def add(self, side: str, rate: float) -> None:
        self.rates.setdefault(side, []).append(rate)

    def rate(self, side: str) -> float:
        return median(self.rates[side])

    def ratios(self) -> dict[str, float]:
        """Return medians of each round's ratio, because a slow round affects both sides."""
        return {
            name: median(
                a / max(b) for a, *b in zip(*(self.rates[s] for s in (top, *low)), strict=True)
            )
            for name, (top, low) in _RATIOS.items()
            if all(side in self.rates for side in (top, *low))
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "messages": self.messages,
            "rates": {side: [round(rate) for rate in rates] for side, rates in self.rates.items()},
            "core_seconds_per_million": {
                kind: [round(value, 2) for value in values] for kind, values in self.usage.items()
            },
            "cores_elsewhere": {
                side: [round(cores, 2) for cores in values]
                for side, values in self.elsewhere.items()
            },
            "ratios": {name: round(value, 3) for name, value in self.ratios().items()},
        }


@dataclass(frozen=True)
class MemoryResult:
    """Peak bytes of a worker, by the number of messages that its task reads."""

    small_count: int
    large_count: int
    small: list[int]
    large: list[int]

    @property
    def ratio(self) -> float:
        return median(self.large) / median(self.small)

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "ratio": round(self.ratio, 3)}

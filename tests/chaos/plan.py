"""What a round does: its scenarios and faults, from a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

#: Faults of Spark's processes, of servers, and of the network between both. Those of a lane follow
#: each other: a cluster of three survives one server's failure at a time.
LANES: dict[str, tuple[str, ...]] = {
    "spark": ("kill-driver", "kill-worker", "freeze-worker", "freeze-driver"),
    "servers": (
        "kill-server",
        "restart-server",
        "freeze-server",
        "kill-leader",
        "freeze-leader",
        "step-down",
        "meta-step-down",
        "isolate-server",
        "cut-off-replica",
        "lag-replica",
        "fill-disk",
        "remove-consumers",
        "remove-old-messages",
    ),
    "network": ("cut-links", "cut-mid-frame", "stall-links", "slow-links", "refuse-links"),
}

#: How long a fault lasts, in seconds. A leader's failure takes up to ten to be noticed.
_LONGEST = 12.0
_PAUSES = (0.5, 5.0)


@dataclass(frozen=True)
class Fault:
    """Something that fails.

    Attributes:
        lane: ``spark``, ``servers`` or ``network``.
        kind: one of the lane's `LANES`.
        after: seconds after the previous fault of the lane is healed.
        lasts: seconds until it is healed.
        choice: selects the server, worker or stream, modulo their number.
    """

    lane: str
    kind: str
    after: float
    lasts: float
    choice: int

    def __str__(self) -> str:
        return f"{self.lane}: {self.kind} #{self.choice} after {self.after} s for {self.lasts} s"


@dataclass(frozen=True)
class Plan:
    """A round.

    Attributes:
        seed: all other random decisions of the round follow from it.
        scenarios: names of `scenarios.SCENARIOS`.
        faults: by lane in the order in which they happen.
    """

    seed: int
    scenarios: tuple[str, ...]
    faults: tuple[Fault, ...]

    def lane(self, name: str) -> Iterator[Fault]:
        """Return the faults of a lane."""
        return (each for each in self.faults if each.lane == name)

    def without(self, faults: Sequence[Fault]) -> Plan:
        """Return the same round without some of its faults."""
        return replace(self, faults=tuple(each for each in self.faults if each not in faults))


def plan(seed: int, scenarios: Sequence[str], seconds: float, at_once: int = 4) -> Plan:
    """Return the round of a seed.

    Args:
        scenarios: those to choose from.
        seconds: how long faults happen.
        at_once: how many scenarios a driver runs.
    """
    chance = random.Random(seed)
    chosen = chance.sample(list(scenarios), min(at_once, len(scenarios)))
    faults = [each for lane in LANES for each in _faults(chance, lane, seconds)]
    return Plan(seed, tuple(sorted(chosen)), tuple(faults))


def _faults(chance: random.Random, lane: str, seconds: float) -> Iterator[Fault]:
    spent = 0.0
    while True:
        after = round(chance.uniform(*_PAUSES), 1)
        # Mostly short: what a retry hides, and sometimes what it cannot.
        lasts = round(min(_LONGEST, chance.expovariate(0.4)), 1)
        kind, choice = chance.choice(LANES[lane]), chance.randrange(1 << 16)
        spent += after + lasts
        if spent > seconds:
            return
        yield Fault(lane, kind, after, lasts, choice)


def shrink(found: Plan, fails: Callable[[Plan], bool], attempts: int) -> Plan:
    """Return a round with fewer faults that still fails.

    Removes ever smaller parts of the faults (Zeller's delta debugging), and tries each at most
    once: what fails by chance only may stay.
    """
    size = max(1, len(found.faults) // 2)
    while attempts and found.faults:
        for start in range(0, len(found.faults), size):
            smaller = found.without(found.faults[start : start + size])
            attempts -= 1
            if fails(smaller):
                found = smaller
                break
            if not attempts:
                break
        else:
            if size == 1:
                break
            size //= 2
        size = min(size, max(1, len(found.faults)))
    return found

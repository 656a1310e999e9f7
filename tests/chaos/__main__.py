"""``python -m tests.chaos``: rounds of random faults, until the time is over or one fails."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

from . import record
from .plan import Plan, plan, shrink
from .rounds import Result, run
from .scenarios import SCENARIOS

_USAGE = """\
CHAOS_SECONDS    how long rounds are started (600)
CHAOS_SEED       the seed of the first round; it alone is run if CHAOS_SECONDS is not given
CHAOS_SCENARIO   names of scenarios, separated by commas: {names}
CHAOS_SHRINK     how many rounds may be run to find fewer faults that fail (6)
CHAOS_RECORD     1 to write the result into RELIABILITY.md\
"""

#: How long the faults of a round happen, in seconds. Its start and its end take as long.
_FAULT_SECONDS = 40.0


def main() -> int:
    """Return the exit code: 0 if all rounds were as promised, 1 if one was not, 2 for usage."""
    try:
        seed, seconds, names, attempts = _arguments()
    except ValueError as error:
        print(error, _USAGE.format(names=", ".join(SCENARIOS)), sep="\n\n", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleaned up
    begun, first = time.monotonic(), seed
    rounds: list[tuple[Plan, Result]] = []
    chance = random.Random(seed)
    while not rounds or time.monotonic() - begun < seconds:
        found = plan(seed, names, _FAULT_SECONDS)
        print(
            f"round {len(rounds) + 1}: CHAOS_SEED={seed} {', '.join(found.scenarios)}", flush=True
        )
        result = run(found, _tell)
        _report(result)
        rounds.append((found, result))
        if result.problems:
            break
        seed = chance.randrange(1 << 32)
    text = record.table(first, rounds)
    if os.environ.get("CHAOS_RECORD"):
        record.write(text)
    print(text)
    failed = [plan for plan, result in rounds if result.problems]
    for each in failed:
        _shrink(each, attempts)
    return 1 if failed else 0


def _arguments() -> tuple[int, float, list[str], int]:
    given = os.environ.get("CHAOS_SEED")
    seed = int(given) if given else random.randrange(1 << 32)
    seconds = float(os.environ.get("CHAOS_SECONDS") or (0 if given else 600))
    names = [each for each in os.environ.get("CHAOS_SCENARIO", "").split(",") if each]
    unknown = [each for each in names if each not in SCENARIOS]
    if unknown:
        raise ValueError(f"CHAOS_SCENARIO: unknown: {', '.join(unknown)}")
    return seed, seconds, names or list(SCENARIOS), int(os.environ.get("CHAOS_SHRINK", "6"))


def _shrink(found: Plan, attempts: int) -> None:
    def fails(smaller: Plan) -> bool:
        print(f"again with {len(smaller.faults)} of {len(found.faults)} faults", flush=True)
        result = run(smaller, _tell)
        _report(result)
        return bool(result.problems)

    smallest = shrink(found, fails, attempts)
    print(f"CHAOS_SEED={found.seed} fails with these {len(smallest.faults)} faults:")
    for each in smallest.faults:
        print(f"  {each}")


def _tell(text: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)


def _report(result: Result) -> None:
    restarts = f", {result.outages} restarts after outages" if result.outages else ""
    print(f"  {result.messages} messages in {result.seconds:.0f} s{restarts}", flush=True)
    for each in result.problems:
        print(f"  FAILED: {each}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""A round: everything starts, fails, is healed, and is checked."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .._support.admin import wait_until
from .faults import Faults
from .foreign import ForeignClient
from .plan import LANES, Fault, Plan
from .processes import Driver, DriverFailure
from .publisher import Publisher
from .scenarios import SCENARIOS, Outcome
from .world import World, world

#: How long the queries may need to read the rest of their streams after all faults, in seconds.
_DRAIN = 240.0
_LOOK = 0.2

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What a round has shown.

    Attributes:
        problems: broken promises; empty if there are none.
        messages: how many were published.
        outages: how often the driver's queries gave up and were started again.
        seconds: how long it took.
    """

    problems: tuple[str, ...]
    messages: int
    outages: int
    seconds: float


def run(plan: Plan, tell: Tell, environment: Mapping[str, str] | None = None) -> Result:
    """Do a round.

    Args:
        tell: called with each fault as it happens.
        environment: variables of the driver, such as a ``PYTHONPATH`` with a bug.
    """
    begun = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-driver-")))
        place = stack.enter_context(world())
        chance = random.Random(plan.seed)
        scenarios = [SCENARIOS[name] for name in plan.scenarios]
        for each in scenarios:
            each.prepare(place, chance)
        publisher = Publisher({s: each.admin(place) for each in scenarios for s in each.streams()})
        foreign = {
            each.source: ForeignClient(place.admin(), each.source)
            for each in scenarios
            if each.name == "work-queue"
        }
        arguments = [place.url, str(plan.seed), *plan.scenarios]
        driver = Driver(folder, arguments, environment or {})
        stack.callback(driver.kill)
        for thread in (publisher, *foreign.values()):
            thread.start()
        driver.start()
        problems = _do(plan, place, driver, folder, tell)
        counts = publisher.finish()
        numbers = {stream: each.finish() for stream, each in foreign.items()}
        if not problems:
            tell("healed: the queries run to the ends")
            problems = _drain(driver)
        if not problems:
            outcome = Outcome(place, folder, counts, numbers)
            problems = [problem for each in scenarios for problem in each.problems(outcome)]
        if problems:
            problems.append(f"the end of the driver's log:\n{driver.log.read_text()[-3_000:]}")
        messages, seconds = sum(counts.values()), time.monotonic() - begun
        return Result(tuple(problems), messages, driver.outages, seconds)


def _do(plan: Plan, place: World, driver: Driver, folder: Path, tell: Tell) -> list[str]:
    """Let everything fail, and heal it; return what went wrong beyond that."""
    try:
        _wait_for_first_batches(plan, driver, folder)
    except DriverFailure as error:
        return [str(error)]
    faults = Faults(place, driver, plan.scenarios, folder)
    ended = threading.Event()
    failures: list[str] = []

    def lane(name: str) -> None:
        for fault in plan.lane(name):
            if ended.wait(fault.after):
                return
            tell(str(fault))
            _happen(faults, fault, ended)

    threads = [threading.Thread(target=lane, args=(name,), daemon=True) for name in LANES]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        try:
            driver.look()
        except DriverFailure as error:
            failures.append(str(error))
            ended.set()
            break
        time.sleep(_LOOK)
    for each in threads:
        each.join()
    place.heal()
    return failures


def _happen(faults: Faults, fault: Fault, ended: threading.Event) -> None:
    undo = faults.do(fault)
    try:
        ended.wait(fault.lasts)
    finally:
        undo()


def _wait_for_first_batches(plan: Plan, driver: Driver, folder: Path) -> None:
    """Wait until each query has committed: a fault before that would only delay it."""

    def committed() -> bool:
        driver.look()
        found = list(folder.glob("*/checkpoint/commits/0"))
        return len(found) >= len(plan.scenarios)

    wait_until(committed, seconds=180)


def _drain(driver: Driver) -> list[str]:
    try:
        driver.finish(_DRAIN)
    except DriverFailure as error:
        return [str(error)]
    return []
